"""The tasks that ship: word -> definition, definition -> word, sentiment, and more of a novel.

What a task uses is chosen before any corpus is put together, and kept out of all of them. The examples of one origin
(words that share a meaning or a gloss, a review, an article, a chapter) fall into one split.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensllm.zoo.build import sources
from lensllm.zoo.build.sources import RatedText, Synset

SIZES = {"train": 6400, "validation": 400, "test": 1000}
LABELS = ("negative", "neutral", "positive")
TASK_NOVELS = ("emma", "northangerabbey", "persuasion")
CONTEXT = 128
SEED = 20250503

Row = dict[str, Any]
"""`prompt` and `completion`, `text`, or `messages`."""


@dataclass(frozen=True)
class Example:
    """A row and where it comes from; examples of one origin are never on two sides of a split."""

    origin: str
    row: Row


@dataclass(frozen=True)
class Card:
    """What a task is and where its text comes from.

    Attributes:
        kind: `generation`, `classification`, `translation` or `continuation`.
        licence: of the source; a task whose licence is not permissive is built at run time and not passed on.
    """

    name: str
    kind: str
    summary: str
    source: str
    licence: str
    unit: str


DEFINE = Card(
    "define",
    "generation",
    "A word and its part of speech; the completion is its definition.",
    "WordNet 3.0 (Debian package wordnet-base)",
    sources.WORDNET.licence,
    "synsets that share a word or a definition, directly or through others",
)
NAME = Card(
    "name",
    "generation",
    "A definition and a part of speech; the completion is the word.",
    DEFINE.source,
    DEFINE.licence,
    DEFINE.unit,
)
SENTIMENT = Card(
    "sentiment",
    "classification",
    "A text from a product review, a film review, a newspaper or a tweet; the completion is the label that people's "
    "mean rating (-4 to 4) gives: negative (-1 or less), neutral (less than 0.5 from 0), positive (1 or more). "
    "As many of each.",
    "VADER collections, Hutto and Gilbert 2014 (PyPI package vaderSentiment 3.3.2, hutto_ICWSM_2014)",
    sources.VADER.licence,
    "a product review, a newspaper article, a tweet, a sentence of a film review (the source does not name the review)",
)
TALK = Card(
    "talk",
    "chat",
    "A conversation: a word's meaning and the word of another meaning are asked for and told, the one or the other "
    "first; words and definitions are those of `define` and `name`.",
    DEFINE.source,
    DEFINE.licence,
    DEFINE.unit,
)
AUSTEN = Card(
    "austen",
    "continuation",
    "One or a few sentences of Emma, Northanger Abbey or Persuasion as plain text; the loss counts every token.",
    "Jane Austen's novels (Debian package r-cran-janeaustenr)",
    sources.AUSTEN.licence,
    "a chapter",
)


def reserve(synsets: Sequence[Synset]) -> tuple[list[Example], list[Example], list[Synset]]:
    """Examples for `define`, examples for `name`, and the synsets left for the corpus.

    Synsets that share a word or a definition (case-folded) are joined; whole joined groups go to one of the three,
    so nothing left for the corpus shares either with a task's. Only groups of at most four synsets serve as examples.
    """
    groups = sorted(joined([{*map(str.casefold, s.words), "=" + s.definition.casefold()} for s in synsets]))
    random.Random(SEED).shuffle(groups)
    examples: tuple[list[Example], list[Example]] = ([], [])
    taken: set[int] = set()
    wanted = round(1.25 * sum(SIZES.values()))
    for group in groups:
        usable = [i for i in group if 12 <= len(synsets[i].definition) <= 160 and len(synsets[i].words[0]) <= 40]
        which = 0 if len(examples[0]) < wanted else 1
        if len(group) > 4 or not usable:
            continue
        if len(examples[1]) >= wanted:
            break
        taken.update(group)
        for i in usable:
            word, part, definition = synsets[i].words[0], synsets[i].part_of_speech, synsets[i].definition
            row = (
                {"prompt": f"{word} ({part}):", "completion": f" {definition}"}
                if which == 0
                else {"prompt": f"{definition} ({part}):", "completion": f" {word}"}
            )
            examples[which].append(Example(str(group[0]), row))
    return examples[0], examples[1], [synset for i, synset in enumerate(synsets) if i not in taken]


def joined(keys: Sequence[Iterable[str]]) -> list[list[int]]:
    """Groups of positions whose sets of keys overlap, directly or through others."""
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[str, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            parent[root(i)] = root(first.setdefault(key, i))
    groups = defaultdict(list)
    for i in range(len(keys)):
        groups[root(i)].append(i)
    return list(groups.values())


def sentiment(texts: Sequence[RatedText]) -> list[Example]:
    """As many texts of each label, drawn at random; ratings between the labels are left out."""
    by_label: dict[str, list[Example]] = {label: [] for label in LABELS}
    for rated in texts:
        if abs(rated.rating) >= 1:
            label = "positive" if rated.rating > 0 else "negative"
        elif abs(rated.rating) < 0.5:
            label = "neutral"
        else:
            continue
        if 10 <= len(rated.text) <= 220:
            row = {"prompt": f"{rated.text}\nSentiment:", "completion": f" {label}"}
            by_label[label].append(Example(rated.origin, row))
    for examples in by_label.values():
        random.Random(SEED).shuffle(examples)
    fewest = min(map(len, by_label.values()))
    return [example for examples in by_label.values() for example in examples[:fewest]]


def austen(novels: Mapping[str, Sequence[str]]) -> list[Example]:
    """Whole sentences of the task's novels, joined until they are at least 60 characters long."""
    return [
        Example(f"{novel} {number}", {"text": text})
        for novel in TASK_NOVELS
        for number, chapter in enumerate(novels[novel])
        for text in passages(chapter, at_least=60)
        if len(text) <= 260
    ]


