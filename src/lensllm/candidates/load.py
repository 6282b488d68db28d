"""Open a candidate's model and tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from lensllm.candidates.candidate import Candidate
from lensllm.errors import InputError

UNBOUNDED = 1 << 20


def load_model(candidate: Candidate, **options: Any) -> PreTrainedModel:
    """The candidate's pre-trained model in float32 on the CPU, from safetensors only.

    Raises:
        InputError: if the weights do not fit the configuration or the architecture is not known.
    """
    kind = AutoModelForSeq2SeqLM if candidate.encoder_decoder else AutoModelForCausalLM
    try:
        return kind.from_pretrained(
            candidate.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, **options
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise InputError(f"{candidate.name} cannot be loaded: {str(error).strip().splitlines()[0]}") from error


def load_tokenizer(candidate: Candidate) -> Any:
    """The candidate's tokenizer.

    Raises:
        InputError: if the folder has none, or it has neither a start nor an end token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(candidate.folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{candidate.name} has no usable tokenizer: {str(error).strip().splitlines()[0]}") from error
    if tokenizer.eos_token_id is None and tokenizer.bos_token_id is None:
        raise InputError(f"{candidate.name} has a tokenizer with neither a bos nor an eos token: set one of them")
    return tokenizer


def context_length(candidate: Candidate, tokenizer: Any) -> int:
    """Number of tokens the model can read at once; 2**20 where nothing bounds it (relative positions)."""
    config = AutoConfig.from_pretrained(candidate.folder, local_files_only=True)
    positions = getattr(config, "max_position_embeddings", None)
    return min(positions or UNBOUNDED, tokenizer.model_max_length, UNBOUNDED)
