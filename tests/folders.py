"""Model folders as people have them, broken in one way each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def edit(file: Path, **new: Any) -> None:
    """Set keys of a JSON object; None takes a key away."""
    was = json.loads(file.read_text())
    was.update(new)
    file.write_text(json.dumps({key: value for key, value in was.items() if value is not None}))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def save(folder: Path, tensors: dict[str, torch.Tensor], name: str = "model.safetensors") -> None:
    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    save_file(whole, folder / name, metadata={"format": "pt"})


def shard(folder: Path) -> None:
    """Move the weights into one shard with an index."""
    index = {name: "model-00001-of-00001.safetensors" for name in weights(folder)}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def quantise(folder: Path, **settings: Any) -> Path:
    """Save the model again with its linear layers in 4 bits, as folders named bnb-4bit have them."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, BitsAndBytesConfig

    asked = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True} | settings
    both = AutoConfig.from_pretrained(folder).is_encoder_decoder
    kind = AutoModelForSeq2SeqLM if both else AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**asked))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    return folder
