"""Conversations to token ids, with what is learned and what nats a byte counts."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.chats.template import ChatTemplate, RenderedChat, Span
from lensllm.tasks.conversation import Conversation
from lensllm.tasks.encoded import IGNORED, Encoded, Fitted, Reader
from lensllm.tasks.plain import ends
from lensllm.tasks.task import Example
from lensllm.tasks.tokens import continued_tokens, decoded, difference


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text, and the first and the last place, exclusive, of the characters that each stands for."""

    ids: list[int]
    starts: list[int]
    ends: list[int]

    def since(self, place: int) -> int:
        """The first token that stands for something behind this place."""
        return bisect_right(self.ends, place)

    def until(self, place: int) -> int:
        """The first token that stands for nothing before this place."""
        return bisect_left(self.starts, place)


@dataclass(frozen=True)
class ChatTokens:
    """A conversation for one model.

    Attributes:
        ids: all tokens.
        learned: first and last place, exclusive, of the runs of tokens that are learned.
        counted: of those that nats a byte counts.
        n_bytes: bytes of what the counted turns say.
        n_lost: those of them that the tokens do not give back.
        user: first and last place of the last user turn's content; (0, 0) if it was not found.
    """

    ids: list[int]
    learned: list[tuple[int, int]]
    counted: list[tuple[int, int]]
    n_bytes: int
    n_lost: int
    user: tuple[int, int]


def encode_chats(examples: Sequence[Example], conversations: dict[int, Conversation], reader: Reader) -> list[Fitted]:
    """What the model reads of conversations, and what it learns of them.

    A causal model learns from behind the prompt for a turn to the end of what its template writes for it, as TRL
    does; nats a byte counts what is said and the end token. An encoder-decoder reads what stands before its one
    learned turn and writes that. What does not fit loses its oldest exchanges, never the system's words; the last
    exchange loses the beginning of what the user says.

    Args:
        examples: all examples, for their places.
        conversations: place of an example -> the conversation that is read for it.
        reader: of the model.

    Raises:
        InputError: naming the example if the template cannot write it, or an encoder-decoder would have to write more
            than one turn.
    """
    template, places = reader.template, list(conversations)
    written = [_written(conversations[i], examples[i], reader) for i in places]
    tokens = _tokens(template, reader.tokenizer, written)
    fitted = []
    for i, text, ids in zip(places, written, tokens, strict=True):
        chat = _chat(reader.tokenizer, conversations[i], text, ids)
        n_bytes = 0 if examples[i].conversation else examples[i].n_bytes
        fitted.append(_fitted(chat, conversations[i], examples[i], reader, n_bytes))
    reader.check_ids([one.encoded.input_ids for one in fitted if one.encoded])
    return fitted


def _written(conversation: Conversation, example: Example, reader: Reader) -> RenderedChat:
    where = f"{example.place}: " if example.place else ""
    if reader.encoder_decoder and conversation.learned != [len(conversation.turns) - 1]:
        raise InputError(
            f"{where}{reader.model_name} is an encoder-decoder and writes one turn only, the last: "
            "learn that alone with --learn last, or leave the model out"
        )
    try:
        return reader.template.render(conversation)
    except InputError as error:
        raise InputError(f"{where}{reader.model_name} cannot read this conversation: {error}") from error


def _fitted(chat: ChatTokens, conversation: Conversation, example: Example, reader: Reader, n_bytes: int) -> Fitted:
    """The conversation cut to the length that the model reads."""
    dropped, cut = 0, False
    targets = sum(end - start for start, end in chat.counted)
    while (over := _over(chat, reader)) > 0:
        shorter = conversation.without_oldest()
        if shorter is None:
            left = without_beginning(chat, over)
            if left is None:
                return Fitted(None, targets)
            chat, cut = left, True
            continue
        conversation, dropped = shorter, dropped + 1
        written = _written(conversation, example, reader)
        [tokens] = _tokens(reader.template, reader.tokenizer, [written])
        chat = _chat(reader.tokenizer, conversation, written, tokens)
    n_bytes = n_bytes or chat.n_bytes
    return Fitted(_encoded(chat, reader, n_bytes) if n_bytes else None, targets, cut, dropped)


def _over(chat: ChatTokens, reader: Reader) -> int:
    """How many tokens there are too many."""
    if not reader.encoder_decoder:
        return len(chat.ids) - reader.max_length
    start, end = chat.learned[0][0], chat.counted[0][1]
    return max(start + 1, end - start) - reader.max_length


def _encoded(chat: ChatTokens, reader: Reader, n_bytes: int) -> Encoded:
    if reader.encoder_decoder:
        start, end = chat.learned[0][0], chat.counted[0][1]
        eos = [] if reader.template.own else ends(reader.tokenizer)[1]
        return Encoded(chat.ids[:start] + eos, chat.ids[start:end], n_bytes, chat.n_lost)
    labels, trained = _labels(chat.ids, chat.counted), _labels(chat.ids, chat.learned)
    return Encoded(chat.ids, labels, n_bytes, chat.n_lost, None if trained == labels else trained)


