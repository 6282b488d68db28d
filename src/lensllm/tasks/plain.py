"""Plain text to token ids: a prompt and the completion that goes on from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lensllm.tasks.encoded import IGNORED, Encoded, Fitted, Reader
from lensllm.tasks.task import Example
from lensllm.tasks.tokens import continued_tokens, lost_bytes, text_tokens


def encode_plain(examples: Sequence[Example], reader: Reader) -> list[Fitted]:
    """Tokenise prompt and completion apart, join them, and mask the prompt.

    A causal model reads `bos prompt completion eos` (eos in place of bos where there is none), so that every
    token of a plain text has something before it. An encoder-decoder reads `prompt eos` and writes
    `completion eos`. Where there is no eos, bos ends a text, so that every candidate has to say that it is done.
    A prompt that does not fit loses its beginning; a completion is never cut.

    Raises:
        InputError: if the model has no embedding for a token.
    """
    tokenizer, encoder_decoder = reader.tokenizer, reader.encoder_decoder
    prompts = text_tokens(tokenizer, [example.prompt for example in examples])
    completions, lost = _completions(tokenizer, examples, encoder_decoder)
    start, eos = ends(tokenizer)
    reader.check_ids([*prompts, *completions, eos, start])
    reserved = len(eos) if encoder_decoder else len(start) + len(eos)
    fitted = []
    for i, (example, prompt, completion) in enumerate(zip(examples, prompts, completions, strict=True)):
        room = reader.max_length - reserved - (0 if encoder_decoder else len(completion))
        if len(completion) + reserved > reader.max_length:
            fitted.append(Fitted(None, len(completion)))
            continue
        cut = len(prompt) > room
        prompt = prompt[max(len(prompt) - room, 0) :] if room else []
        if encoder_decoder:
            encoded = Encoded(prompt + eos, completion + eos, example.n_bytes, lost[i])
        else:
            ids = start + prompt + completion + eos
            masked = len(start) + len(prompt)
            encoded = Encoded(ids, [IGNORED] * masked + ids[masked:], example.n_bytes, lost[i])
        fitted.append(Fitted(encoded, len(completion), cut))
    return fitted


def ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin and end a text: bos and eos, each in place of the other where there is only one."""
    ending = tokenizer.bos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    eos = [ending] if ending is not None else []
    return [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else eos, eos


def _completions(
    tokenizer: Any, examples: Sequence[Example], encoder_decoder: bool
) -> tuple[list[list[int]], list[int]]:
    """Tokens of each completion, and the bytes of it that they lose.

    It goes on from its prompt, unless there is none or a decoder of its own writes it.
    """
    tokens: list[list[int]] = [[] for _ in examples]
    lost = [0] * len(examples)
    for continued, tokenise in ((False, text_tokens), (True, continued_tokens)):
        places = [i for i, one in enumerate(examples) if continued == (bool(one.prompt) and not encoder_decoder)]
        texts = [examples[i].completion for i in places]
        if not texts:
            continue
        found = tokenise(tokenizer, texts)
        for i, ids, n in zip(places, found, lost_bytes(tokenizer, texts, found, continued=continued), strict=True):
            tokens[i], lost[i] = ids, n
    return tokens, lost
