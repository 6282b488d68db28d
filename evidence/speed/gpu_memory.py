"""The README's table of memory: what `lensllm check` foretells for models of well-known shapes.

    python -m evidence gpu-memory

Each model is a folder with its published sizes in `config.json`, a tokenizer of the zoo, and a file of weights that has
a header and no numbers: `check` reads no weight. One text of `TOKENS` tokens is
taken at once, with gradient checkpointing, in bfloat16. Results go to evidence/speed/gpu_memory.json. Nothing is
trained, and no GPU is needed.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from evidence.results import write_numbers
from lensllm import check
from lensllm.config import MethodName
from lensllm.zoo import model_path

RESULT = Path(__file__).with_suffix(".json")
QWEN3: dict[str, Any] = {
    "model_type": "qwen3", "vocab_size": 151936, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "SmolLM2-360M": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 960, "intermediate_size": 2560,
        "num_hidden_layers": 32, "num_attention_heads": 15, "num_key_value_heads": 5, "tie_word_embeddings": True,
    },
    "Qwen3-0.6B": {
        **QWEN3, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16
    },
    "Qwen3-1.7B": {
        **QWEN3, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16
    },
}  # fmt: skip
METHODS: tuple[MethodName, ...] = ("lora", "full")
TOKENS = 512
TOKENIZER = "gpt2-0.2m-mix-5m"
BATCH: dict[str, Any] = {
    "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "gradient_checkpointing": "on",
    "dtype": "bfloat16", "workers": 1,
}  # fmt: skip


def run(json_file: Path = RESULT) -> list[dict[str, Any]]:
    """Ask `check` of every shape and method, write the numbers, and return a row each."""
    rows = []
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            model = hollow_model(shape, Path(folder) / name)
            for method in METHODS:
                [plan] = check(examples(), [str(model)], methods=[method], max_length=TOKENS, **BATCH).candidates
                rows.append({"model": name, "method": method, **told(plan.memory), "parameters": plan.parameters})
    write_numbers({"command": "python -m evidence gpu-memory", "tokens": TOKENS, "rows": rows}, json_file)
    return rows


def told(memory: Any) -> dict[str, float]:
    """GiB: the weights, and the most that tensors take in training or evaluation."""
    most = max(memory.training, memory.evaluation)
    return {"weights": round(memory.weights / 2**30, 2), "peak": round(most / 2**30, 2), "batch": memory.micro_batch}


def examples() -> list[dict[str, str]]:
    """Texts that fill the length."""
    return [{"prompt": f"{number} " + "and so on " * 400, "completion": " the end" * 40} for number in range(200)]


def hollow_model(shape: dict[str, Any], folder: Path) -> Path:
    """A folder with configuration, tokenizer, and weights that have a header alone."""
    folder.mkdir()
    for file in model_path(TOKENIZER).glob("*token*"):
        shutil.copy(file, folder)
    config = CONFIG_MAPPING[shape["model_type"]](**shape, max_position_embeddings=4096)
    config.architectures = [{"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[shape["model_type"]]]
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            size = 2 * tensor.numel()
            header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as weights:
        weights.write(struct.pack("<Q", len(text)) + text)
        weights.truncate(8 + len(text) + end)
    return folder
