"""A chat template: the text of a conversation, and where in it the learned turns begin and end.

No template has to mark what is learned. Each is rendered with placeholders in place of the contents, as a whole and
turn by turn. What stands between the placeholders are the template's own words, and what the prompt for turn i adds
behind the last placeholder is its header. The text of a conversation is then read against these words, so that
every content has a place; where that fails (some templates rewrite a turn after what it says) the text is compared
with the prompt for each turn.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.chats.default import DEFAULT_TEMPLATE
from lensllm.tasks.conversation import Conversation, Turn
from lensllm.text import shortened, visible

TODAY, ANOTHER_DAY = date(2025, 1, 1), date(2024, 2, 2)
"""What templates that write today's date write, so that runs can be repeated; and a day to see whether they do."""

DATED = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1")
PLACEHOLDER = re.compile(r"Zq(\d+)qZ")
MOST_SHAPES = 512
"""Shapes of conversations that are remembered."""


@dataclass(frozen=True)
class Span:
    """A learned turn in a text, as places of characters.

    Attributes:
        start: where it begins: behind the prompt for it.
        content: where what it says begins; later than `start` where the template puts words of its own before.
        said: where what it says ends.
        counted: where the part ends that nats a byte counts: behind the end token, or what it says if there is none.
        end: where it ends, with all that the template writes behind it.
        n_bytes: bytes of what it says.
    """

    start: int
    content: int
    said: int
    counted: int
    end: int
    n_bytes: int = 0


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as one model reads it.

    Attributes:
        text: all of it.
        spans: its learned turns.
        contents: where the contents of all turns stand, as far as they were found.
        last_user: where the content of the last user turn stands; (0, 0) if it was not found.
    """

    text: str
    spans: tuple[Span, ...]
    contents: tuple[tuple[int, int], ...]
    last_user: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Mark:
    """A learned turn of a shape: places as (words, characters from their beginning).

    `words` k are those before placeholder k, counted from 0; `has_content` tells whether the turn has a placeholder,
    and `header` is the number of characters that the prompt for the turn adds behind the last placeholder.
    """

    turn: int
    start: tuple[int, int]
    said: tuple[int, int]
    counted: tuple[int, int]
    end: tuple[int, int]
    has_content: bool
    header: int


@dataclass(frozen=True)
class _Shape:
    """What a template writes around the contents of conversations with these roles.

    Attributes:
        words: before, between and behind the placeholders.
        turns: the turn of each placeholder.
        marks: the learned turns.
        system_in_user: whether the system's words go into the first user turn, as the template knows no system.
        content_parts: whether the template reads contents as lists of parts, as those of models that see do.
    """

    words: tuple[str, ...]
    turns: tuple[int, ...]
    marks: tuple[_Mark, ...]
    system_in_user: bool
    content_parts: bool


class ChatTemplate:
    """The chat template of a tokenizer, or the default one where it has none.

    Args:
        tokenizer: of the model.
        ends: ids that end what the model writes, beside the tokenizer's eos.
        start: whether the default template begins with bos, or eos where there is none.

    Attributes:
        own: whether the tokenizer has a template.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int] = (), *, start: bool = True) -> None:
        self._tokenizer = tokenizer
        bos, eos = tokenizer.bos_token or "", tokenizer.eos_token or ""
        self._words = {"start": (bos or eos) if start else "", "end": eos or bos}
        self.own = bool(getattr(tokenizer, "chat_template", None))
        self._ends = {tokenizer.eos_token_id, *ends}
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in added if getattr(token, "special", False)}
        self.control_tokens = sorted({*tokenizer.all_special_tokens, *special} - {""}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, self.control_tokens)) or r"(?!)")
        self._shapes: OrderedDict[str, _Shape] = OrderedDict()

    def render(self, conversation: Conversation) -> RenderedChat:
        """The text of a conversation and its learned turns.

        Raises:
            InputError: if the template refuses it, leaves a learned turn out, or rewrites turns in a way that hides
                where the learned ones begin.
        """
        shape, said = self._shaped(conversation)
        text = self._render(said, content_parts=shape.content_parts)
        places = _places(text, shape, said)
        if places is None:
            return self._compared(text, shape, said)
        spans = []
        for mark in shape.marks:
            start, until, counted, end = (_at(at, places) for at in (mark.start, mark.said, mark.counted, mark.end))
            turn = said.turns[mark.turn]
            content = places[mark.start[0]][0] if mark.has_content and turn.content_only else start
            spans.append(_span(turn, text, Span(start, content, until, counted, end)))
        users = [i for i, turn in enumerate(shape.turns) if said.turns[turn].role == "user"]
        return RenderedChat(text, tuple(spans), tuple(places), places[users[-1]] if users else (0, 0))

    def control_tokens_in(self, text: str) -> list[tuple[int, int]]:
        """Places of control tokens that are written out in a text."""
        return [match.span() for match in self._control.finditer(text)]

    def puts_system_in_user(self, conversation: Conversation) -> bool:
        """Whether the system's words go into the first user turn."""
        return self._shape(conversation).system_in_user

    def ends_turns(self, conversation: Conversation) -> bool:
        """Whether a learned turn ends in a token that ends what the model writes."""
        written = self.render(conversation)
        tail = written.text[written.spans[-1].said : written.spans[-1].end]
        found = [tail[a:b] for a, b in self.control_tokens_in(tail)]
        return bool(self._ends.intersection(self._tokenizer.convert_tokens_to_ids(found)))

    def dated(self, conversation: Conversation) -> bool:
        """Whether the text tells the date."""
        shape, said = self._shaped(conversation)
        days = [self._render(said, content_parts=shape.content_parts, today=today) for today in (TODAY, ANOTHER_DAY)]
        return days[0] != days[1]

    def _render(
        self, conversation: Conversation, *, prompt: bool = False, content_parts: bool = False, today: date = TODAY
    ) -> str:
        messages = conversation.messages
        if content_parts:
            messages = [one | {"content": [{"type": "text", "text": one["content"]}]} for one in messages]
        tools = json.loads(conversation.tools) if conversation.tools else None
        try:
            return self._tokenizer.apply_chat_template(
                messages,
                tools=tools,
                chat_template=self._source(tools, today),
                tokenize=False,
                add_generation_prompt=prompt,
                **({} if self.own else self._words),
            )
        except Exception as error:
            reason = shortened(visible(str(error).strip() or type(error).__name__), 150)
            raise InputError(f"the chat template refuses it: {reason}") from error

    def _source(self, tools: Any, today: date) -> str:
        """The template's text, with a date of ours in place of today's."""
        if not self.own:
            return DEFAULT_TEMPLATE
        text = self._tokenizer.get_chat_template(tools=tools)
        if not (forms := {form for _, form in DATED.findall(text)}):
            return text
        dates = json.dumps({form: today.strftime(form) for form in sorted(forms)})
        return f"{{%- macro strftime_now(form) -%}}{{{{ {dates}[form] }}}}{{%- endmacro %}}{text}"

    def _shape(self, conversation: Conversation) -> _Shape:
        """What the template writes around such contents, made once for all conversations that are alike."""
        alike = [
            [turn.role, bool(turn.content.strip()), turn.learned, "" if turn.content_only else turn.extra]
            for turn in conversation.turns
        ]
        key = json.dumps([alike, conversation.tools])
        if key not in self._shapes:
            self._shapes[key] = self._new_shape(conversation)
            while len(self._shapes) > MOST_SHAPES:
                self._shapes.popitem(last=False)
        return self._shapes[key]

    def _shaped(self, conversation: Conversation) -> tuple[_Shape, Conversation]:
        """The shape of a conversation, and the conversation as it is given to the template."""
        shape = self._shape(conversation)
        return shape, with_system_in_user(conversation) if shape.system_in_user else conversation

    def _new_shape(self, conversation: Conversation) -> _Shape:
        """The first way to write the conversation that works: as it is, with contents as parts, without a system."""
        said = dict.fromkeys((conversation, with_system_in_user(conversation)))
        ways = [(one, content_parts) for one in said for content_parts in (False, True)]
        first: InputError | None = None
        for one, content_parts in ways:
            blank = _with_placeholders(one)
            try:
                words, turns = _parts(self._render(blank, content_parts=content_parts))
                marks = tuple(self._mark(blank, i, words, turns, content_parts) for i in blank.learned)
                return _Shape(words, turns, marks, one is not conversation, content_parts)
            except InputError as error:
                first = first or error
        assert first is not None
        raise first

    def _mark(
        self, blank: Conversation, i: int, words: tuple[str, ...], turns: tuple[int, ...], content_parts: bool
    ) -> _Mark:
        """Where learned turn i begins and ends.

        Raises:
            InputError: if the template leaves it out, or writes it more than once.
        """
        turn = blank.turns[i]
        own = bool(turn.content)
        if own and turns.count(i) != 1:
            how = "leaves out" if i not in turns else "repeats"
            raise InputError(f"the chat template {how} what the {turn.role} says in turn {i + 1}, which is learned")
        k = turns.index(i) if own else sum(t < i for t in turns)
        header = self._words_behind(blank, i, content_parts, prompt=turn.role == "assistant")
        start = _shared(words[k], header) if header or not own else len(words[k])
        e = k + 1 if own else k
        first = 0 if own else start
        written = self._words_behind(blank, i + 1, content_parts)
        end = self._before_control(words[e], _shared(words[e], written)) or self._other_end(words[e], written)
        if not own:
            end = max(end, start + _shared_behind(words[e][start:], written[len(header) :]))
        controls = [(a + first, b + first) for a, b in self.control_tokens_in(words[e][first:end])]
        if controls:
            said, counted = controls[0] if turn.content_only else controls[-1]
        else:
            said = counted = first + len(words[e][first:end].rstrip())
        if turn.content_only and own:
            said, counted = 0, counted if controls else 0
        return _Mark(i, (k, start), (e, said), (e, counted), (e, end), own, len(header))

    def _words_behind(self, blank: Conversation, count: int, content_parts: bool, *, prompt: bool = False) -> str:
        """What the template writes behind the last placeholder of the first turns; empty if it refuses them."""
        first = replace(blank, turns=blank.turns[:count])
        try:
            return _parts(self._render(first, prompt=prompt, content_parts=content_parts))[0][-1]
        except InputError:
            return ""

    def _before_control(self, text: str, end: int) -> int:
        """The place, or where the control token begins that it would cut in two."""
        return next((start for start, stop in self.control_tokens_in(text) if start < end < stop), end)

    def _other_end(self, text: str, last: str) -> int:
        """Where the control token ends that stands for the one that ends a turn if it is the last."""
        ends = [next((stop for start, stop in self.control_tokens_in(one) if start == 0), 0) for one in (text, last)]
        return ends[0] if all(ends) else 0

    def _compared(self, text: str, shape: _Shape, conversation: Conversation) -> RenderedChat:
        """The learned turns of a text whose template changes what it writes with what is said."""
        spans = []
        for mark in shape.marks:
            turns = conversation.turns
            before = replace(conversation, turns=turns[: mark.turn])
            prompt = self._render(before, prompt=True, content_parts=shape.content_parts) if mark.turn else ""
            start = _shared(text, prompt)
            if start < len(prompt) - mark.header:
                raise InputError(
                    f"the chat template rewrites the turns before turn {mark.turn + 1}, so that what is learned cannot "
                    "be told from the rest: give another one with --chat-template"
                )
            stop = _stop(text, start, shape, mark, turns)
            if stop < start:
                raise InputError(
                    f"the chat template rewrites turn {mark.turn + 1}, so that its end cannot be found: give another "
                    "one with --chat-template"
                )
            shift = stop if mark.has_content else start
            said, counted, end = (shift + place[1] for place in (mark.said, mark.counted, mark.end))
            spans.append(_span(turns[mark.turn], text, Span(start, start, said, counted, end)))
        return RenderedChat(text, tuple(spans), _found(text, conversation))


