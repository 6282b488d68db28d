"""Tokenizers of tiny vocabularies with the templates of the field: TRL's copies, SmolLM2's own, and two of ours."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import trl
from tokenizers import ByteLevelBPETokenizer, Regex
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import PreTrainedTokenizerFast

OURS = Path(__file__).with_name("templates")
TRLS = Path(trl.__file__).with_name("chat_templates")
TEXTS = ["Open the settings, then choose Reset.", "How can I help you today?", "user assistant system\n\n"]
CONTROL = r"<\|[\w▁]+\|>|<(?:start|end)_of_turn>|<｜[^｜]+｜>|<turn\|>|<\|turn>|<end_of_utterance>|\[/?INST\]"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How Llama 3 and those after it cut a text before its tokens are sought: line breaks stay together."""


def template(name: str) -> str:
    """The text of a template."""
    ours = OURS / f"{name}.jinja"
    return (ours if ours.is_file() else TRLS / f"{name}.jinja").read_text()


@functools.cache
def tokenizer_with(name: str = "", end: str = "<eos>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that knows the control tokens of a template; without a name it has no template."""
    text = template(name) if name else ""
    control = sorted({"<bos>", "<eos>", end, *re.findall(CONTROL, text)})
    bpe = ByteLevelBPETokenizer()
    split = Split(Regex(WORDS), "isolated")
    bpe._tokenizer.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.train_from_iterator(TEXTS * 3, vocab_size=360, special_tokens=control)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token="<bos>",
        eos_token=end,
        pad_token="<eos>",
        additional_special_tokens=control,
    )
    made.chat_template = text or None
    return made
