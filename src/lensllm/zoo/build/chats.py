"""Conversations about words, made from WordNet: what two models are instruction-tuned on, and the task `talk`."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from jinja2 import Template

from lensllm.zoo.build.sources import Synset
from lensllm.zoo.build.tasks import SEED, Example

START, STOP = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '" + START + "' + message['role'] + '\\n' + message['content'] + '" + STOP + "\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + START + "assistant\\n' }}{% endif %}"
)
"""ChatML, which many instruction-tuned models have; a turn ends with the token that ends an answer."""
PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | capitalize + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}"
)
"""About what a model without a template reads: no fewer tokens than LensLLM's default template makes."""
SYSTEMS = ("Answer in a few words.", "You explain English words.")
MEANINGS = ('What does "{word}" mean?', 'What is meant by "{word}"?', 'Explain "{word}".')
WORDS = ('Which word means "{definition}"?', 'What is the word for "{definition}"?')
LONGEST = 110
"""Characters of a definition in the corpus: two of them, asked for and given, fit a context of 128 tokens."""


def chat_tokenizer(base: Any) -> Any:
    """The tokenizer with two more tokens and the template; what ends a turn ends an answer."""
    base.add_special_tokens({"additional_special_tokens": [START, STOP]})
    base.eos_token = STOP
    base.chat_template = TEMPLATE
    return base


def conversation(first: tuple[str, str], second: tuple[str, str], draw: random.Random) -> list[dict[str, str]]:
    """A word's meaning and the word of another meaning, in either order, with a system's turn in half of them.

    Args:
        first: word and definition; the meaning is asked for.
        second: word and definition; the word is asked for.
        draw: of order and wording.
    """
    meaning = (draw.choice(MEANINGS).format(word=first[0]), _sentence(first[1]))
    word = (draw.choice(WORDS).format(definition=second[1]), _sentence(second[0]))
    turns = [{"role": "system", "content": draw.choice(SYSTEMS)}] if draw.random() < 0.5 else []
    for asked, answered in (meaning, word) if draw.random() < 0.5 else (word, meaning):
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return turns


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def corpus(synsets: Sequence[Synset]) -> list[str]:
    """Conversations about the words that no task has, as the template writes them."""
    usable = [one for one in synsets if len(one.definition) <= LONGEST and len(one.words[0]) <= 40]
    draw = random.Random(SEED)
    draw.shuffle(usable)
    pairs = zip(usable[::2], usable[1::2], strict=False)
    told = [conversation((a.words[0], a.definition), (b.words[0], b.definition), draw) for a, b in pairs]
    written = Template(TEMPLATE)
    return [written.render(messages=turns) for turns in told]


def talk(define: Sequence[Example], name: Sequence[Example]) -> list[Example]:
    """Conversations about the words of `define` and `name`; the origin is that of both.

    The longest of the one come with the shortest of the other, so that most fit the context.
    """
    draw = random.Random(SEED)
    words, meanings = _by_origin(define, word_first=True), _by_origin(name, word_first=False)
    words.sort(key=lambda one: (-len(one[1]), _longest(one[1])))
    meanings.sort(key=lambda one: (-len(one[1]), -_longest(one[1])))
    pairs = zip(words, meanings, strict=False)
    return [
        Example(f"{first} {second}", {"messages": conversation(a, b, draw)})
        for (first, mine), (second, others) in pairs
        for a, b in zip(mine, others, strict=False)
    ]


def _by_origin(examples: Sequence[Example], *, word_first: bool) -> list[tuple[str, list[tuple[str, str]]]]:
    """Words and definitions of each origin."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for example in examples:
        asked, given = example.row["prompt"].removesuffix(":").rsplit(" (", 1)[0], example.row["completion"].strip()
        found[example.origin].append((asked, given) if word_first else (given, asked))
    return sorted(found.items())


def _longest(of_origin: list[tuple[str, str]]) -> int:
    return max(len(definition) for _, definition in of_origin)