def _stop(text: str, start: int, shape: _Shape, mark: _Mark, turns: Sequence[Turn]) -> int:
    """Where a turn that begins at `start` has said all; -1 if that cannot be told."""
    behind = shape.words[mark.end[0]]
    following = next((turn for turn in shape.turns if turn > mark.turn), None)
    if not mark.has_content:
        return start
    if following is None:
        return len(text) - len(behind) if text.endswith(behind) else -1
    ends = (text.find(behind + variant, start) for variant in _variants(turns[following].content))
    return min((end for end in ends if end >= 0), default=-1)


def with_system_in_user(conversation: Conversation) -> Conversation:
    """The conversation with the system's words at the beginning of the first user turn."""
    turns = conversation.turns
    if len(turns) < 2 or turns[0].role != "system" or turns[1].role != "user":
        return conversation
    first = replace(turns[1], content=f"{turns[0].content.strip()}\n\n{turns[1].content.strip()}")
    return replace(conversation, turns=(first, *turns[2:]))


def _with_placeholders(conversation: Conversation) -> Conversation:
    turns = [
        replace(turn, content=f"Zq{i}qZ" if turn.content.strip() else "") for i, turn in enumerate(conversation.turns)
    ]
    return replace(conversation, turns=tuple(turns))


def _parts(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Words around the placeholders of a text, and the turns of these."""
    parts = PLACEHOLDER.split(text)
    return tuple(parts[::2]), tuple(int(turn) for turn in parts[1::2])


def _shared(text: str, other: str) -> int:
    """How many characters both begin with."""
    if text.startswith(other):
        return len(other)
    return next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))


def _shared_behind(text: str, other: str) -> int:
    """How many characters of a text are the end of the other one: some templates begin a turn otherwise if it is the
    last, with an empty block of reasoning."""
    return next((len(other) - k for k in range(len(other)) if text.startswith(other[k:])), 0)


def _variants(content: str) -> list[str]:
    """A content as templates write it: as it is, without blanks or line breaks around it, as JSON."""
    found = [content, content.strip(), content.lstrip(), content.rstrip(), content.strip("\n"), content.lstrip("\n")]
    return list(dict.fromkeys([*found, content.rstrip("\n"), json.dumps(content, ensure_ascii=False)[1:-1]]))


def _places(text: str, shape: _Shape, conversation: Conversation) -> list[tuple[int, int]] | None:
    """Where the content of every placeholder stands; None if the text is not these words around these contents."""
    if not text.startswith(shape.words[0]):
        return None
    at = len(shape.words[0])
    places = []
    for k, turn in enumerate(shape.turns):
        words = shape.words[k + 1]
        content = conversation.turns[turn].content
        fits = (v for v in _variants(content) if text.startswith(v, at) and text.startswith(words, at + len(v)))
        found = next(fits, None)
        if found is None:
            return None
        places.append((at, at + len(found)))
        at += len(found) + len(words)
    return places if at == len(text) else None


def _at(place: tuple[int, int], places: list[tuple[int, int]]) -> int:
    """A place in the text: words k begin where placeholder k - 1 ends."""
    k, offset = place
    return (places[k - 1][1] if k else 0) + offset


def _span(turn: Turn, text: str, span: Span) -> Span:
    """With the bytes of what the turn says, of which no more count than the template writes."""
    written = turn.full_text.encode()
    there = text[span.content : span.said].strip().encode()
    return replace(
        span, n_bytes=len(written) if turn.content_only and span.content > span.start else min(len(written), len(there))
    )


def _found(text: str, conversation: Conversation) -> tuple[tuple[int, int], ...]:
    """Where the contents stand in a text, one behind the other, those that are there as they are."""
    places, at = [], 0
    for turn in conversation.turns:
        content = turn.content.strip()
        found = text.find(content, at) if content else -1
        if found >= 0:
            places.append((found, found + len(content)))
            at = found + len(content)
    return tuple(places)
