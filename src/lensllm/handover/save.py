"""A trained model in a folder that transformers and peft read: weights or adapter, tokenizer, settings."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from lensllm.candidates import Candidate, Lora, Qlora
from lensllm.candidates.files import lies_in, read_object
from lensllm.candidates.load import GENERATION, load_model, load_tokenizer
from lensllm.candidates.steering import without_steering
from lensllm.files import write_whole

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft's names of a saved adapter begin with."""
TASKS = {False: "CAUSAL_LM", True: "SEQ_2_SEQ_LM"}
SAVED_DTYPES = ("float32", "bfloat16", "float16")


def save_trained(model: PreTrainedModel, candidate: Candidate, base: str, revision: str, folder: Path) -> None:
    """Write a model as it was trained, or its adapter, with tokenizer, chat template and generation settings.

    Weights that were trained are written in float32, as they were trained.

    Args:
        model: as the trainer left it.
        candidate: what it was before.
        base: what the adapter is told to be for: a hub id or a folder.
        revision: of a hub id.
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(candidate.method, Lora):
        _save_adapter(model, candidate, base, revision, folder)
    else:
        _save_model(model, folder)
    _save_rest(candidate, folder)


def merged_model(candidate: Candidate, adapter: Path, dtype: str) -> PreTrainedModel:
    """The base with an adapter added to its weights.

    The sum is formed in float32 and rounded once to the type that the base's files have. For QLoRA the base is the one
    that the adapter was trained beside, its 4 bits unpacked, and not the original: the loss stays what was measured.

    Args:
        candidate: the base and its method.
        adapter: folder of the adapter.
        dtype: that products were computed in.
    """
    from peft import PeftModel

    model = load_model(candidate, dtype="float32" if not isinstance(candidate.method, Qlora) else dtype)
    if isinstance(candidate.method, Qlora):
        model = model.dequantize(torch.float32).to(torch.float32)
    merged: PreTrainedModel = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return merged.to(getattr(torch, base_dtype(candidate)))


def save_merged(model: PreTrainedModel, candidate: Candidate, folder: Path) -> None:
    """Write a merged model with tokenizer and settings, as `save_trained`."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_model(model, folder)
    _save_rest(candidate, folder)


def base_dtype(candidate: Candidate) -> str:
    """The type that the base's files say they have; float32 where they say none that is one.

    >>> from lensllm.candidates import find_candidate
    >>> base_dtype(find_candidate("gpt2-0.2m-random"))
    'float32'
    """
    said = candidate.config.get("dtype", candidate.config.get("torch_dtype"))
    return said if said in SAVED_DTYPES else "float32"


def _save_model(model: PreTrainedModel, folder: Path) -> None:
    model.config._name_or_path = ""
    model.save_pretrained(folder)


def _save_adapter(model: PreTrainedModel, candidate: Candidate, base: str, revision: str, folder: Path) -> None:
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base, revision or None
    config.task_type, config.inference_mode = TASKS[candidate.encoder_decoder], True
    weights = {PREFIX + name: value.contiguous() for name, value in get_peft_model_state_dict(model).items()}
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(folder)


def _save_rest(candidate: Candidate, folder: Path) -> None:
    """Tokenizer with its chat template, and the base's generation settings."""
    load_tokenizer(candidate).save_pretrained(folder)
    if lies_in(candidate.folder, GENERATION):
        settings = without_steering(read_object(candidate.folder, GENERATION))
        write_whole(folder / GENERATION, json.dumps(settings, indent=2) + "\n")
