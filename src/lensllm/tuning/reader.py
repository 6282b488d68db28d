"""How a candidate reads examples: its tokenizer, its chat template, the length that it reads at once."""

from __future__ import annotations

from lensllm.candidates import Candidate
from lensllm.candidates.load import context_length, end_tokens, load_tokenizer
from lensllm.tasks.encoded import Reader
from lensllm.tuning.training_config import TrainingConfig


def reader_of(candidate: Candidate, training_config: TrainingConfig) -> Reader:
    """How a candidate reads examples, at most `training_config.max_length` tokens at once.

    Raises:
        InputError: if its tokenizer cannot be loaded.
    """
    tokenizer = load_tokenizer(candidate)
    return Reader(
        tokenizer,
        candidate.encoder_decoder,
        min(training_config.max_length, context_length(candidate, tokenizer)),
        candidate.name,
        candidate.vocabulary,
        training_config.chat,
        end_tokens(candidate),
    )