def _labels(ids: list[int], runs: Sequence[tuple[int, int]]) -> list[int]:
    labels = [IGNORED] * len(ids)
    for start, end in runs:
        labels[start:end] = ids[start:end]
    return labels


def _tokens(template: ChatTemplate, tokenizer: Any, written: Sequence[RenderedChat]) -> list[Tokens]:
    """Tokens of whole texts; what looks like a control token in what somebody said is text."""
    taken_apart = {i: inside for i, one in enumerate(written) if (inside := _controls_said(template, one))}
    whole = [one.text for i, one in enumerate(written) if i not in taken_apart]
    made = iter(_whole(tokenizer, whole))
    return [
        _apart(tokenizer, one.text, taken_apart[i]) if i in taken_apart else next(made) for i, one in enumerate(written)
    ]


def _controls_said(template: ChatTemplate, written: RenderedChat) -> list[tuple[int, int]]:
    """Places of control tokens written out inside the contents."""
    return [
        (start + a, start + b)
        for start, end in written.contents
        for a, b in template.control_tokens_in(written.text[start:end])
    ]


def _whole(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    if not texts:
        return []
    options = {"add_special_tokens": False, "return_attention_mask": False}
    if getattr(tokenizer, "is_fast", False):
        made = tokenizer(list(texts), return_offsets_mapping=True, **options)
        pairs = zip(made["input_ids"], made["offset_mapping"], strict=True)
        return [Tokens(ids, [start for start, _ in places], [end for _, end in places]) for ids, places in pairs]
    return [_by_prefixes(tokenizer, text, options) for text in texts]


def _by_prefixes(tokenizer: Any, text: str, options: dict[str, Any]) -> Tokens:
    """The tokens of a tokenizer that does not tell their places: token i ends where i + 1 tokens first agree."""
    [ids] = tokenizer([text], **options)["input_ids"]
    ends: list[int] = []
    for place in range(1, len(text) + 1):
        [before] = tokenizer([text[:place]], **options)["input_ids"]
        same = next(
            (i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), min(len(before), len(ids))
        )
        ends += [place] * (same - len(ends))
    ends += [len(text)] * (len(ids) - len(ends))
    return Tokens(ids, [0, *ends[:-1]][: len(ids)], ends)


def _apart(tokenizer: Any, text: str, inside: Sequence[tuple[int, int]]) -> Tokens:
    """Tokens of a text cut around what looks like a control token and is none."""
    made = Tokens([], [], [])
    at = 0
    for start, end in [*inside, (len(text), len(text))]:
        if start > at:
            [part] = _whole(tokenizer, [text[at:start]])
            made.ids.extend(part.ids)
            made.starts.extend(place + at for place in part.starts)
            made.ends.extend(place + at for place in part.ends)
        if end > start:
            [said] = continued_tokens(tokenizer, [text[start:end]])
            made.ids.extend(said)
            made.starts.extend([start] * len(said))
            made.ends.extend([end] * len(said))
        at = end
    return made


def _chat(tokenizer: Any, conversation: Conversation, written: RenderedChat, tokens: Tokens) -> ChatTokens:
    everything = any(turn.learned and turn.role != "assistant" for turn in conversation.turns)
    learned = [(tokens.since(span.start), tokens.until(span.end)) for span in written.spans]
    counted = [(tokens.since(span.content), tokens.until(span.counted)) for span in written.spans]
    lost = sum(_lost(tokenizer, written.text, tokens, span) for span in written.spans)
    user = (tokens.since(written.last_user[0]), tokens.until(written.last_user[1])) if written.last_user[1] else (0, 0)
    return ChatTokens(
        tokens.ids,
        [(0, len(tokens.ids))] if everything else learned,
        counted,
        sum(span.n_bytes for span in written.spans),
        lost,
        user,
    )


def _lost(tokenizer: Any, text: str, tokens: Tokens, span: Span) -> int:
    """Bytes of a turn that its tokens do not give back, 0 where the decoded tokens hold it."""
    said = text[span.content : span.said].strip()
    back = decoded(tokenizer, tokens.ids[tokens.since(span.content) : tokens.until(span.said)])
    return 0 if said in back else min(difference(said, back.strip()), span.n_bytes)


def without_beginning(chat: ChatTokens, tokens: int) -> ChatTokens | None:
    """With the last user turn less so many tokens at its beginning; None if it has not got more."""
    start, end = chat.user
    if end - start <= tokens or any(first < end for first, _ in chat.learned):
        return None
    kept = chat.ids[:start] + chat.ids[start + tokens :]
    learned, counted = ([(a - tokens, b - tokens) for a, b in runs] for runs in (chat.learned, chat.counted))
    return replace(chat, ids=kept, learned=learned, counted=counted, user=(start, end - tokens))
