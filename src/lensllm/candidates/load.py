"""Open a candidate's model and tokenizer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.causality import check_causal
from lensllm.candidates.configuration import configuration, first_line
from lensllm.candidates.files import lies_in, printable, read_object
from lensllm.candidates.four_bits import settle
from lensllm.candidates.methods import Qlora
from lensllm.candidates.stage import staged
from lensllm.candidates.tensors import four_bit_weights, tensors_of
from lensllm.candidates.weights import check_report, compare, model_class
from lensllm.errors import InputError

GENERATION = "generation_config.json"
UNBOUNDED = 1 << 20
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
    "context_length",
    "max_decoder_position_embeddings",
    "max_target_positions",
)
COUNTED_FROM_PADDING = ("roberta", "camembert", "data2vec-text", "xlm-roberta", "xlm-roberta-xl", "xmod")

_admitted: set[str] = set()


def load_model(candidate: Candidate, *, dtype: str = "float32", **options: Any) -> PreTrainedModel:
    """The candidate's pre-trained model as its method loads it, every weight from its safetensors files.

    It lies on the CPU, or in 4 bits for QLoRA where transformers puts that: on the GPU if there is one. A model that
    comes in 4 bits is given to other methods as the same weights unpacked.

    When this process opens these files for the first time, names and shapes are compared before a weight is read,
    and the model is tried for reading the past only. The folder cannot choose the attention: it is transformers'
    own choice for the architecture (sdpa where that is supported, or else eager) unless `options` say.

    Args:
        candidate: admitted by `check`.
        dtype: torch's name of the type of all weights, or of those that are not in 4 bits and of the products with
            those that are.
        options: for `from_pretrained`.

    Raises:
        InputError: if the weights do not fit the configuration, the model reads the future, or bitsandbytes is needed
            and not installed.
    """
    name = printable(candidate.name)
    try:
        config = configuration(candidate.folder)
        kind, config = model_class(config)
        base = f"{candidate.fingerprint} {candidate.method.untuned}"
        first = base not in _admitted
        if first:
            compare(kind, config, tensors_of(candidate), four_bit_weights(candidate))
        model = _from_files(candidate, kind, config, getattr(torch, dtype), options)
        if first:
            check_causal(model)
        _admitted.add(base)
        return model
    except InputError as error:
        raise InputError(f"{name} cannot be used: {error}") from error
    except Exception as error:
        raise InputError(f"{name} cannot be loaded: {first_line(error)}") from error


def _from_files(
    candidate: Candidate, kind: Any, config: Any, dtype: torch.dtype, options: dict[str, Any]
) -> PreTrainedModel:
    packed = candidate.four_bits
    if packed is not None:
        config.quantization_config = packed.config(dtype).to_dict()
    else:
        options = candidate.method.loading(dtype) | options
    with staged(candidate, weights=True) as folder:
        model, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    check_report(model, report)
    if packed is not None or isinstance(candidate.method, Qlora):
        settle(model)
    if packed is not None and not isinstance(candidate.method, Qlora):
        model = model.dequantize(dtype)
    return model


def load_tokenizer(candidate: Candidate) -> Any:
    """The candidate's tokenizer; none of the folder's code is run.

    Raises:
        InputError: if the folder has none, or it has neither a start nor an end token.
    """
    name = printable(candidate.name)
    try:
        with staged(candidate, weights=False) as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if candidate.chat_template is not None:
            tokenizer.chat_template = candidate.chat_template
    except InputError as error:
        raise InputError(f"{name} has no usable tokenizer: {error}") from error
    except Exception as error:
        raise InputError(f"{name} has no usable tokenizer: {first_line(error)}") from error
    if tokenizer.eos_token_id is None and tokenizer.bos_token_id is None:
        raise InputError(f"{name} has a tokenizer with neither a bos nor an eos token: set one of them")
    return tokenizer


def end_tokens(candidate: Candidate) -> tuple[int, ...]:
    """Ids that end what the model writes: `eos_token_id` of its configuration and of its generation settings."""
    said = [candidate.config.get("eos_token_id")]
    if lies_in(candidate.folder, GENERATION):
        with suppress(InputError):
            said.append(read_object(candidate.folder, GENERATION).get("eos_token_id"))
    found = [token for one in said for token in (one if isinstance(one, list) else [one])]
    return tuple(token for token in found if isinstance(token, int) and not isinstance(token, bool))


def context_length(candidate: Candidate, tokenizer: Any) -> int:
    """Number of tokens the model can read at once; 2**20 where nothing bounds it (relative positions).

    The least of what the configuration says, under whichever of the names in `LENGTHS` its architecture uses, the
    part for text before the whole, and the tokenizer's `model_max_length`. Values below 1 say that there is no limit.
    Where rope scaling is set the length written in the configuration is believed, as it is the one that was trained.
    """
    config = configuration(candidate.folder)
    parts = [config.get_text_config(decoder=True), config]
    found = [getattr(part, name, None) for part in parts for name in LENGTHS]
    bound = UNBOUNDED if _relative(config) else next(filter(None, map(_length, found)), UNBOUNDED)
    if config.model_type in COUNTED_FROM_PADDING:
        bound -= (config.pad_token_id or 0) + 1
    said = _length(getattr(tokenizer, "model_max_length", None)) or UNBOUNDED
    return min(bound, said, UNBOUNDED)


def _relative(config: Any) -> bool:
    """T5 and its kind keep an `n_positions` that bounds nothing."""
    return hasattr(config, "relative_attention_num_buckets")


def _length(value: Any) -> int:
    """A number of tokens, 0 where the value says none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(min(value, UNBOUNDED)) if number and value >= 1 else 0
