"""What can be said of a candidate without opening its weights: whether it may take part at all."""

from __future__ import annotations

from typing import Any

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.configuration import configuration, first_line
from lensllm.candidates.files import ADAPTER, CONFIG, VOCABULARIES, lies_in, matching, printable, read_object, regular
from lensllm.candidates.four_bits import GIVE, four_bits
from lensllm.candidates.headers import EIGHT_BITS, FLOATS, Tensor
from lensllm.candidates.tensors import tensors_of
from lensllm.errors import InputError

LAYERS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "num_encoder_layers",
    "num_decoder_layers",
)
NOT_WRITERS = {
    "ForMaskedLM": "fills gaps in a text and reads it both ways, so it cannot write text",
    "ForSequenceClassification": "is a classifier or reward model, which has no output layer for text",
    "ForTokenClassification": "is a classifier of tokens, which has no output layer for text",
    "ForQuestionAnswering": "points at answers and has no output layer for text",
    "ForMultipleChoice": "is a classifier, which has no output layer for text",
    "EncoderModel": "is the encoder half of a model, which cannot write text",
}
WITHOUT_FILES = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
FEWEST_PARTS = 3


def check(candidate: Candidate, *, tokenizer: bool = True) -> None:
    """Refuse a candidate that cannot be what it claims to be, from its small files and the headers of its weights.

    Args:
        candidate: to be checked.
        tokenizer: whether it needs one; a trained copy is measured with its base's.

    Raises:
        InputError: with the reason in one sentence that names the candidate.
    """
    try:
        _check_folder(candidate)
        _check_adapter(candidate)
        four_bits(candidate.config)
        config = configuration(candidate.folder)
        _check_writer(candidate, config)
        if tokenizer:
            _check_tokenizer(candidate)
        tensors = tensors_of(candidate)
        _check_weights(tensors)
        _check_layers(config, len(tensors))
    except InputError as error:
        raise InputError(f"{printable(candidate.model_name_or_path)}: {error}") from error
    except OSError as error:
        raise InputError(f"{printable(candidate.model_name_or_path)} cannot be read: {error.strerror}") from error
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{printable(candidate.model_name_or_path)} cannot be checked: {said}") from error


def _check_folder(candidate: Candidate) -> None:
    folder = candidate.folder
    if lies_in(folder, CONFIG) or lies_in(folder, ADAPTER):
        return
    inside = sorted(f.parent for f in folder.glob(f"*/{CONFIG}"))[:FEWEST_PARTS]
    if inside:
        raise InputError(f"is not a model folder, but holds some: give {' or '.join(map(printable, inside))}")
    raise InputError("is not a model folder: it has no config.json")


def _check_adapter(candidate: Candidate) -> None:
    folder = candidate.folder
    if not lies_in(folder, ADAPTER):
        return
    base = read_object(folder, ADAPTER).get("base_model_name_or_path")
    named = f" of {base}" if isinstance(base, str) and base else ""
    raise InputError(
        f"it is an adapter{named} and not a whole model ({ADAPTER}): merge it into its base and save that, "
        "or give the base itself"
    )


def _check_writer(candidate: Candidate, config: Any) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    decoder = getattr(config, "is_decoder", None)
    classes = candidate.config.get("architectures")
    for name in classes if isinstance(classes, list) else []:
        for ending, what in NOT_WRITERS.items():
            if isinstance(name, str) and name.endswith(ending) and not decoder:
                raise InputError(f"{name} {what}")
    both_ways = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and kind not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if both_ways and decoder is False:
        raise InputError(f"{kind} reads a text both ways (is_decoder is false), so it cannot write text")
    known = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES if config.is_encoder_decoder else None
    if kind not in (known or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        raise InputError(f"{kind} is not an architecture that writes text from text")


def _check_tokenizer(candidate: Candidate) -> None:
    folder = candidate.folder
    for name in candidate.files:
        if ".safetensors" not in name:
            regular(folder, name)
    settings = read_object(folder, "tokenizer_config.json") if lies_in(folder, "tokenizer_config.json") else {}
    for name in ("special_tokens_map.json", "added_tokens.json", "tokenizer.json"):
        if lies_in(folder, name):
            read_object(folder, name)
    named = settings.get("tokenizer_class") or candidate.config.get("tokenizer_class")
    named = named if isinstance(named, str) else ""
    code = settings.get("auto_map")
    own = bool(code.get("AutoTokenizer")) if isinstance(code, dict) else bool(code)
    if own and not _known_tokenizer(named):
        raise InputError(
            f"its tokenizer ({named or 'no class named'}) brings Python code of its own, which is not run: "
            "save the model with a tokenizer that transformers knows"
        )
    byte_level = named in WITHOUT_FILES
    if not byte_level and not matching(folder, VOCABULARIES):
        raise InputError("it has no tokenizer files (tokenizer.json, tokenizer.model, ...): copy those of its base")


def _known_tokenizer(name: str) -> bool:
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    plain = name.removesuffix("Fast")
    return any(n and tokenizer_class_from_name(n) is not None for n in (name, plain, f"{plain}Fast" if plain else ""))


def _check_weights(tensors: dict[str, Tensor]) -> None:
    if not tensors:
        raise InputError("its weight files hold no tensor")
    for name, tensor in tensors.items():
        if tensor.dtype in EIGHT_BITS:
            raise InputError(
                f"its weights are quantised ({name} is {tensor.dtype}), and only 4 bits of bitsandbytes are trained "
                f"over (by QLoRA): {GIVE}"
            )
        if name.endswith(".weight") and tensor.dtype not in FLOATS:
            raise InputError(f"its weight {name} has the type {tensor.dtype}, expected one of {', '.join(FLOATS)}")


def _check_layers(config: Any, tensors: int) -> None:
    """A configuration that tells of more layers than there are tensors is refused before anything is built."""
    for part in [config, *(getattr(config, name, None) for name in config.sub_configs)]:
        for key in LAYERS:
            layers = getattr(part, key, None)
            if not isinstance(layers, int) or isinstance(layers, bool):
                continue
            if layers < 1 and part is config:
                raise InputError(f"config.json says {key} = {layers}: a model without layers cannot learn")
            if layers > tensors:
                raise InputError(f"config.json says {key} = {layers:,}, and its files hold {tensors:,} tensors")
