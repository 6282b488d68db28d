"""Do the files hold exactly the weights that the configuration asks for?"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lensllm.candidates.configuration import first_line
from lensllm.candidates.headers import FLOATS, Tensor
from lensllm.errors import InputError

COMPUTED = re.compile(
    r"(^|[._])(inv_freq|position_ids|token_type_ids|masked_bias|attn\.bias|attention\.bias|attn_mask|causal_mask"
    r"|freqs_cis|rotary_emb\.\w+|embed_positions\.weights|num_batches_tracked)$"
)
"""Buffers that follow from the configuration: some checkpoints hold them and some do not."""

SHOWN = 3


def model_class(config: Any) -> tuple[Any, Any]:
    """The class that writes text with this configuration, and the part of the configuration that it takes.

    Raises:
        InputError: if there is none.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    mapping = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM)._model_mapping
    if type(config) not in mapping:
        raise InputError(f"{config.model_type} is not an architecture that writes text from text")
    kind = mapping[type(config)]
    if isinstance(kind, tuple):
        named = [one for one in kind if one.__name__ in (config.architectures or [])]
        kind = (named or kind)[0]
    text = config.sub_configs.get("text_config")
    if text is not None and getattr(kind, "config_class", None) == text:
        return kind, config.get_text_config()
    return kind, config


def compare(kind: Any, config: Any, tensors: dict[str, Tensor], four_bits: Collection[str] = ()) -> None:
    """Load the model without a single number: names, shapes and types from the headers against the configuration.

    Takes no memory for weights, so that a configuration of gigabytes beside a file of a hundred bytes is found first.

    Args:
        kind: class of the model.
        config: its configuration.
        tensors: as the headers have them.
        four_bits: names of those in 4 bits.

    Raises:
        InputError: naming the tensors that are missing, left over, or of another shape or type.
    """
    if four_bits:
        tensors = _turned(kind, config, tensors, four_bits)
    empty = {name: torch.empty(tensor.shape, dtype=torch.float32, device="meta") for name, tensor in tensors.items()}
    try:
        with torch.random.fork_rng(devices=[]):
            model, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=empty,
                dtype=torch.float32,
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                local_files_only=True,
            )
    except Exception as error:
        raise InputError(f"its weights do not fit its configuration: {first_line(error)}") from error
    check_report(model, report)
    for name, _ in model.named_parameters():
        if name in tensors and tensors[name].dtype not in FLOATS:
            raise InputError(f"its weight {name} has the type {tensors[name].dtype}, expected one of {FLOATS}")


def _turned(kind: Any, config: Any, tensors: dict[str, Tensor], four_bits: Collection[str]) -> dict[str, Tensor]:
    """With 4-bit weights of `Conv1D` layers (GPT-2) the way the model has them: bitsandbytes keeps them transposed."""
    from transformers.pytorch_utils import Conv1D

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        layers = [f"{name}.weight" for name, module in kind(config).named_modules() if isinstance(module, Conv1D)]
    turned = [name for name in four_bits if any(layer == name or layer.endswith(f".{name}") for layer in layers)]
    return tensors | {name: replace(tensors[name], shape=tensors[name].shape[::-1]) for name in turned}


def check_report(model: nn.Module, report: dict[str, Any]) -> None:
    """Refuse what transformers would fill at random or leave aside.

    Args:
        model: as loaded.
        report: `missing_keys`, `unexpected_keys`, `mismatched_keys` (name, shape in the file, shape of the model) and
            `error_msgs` of `from_pretrained`.

    Raises:
        InputError: naming the tensors.
    """
    mismatched = sorted((str(one[0]), tuple(one[1]), tuple(one[2])) for one in report["mismatched_keys"])
    missing = sorted(name for name in report["missing_keys"] if not COMPUTED.search(name))
    left_over = sorted(name for name in report["unexpected_keys"] if not COMPUTED.search(name))
    if missing:
        which = "1 weight that it needs is" if len(missing) == 1 else f"{len(missing)} weights that it needs are"
        raise InputError(
            f"{which} in none of its files: {_few(missing)}"
            + (f"; the files hold {_few(left_over)} instead" if left_over else "")
        )
    if mismatched:
        name, there, wanted = mismatched[0]
        others = f", and {len(mismatched) - 1} more" if len(mismatched) > 1 else ""
        raise InputError(f"its weight {name} has the shape {there}, config.json says {wanted}{others}")
    if left_over:
        raise InputError(f"its files hold weights that the model does not have: {_few(left_over)}")
    if report["error_msgs"]:
        raise InputError(f"its weights do not fit its configuration: {report['error_msgs'][0]}")


def _few(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
