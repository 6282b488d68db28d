"""Test loss after fine-tuning for a grid of learning rates, sizes and epochs: where the protocol's defaults come from.

    python -m evidence learning-rate

Prints nats a byte and writes evidence/study/learning_rate.json. Shipped task `define`, first 300 test examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from lensllm.candidates import find_candidate
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODELS = ["gpt2-0.2m-mix-5m", "gpt2-0.2m-random", "gpt2-0.2m-bible-1.5m"]
SIZES = [50, 400, 1600]
MULTIPLES = [0.03, 0.1, 0.3, 1.0, 3.0]
EPOCHS = {"gpt2-0.2m-mix-5m": [3, 8]}


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Fine-tune every model at every size, rate and number of epochs."""
    one_quiet_thread()
    task = read_task("define")
    rows = []
    for model in MODELS:
        for epochs in EPOCHS.get(model, [3]):
            encoded = EncodedTask(find_candidate(model), task, TrainingConfig(num_train_epochs=epochs))
            parameters = fine_tune(encoded, 0).parameters
            for size in SIZES:
                base = encoded.candidate.method.base_learning_rate(parameters)
                losses = {multiple: fine_tune(encoded, size, base * multiple).nats_per_byte for multiple in MULTIPLES}
                rows.append({"model": model, "epochs": epochs, "examples": size, "nats_per_byte": losses})
                print(model, f"{epochs} epochs, {size} examples:", {m: round(v, 4) for m, v in losses.items()})
    return write_numbers({"command": "python -m evidence learning-rate", "runs": rows}, json_file)
