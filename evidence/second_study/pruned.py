"""A copy of SmolLM2-135M-Instruct with every second of its 30 layers, healed on running text.

    python -m evidence pruned FOLDER

Half of the layers are taken out evenly, as DistilBERT was begun from BERT (Sanh et al. 2019), and what is left is tuned
in full on sentences that ship with the package (`austen`), 1,600 of them once, at the rate 3e-4. Its tokenizer
and chat template are the original's. So there is a candidate of half the size, and a real one, to choose from.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model, load_tokenizer
from lensllm.errors import InputError
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

MODEL = "smollm2-135m"
TEXT = "austen"
EXAMPLES = 1600
RATE = 3e-4
EVERY = 2


def prune(model: PreTrainedModel, every: int = EVERY) -> None:
    """Keep every `every`-th layer of a Llama, the first among them, in place."""
    inner: Any = model.model
    inner.layers = nn.ModuleList(inner.layers[::every])
    for index, layer in enumerate(inner.layers):
        layer.self_attn.layer_idx = index
    model.config.num_hidden_layers = len(inner.layers)


def run(folder: Path, model: str = MODEL, text: str = TEXT, examples: int = EXAMPLES) -> Run:
    """Prune, heal and save.

    Args:
        folder: made; refused if something is there.
        model: a Llama.
        text: that it is healed on.
        examples: how many texts of it.

    Raises:
        InputError: if the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: name a new folder")
    original = find_candidate(model)
    small = load_model(original)
    prune(small)
    _save(small, folder, original.folder)
    load_tokenizer(original).save_pretrained(folder)
    candidate = find_candidate(str(folder))
    encoded = EncodedTask(candidate, read_task(text), TrainingConfig(num_train_epochs=1))
    before = fine_tune(encoded, 0).nats_per_byte
    print(f"{sum(p.numel() for p in small.parameters()):,} parameters; nats a byte of {text}: {before:.3f}", flush=True)
    healed = fine_tune(encoded, examples, RATE, keep=lambda tuned: _save(tuned, folder, original.folder))
    print(f"after {examples:,} texts: {healed.nats_per_byte:.3f} ± {healed.standard_error:.3f}")
    return healed


def _save(model: PreTrainedModel, folder: Path, original: Path) -> None:
    with torch.no_grad():
        model.to(torch.bfloat16).save_pretrained(folder)
    for name in ("LICENSE", "generation_config.json"):
        if (original / name).is_file():
            shutil.copy(original / name, folder / name)
