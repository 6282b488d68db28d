"""A training that goes on where it was interrupted, with the same numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback

from lensllm.files import write_whole
from lensllm.tuning.attempts import Attempt
from lensllm.tuning.trainer import ByLength, CompletionTrainer

WEIGHTS = "trained.safetensors"
SPENT = "spent.json"
"""Written last: a checkpoint without it is a part of one."""
KEPT = 2
"""The last one, and the one before while the last is being written."""


@dataclass
class Checkpoints:
    """Where a training leaves checkpoints, and who hears of its steps.

    Attributes:
        folder: of the training; each learning rate and try at memory has its own inside.
        save_steps: steps between two checkpoints; below 1 a part of all steps, as in Trainer.
        on_step: called with what is trained, steps done and steps in all.
        before_save: called before one is written; what it raises ends the training.
        name: of the learning rate.
        earlier_seconds: that the training took before it was interrupted.
    """

    folder: Path
    save_steps: float = 0.1
    on_step: Callable[[str, int, int], None] = lambda name, done, total: None
    before_save: Callable[[], None] = lambda: None
    name: str = ""
    earlier_seconds: float = 0.0
    whole: Checkpoints | None = field(default=None, repr=False)

    def of(self, rate: float, attempt: Attempt) -> Checkpoints:
        """Those of one learning rate and one try at memory."""
        way = f"{rate:.6g}-{attempt.micro_batch}{'-checkpointing' * attempt.checkpointing}"
        return replace(self, folder=self.folder / way, name=f"learning rate {rate:.2g}", whole=self)

    def every(self, steps: int) -> int:
        """Steps between two checkpoints of a training of so many.

        >>> Checkpoints(Path("there")).every(240), Checkpoints(Path("there"), save_steps=50).every(240)
        (24, 50)
        """
        return max(1, math.ceil(self.save_steps * steps) if self.save_steps < 1 else int(self.save_steps))

    @property
    def last(self) -> Path | None:
        """The last whole one; None where there is none."""
        whole = [path.parent for path in self.folder.glob(f"checkpoint-*/{SPENT}")]
        return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


class _Saving(TrainerCallback):
    """Tells of every step, and asks for a checkpoint every so many and at the end."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is done."""
        done, steps = state.global_step, state.max_steps
        control.should_save = done == steps or done % self._checkpoints.every(steps) == 0
        self._checkpoints.on_step(self._checkpoints.name, done, steps)


class ResumedTrainer(CompletionTrainer):
    """The trainer of a run, from its last checkpoint on.

    A checkpoint holds what is trained (safetensors), the optimizer, the schedule and the states of random numbers
    (torch files, read with `weights_only`, so that they can hold no code). On the CPU the weights at the end are the
    same to the bit as those of a training that nothing interrupted.

    Args:
        checkpoints: of this learning rate.
        given: as `CompletionTrainer`.
    """

    def __init__(self, *given: Any, checkpoints: Checkpoints, **options: Any) -> None:
        super().__init__(*given, **options)
        self.args.output_dir, self.args.save_total_limit = str(checkpoints.folder), KEPT
        self._checkpoints, self._last = checkpoints, checkpoints.last
        self._began, self._before = time.perf_counter(), (self.meter.total, self.meter.tokens)
        self._earlier = 0.0
        self.add_callback(_Saving(checkpoints))

    def train(self, *given: Any, **options: Any) -> Any:
        """Train to the end."""
        self._began = time.perf_counter()
        return super().train(resume_from_checkpoint=str(self._last) if self._last else None)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        sampler = super()._get_train_sampler(train_dataset)
        if self._last is not None:
            step = self.args.train_batch_size * self.args.gradient_accumulation_steps
            assert isinstance(sampler, ByLength)
            sampler.pass_over(int(self._last.name.rpartition("-")[2]) // -(-len(sampler) // step))
        return sampler

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """What is trained, and nothing else."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self._trained().items()}, folder / WEIGHTS)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._checkpoints.before_save()
        super()._save_checkpoint(model, trial)
        flops, tokens = self.meter.total - self._before[0], self.meter.tokens - self._before[1]
        seconds = self._earlier + time.perf_counter() - self._began
        spent = json.dumps({"flops": flops, "tokens": tokens, "seconds": seconds})
        write_whole(self._checkpoints.folder / f"checkpoint-{self.state.global_step}" / SPENT, spent)

    @torch.no_grad()
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        kept = load_file(folder / WEIGHTS)
        for name, parameter in self._trained().items():
            parameter.copy_(kept[name])
        spent = json.loads((folder / SPENT).read_text())
        self.meter.total += spent["flops"]
        self.meter.tokens += spent["tokens"]
        self._earlier = spent["seconds"]
        if self._checkpoints.whole is not None:
            self._checkpoints.whole.earlier_seconds += spent["seconds"]

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.model.named_parameters() if value.requires_grad}
