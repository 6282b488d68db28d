"""Two byte-level BPE tokenizers (Sennrich et al. 2016; bytes as in GPT-2): every text has tokens, none is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAD, END = "<|pad|>", "<|endoftext|>"


def train(documents: Iterable[str], size: int) -> Any:
    """A transformers tokenizer with `size` tokens; `<|pad|>` is 0, `<|endoftext|>` (start and end) is 1.

    Encoding adds no token of its own, so prompt and completion can be encoded apart and joined.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=END,
        eos_token=END,
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


def token_bytes(tokenizer: Any) -> list[int]:
    """Bytes of text that each token stands for; 0 for the special ones."""
    vocabulary = tokenizer.get_vocab()
    lengths = [0] * len(vocabulary)
    for token, index in vocabulary.items():
        if token not in tokenizer.all_special_tokens:
            lengths[index] = len(token)  # one printable character a byte
    return lengths
