"""Text to token ids and back: the user's text as it is written, and what of it the tokens do not carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

GUARDS = ("\n", "=", ",", ".", ":", "0", "a", "e", "the")
"""Texts to tokenise in front of another one, so that it does not stand at the beginning."""

SAMPLES = ("lamp", "(", "0", "A")


def text_tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of texts that stand at the beginning, without start and end tokens.

    What is written in a text is text: `</s>` or `<|endoftext|>` give several tokens and never the control token.
    """
    control = set(tokenizer.all_special_ids)
    return [
        _taken_apart(tokenizer, text, ids, control) if control.intersection(ids) else ids
        for text, ids in zip(texts, _plain(tokenizer, texts), strict=True)
    ]


def continued_tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of texts that go on from another one.

    Tokenizers that put a space before every text (Llama-2, T5: a dummy prefix) would write a space that the user did
    not. Each text is tokenised behind a guard whose tokens are then cut off; the first guard that stays whole is
    used, and a text for which none does is tokenised as if it stood at the beginning.
    """
    if not adds_prefix(tokenizer):
        return text_tokens(tokenizer, texts)
    found: list[list[int] | None] = [None] * len(texts)
    for guard in _guards(tokenizer):
        waiting = [i for i, ids in enumerate(found) if ids is None]
        if not waiting:
            break
        [head] = text_tokens(tokenizer, [guard])
        for i, ids in zip(waiting, text_tokens(tokenizer, [guard + texts[i] for i in waiting]), strict=True):
            if ids[: len(head)] == head:
                found[i] = ids[len(head) :]
    whole = text_tokens(tokenizer, texts)
    return [ids if ids is not None else whole[i] for i, ids in enumerate(found)]


def adds_prefix(tokenizer: Any) -> bool:
    """Whether a text has other tokens at the beginning than behind another text."""
    [head] = text_tokens(tokenizer, [guard := _guards(tokenizer)[0]])
    apart = text_tokens(tokenizer, SAMPLES)
    behind = text_tokens(tokenizer, [guard + sample for sample in SAMPLES])
    return any(ids[: len(head)] == head and ids[len(head) :] != alone for ids, alone in zip(behind, apart, strict=True))


def lost_bytes(tokenizer: Any, texts: Sequence[str], tokens: Sequence[list[int]], *, continued: bool) -> list[int]:
    """Bytes of each text that its tokens do not give back, 0 where the decoded text equals it.

    Counted as the larger of the bytes of characters that are missing and of those that came in their place, unknown
    tokens standing for nothing. A space that a tokenizer with a dummy prefix takes from the beginning of a text at the
    beginning is not counted: the prefix stands for it.

    Args:
        tokenizer: the one that made the tokens.
        texts: as the user wrote them.
        tokens: as `text_tokens`, or `continued_tokens` if continued.
        continued: whether the texts go on from another one.
    """
    prefixed = adds_prefix(tokenizer)
    head = text_tokens(tokenizer, [_guards(tokenizer)[0]])[0] if prefixed and continued else []
    start = decoded(tokenizer, head)
    lost = []
    for text, ids in zip(texts, tokens, strict=True):
        back = decoded(tokenizer, [*head, *ids]).removeprefix(start)
        if prefixed and not continued:
            text, back = text.removeprefix(" "), back.removeprefix(" ")
        lost.append(0 if back == text else difference(text, back))
    return lost


def _plain(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    options = {"add_special_tokens": False, "return_attention_mask": False, "split_special_tokens": True}
    return tokenizer(list(texts), **options)["input_ids"]


def _taken_apart(tokenizer: Any, text: str, ids: list[int], control: set[int]) -> list[int]:
    """Tokens where the vocabulary itself holds a control token's text as a word: that text is taken apart."""
    for token in sorted(map(str, tokenizer.convert_ids_to_tokens(sorted(control.intersection(ids)))), key=len)[::-1]:
        if len(token) > 1 and token in text:
            cut = text.index(token) + len(token) // 2
            [before] = text_tokens(tokenizer, [text[:cut]])
            return before + continued_tokens(tokenizer, [text[cut:]])[0]
    unknown = getattr(tokenizer, "unk_token_id", None)
    return [i for i in ids if i not in control or i == unknown]


def _guards(tokenizer: Any) -> list[str]:
    """The guards that the tokenizer knows, or all if it knows none."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    known = [g for g, ids in zip(GUARDS, _plain(tokenizer, GUARDS), strict=True) if ids and unknown not in ids]
    return known or list(GUARDS)


def decoded(tokenizer: Any, ids: list[int]) -> str:
    """The text of tokens, unknown ones standing for nothing."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    kept = [i for i in ids if i != unknown]
    return tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False) if kept else ""


def difference(text: str, back: str) -> int:
    """Bytes by which two texts differ: of what is missing or of what came in its place, whichever is more; at least
    one, and no more than the text has."""
    missing, added = Counter(text), Counter(back)
    sizes = [sum(len(_bytes(c)) * n for c, n in some.items()) for some in (missing - added, added - missing)]
    return min(max(*sizes, 1), len(_bytes(text)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