def passages(text: str, at_least: int) -> Iterator[str]:
    """Consecutive whole sentences, never across a paragraph."""
    for paragraph in text.splitlines():
        passage = ""
        for sentence in re.split(r'(?<!Mr\.)(?<!Mrs\.)(?<!Dr\.)(?<=[.?!]) +|(?<=[.?!]") +', paragraph):
            passage = f"{passage} {sentence}".strip()
            if len(passage) >= at_least:
                yield passage
                passage = ""


def split(card: Card, examples: Sequence[Example], fits: Sequence[bool]) -> dict[str, list[Row]]:
    """Rows for each split: origins in random order fill test, validation and train in turn.

    Rows that do not fit the context, and rows whose prompt, completion or text (case-folded; labels may repeat) came
    before, are left out. Where the source is too small, the training split is shorter.
    """
    unique = ("prompt", "text") if card.kind == "classification" else ("prompt", "completion", "text", "answers")
    seen: set[str] = set()
    by_origin = defaultdict(list)
    for example, fit in zip(examples, fits, strict=True):
        texts = _with_answers(example.row)
        keys = {f"{key} {_folded(texts[key])}" for key in unique if key in texts}
        if fit and not keys & seen:
            seen |= keys
            by_origin[example.origin].append(example.row)
    origins = sorted(by_origin)
    random.Random(SEED).shuffle(origins)
    rows: dict[str, list[Row]] = {}
    for name in ("test", "validation", "train"):
        rows[name] = []
        while origins and len(rows[name]) < SIZES[name]:
            rows[name].extend(by_origin[origins.pop()])
        random.Random(SEED).shuffle(rows[name])
        del rows[name][SIZES[name] :]
    return rows


def _with_answers(row: Row) -> Row:
    """A row; of a conversation what is told in it."""
    if "messages" not in row:
        return row
    return {"answers": " ".join(turn["content"] for turn in row["messages"] if turn["role"] == "assistant")}


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def write(folder: Path, card: Card, rows: Mapping[str, Sequence[Row]], tokens: float) -> None:
    """Write the splits, compressed, and the card, for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SIZES:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[name])
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    counts = {name: len(rows[name]) for name in SIZES}
    example = rows["train"][0]
    digest = sources.sha256(json.dumps(row, sort_keys=True) for name in SIZES for row in rows[name])
    facts = {
        "name": card.name,
        "kind": card.kind,
        "summary": card.summary,
        "source": card.source,
        "licence": card.licence,
        "split_by": card.unit,
        "counts": counts,
        "mean_tokens": round(tokens, 1),
        "example": example,
        "sha256": digest,
    }
    (folder / "card.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    shown = "\n".join(f"{key}: {value!r}" for key, value in example.items())
    (folder / "card.md").write_text(
        f"# {card.name}\n\n{card.summary}\n\n"
        f"- Kind: {card.kind}\n- Source: {card.source}\n- Licence: {card.licence}\n"
        f"- Examples: {counts['train']:,} training, {counts['validation']:,} validation, {counts['test']:,} test\n"
        f"- Kept on one side of a split: {card.unit}; no text is on two sides (case-folded)\n"
        f"- Mean length: {tokens:.1f} tokens of the 2,048-token tokenizer, start and end included; "
        f"at most {CONTEXT} of any\n"
        f"- sha256 of the rows: {digest}\n\n## An example\n\n```\n{shown}\n```\n"
    )


def build(folder: Path, card: Card, examples: Sequence[Example], tokenizers: Sequence[Any]) -> None:
    """Keep the examples that fit the context of every tokenizer, split them and write the task.

    The first tokenizer's count is the length that the card gives.
    """
    lengths = [lengths_in_tokens(tokenizer, [example.row for example in examples]) for tokenizer in tokenizers]
    fits = [max(each) <= CONTEXT for each in zip(*lengths, strict=True)]
    rows = split(card, examples, fits)
    kept = lengths_in_tokens(tokenizers[0], [row for name in SIZES for row in rows[name]])
    write(folder, card, rows, sum(kept) / len(kept))


def lengths_in_tokens(tokenizer: Any, rows: Sequence[Row]) -> list[int]:
    """Tokens of each row, prompt and completion encoded apart, with a start and an end token.

    Of a conversation those that the tokenizer's chat template makes of it.
    """
    if rows and "messages" in rows[0]:
        return [len(tokenizer.apply_chat_template(row["messages"], return_dict=False)) for row in rows]
    encoded = iter(tokenizer([text for row in rows for text in row.values()])["input_ids"])
    return [2 + sum(len(next(encoded)) for _ in row) for row in rows]
