"""How a test loss falls within a run: where the constants of `lensllm watch` come from.

    python -m evidence in-run

Zoo models are trained on 400 examples as `select` does, at the learning rate that it found on 50, and at that rate
times 30 and over 30. Every tenth of a run the loss on 50 test examples is noted, to three digits. From half of a run
on, it is seen how far the lowest end that `lensllm.watching.verdict` still expects lies above the end that came: that
is the part by which an alarm could be wrong. Writes evidence/watching/in_run.json.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from lensllm.candidates import admit_candidates, cross
from lensllm.candidates.methods import Full, Lora, Method
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.in_training import InTraining
from lensllm.tuning.trainer import CompletionTrainer, Diverged
from lensllm.tuning.training_config import TrainingConfig
from lensllm.watching.verdict import REMAINING

RESULT = Path(__file__).with_suffix(".json")
MODELS = ("gpt2-0.2m-bible-1.5m", "gpt2-0.2m-random", "llama-0.2m-jargon-1.5m")
TASKS = ("austen", "define")
METHODS: tuple[Method, ...] = (Full(), Lora())
EXAMPLES, PARTS = 400, 10
FAULTS = {"as found": 1.0, "rate x 30": 30.0, "rate / 30": 1 / 30}


class EveryTenth(TrainerCallback):
    """Notes the test loss of a run as it goes on."""

    def __init__(self, model: InTraining) -> None:
        self.model, self.losses = model, [model.measure("test").nats_per_byte]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure when another tenth is done."""
        done = state.global_step / state.max_steps * PARTS
        if int(done + 1e-9) > len(self.losses) - 1:
            self.losses.append(self.model.measure("test").nats_per_byte)
            self.model.model.train()


def losses_in_run(encoded: EncodedTask, rate: float) -> list[float]:
    """Test losses before training and after each tenth, nats a byte; shorter where it diverged."""
    model = InTraining(encoded, EXAMPLES)
    subset = encoded.train(EXAMPLES)
    trainer = CompletionTrainer(model.model, subset, model.config, rate, model.meter, model.config.train_batch_size)
    noted = EveryTenth(model)
    trainer.add_callback(noted)
    with suppress(Diverged):
        trainer.train()
    return [round(loss, 3) for loss in noted.losses]


def too_high(losses: list[float]) -> float:
    """Part by which the lowest end that is expected from half of a run on lies above the end that came, the largest."""
    ends = []
    for at in range(PARTS // 2, PARTS):
        lowest = losses[at] - REMAINING * max(losses[at // 2] - losses[at], 0.0)
        ends.append(lowest / losses[PARTS] - 1)
    return max(ends)


def run(file: Path | None = RESULT) -> dict[str, Any]:
    """Measure all of them.

    Args:
        file: where the numbers go; None for nowhere.
    """
    one_quiet_thread()
    rows = []
    config = TrainingConfig(max_test_examples=50)
    for name in TASKS:
        task = read_task(name)
        for candidate in admit_candidates(list(MODELS)).admitted:
            for one in cross([(candidate, method) for method in METHODS], Lora()).candidates:
                encoded = EncodedTask(one, task, config)
                found = fine_tune(encoded, 50).learning_rate
                for fault, times in FAULTS.items():
                    losses = losses_in_run(encoded, found * times)
                    rows.append({"task": name, "candidate": one.name, "fault": fault, "losses": losses})
    return write_numbers(summary(rows), file)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs, and by fault the largest part by which an end is expected too high; negative where none is."""
    whole = [row for row in rows if len(row["losses"]) > PARTS and all(map(math.isfinite, row["losses"]))]
    worst = {fault: max(too_high(row["losses"]) for row in whole if row["fault"] == fault) for fault in FAULTS}
    return {"examples": EXAMPLES, "remaining": REMAINING, "too_high": worst, "rows": rows}
