"""One run elsewhere: its evaluations, and on how many examples it was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lensllm.curve_sources.history import History

SIZES = ("num_train_samples", "train_samples", "num_train_examples", "train_examples", "examples", "num_examples")
"""What trainers and scripts call the number of training examples: transformers' example scripts write
`train_samples`."""
SEEDS = ("seed", "data_seed")
PACKING = ("packing", "sample_packing", "neat_packing")
"""Where rows are packed, samples are no examples."""


@dataclass(frozen=True)
class Evaluated:
    """A loss on held-out examples at one step; 0 is before training.

    >>> Evaluated(step=40, epoch=1.0, loss=2.25).loss
    2.25
    """

    step: int
    epoch: float | None
    loss: float


@dataclass(frozen=True)
class TrackedRun:
    """A run as its tracker tells of it.

    Attributes:
        name: of the run, unique in its source.
        where: file or folder.
        metric: the name of its loss; empty where it has none.
        evaluations: ascending by step.
        examples: training examples; None where nothing tells.
        size_from: how the number was told, for a note.
        seed: as text; empty where unknown.
        learning_rate: the highest that was logged; None where none was.
        steps: optimizer steps that it is to take; None where unknown.
        epochs: passes over the data that it is to make; None where unknown.
        ended: whether it is known to have been trained to its end.
        unfinished: why it is known not to have ended.
        vocabulary: what tells tokenizers apart.
    """

    name: str
    where: str
    metric: str
    evaluations: tuple[Evaluated, ...]
    examples: int | None = None
    size_from: str = ""
    seed: str = ""
    learning_rate: float | None = None
    steps: int | None = None
    epochs: float | None = None
    ended: bool = False
    unfinished: str = ""
    vocabulary: str = ""

    def progress(self, evaluated: Evaluated) -> float | None:
        """How much of the training is done at an evaluation, 0 to 1; None where nothing tells.

        >>> TrackedRun("a", "a", "eval_loss", (), steps=40).progress(Evaluated(10, None, 2.0))
        0.25
        """
        if self.steps:
            return min(evaluated.step / self.steps, 1.0)
        if self.epochs and evaluated.epoch is not None:
            return min(evaluated.epoch / self.epochs, 1.0)
        return 1.0 if self.ended and evaluated == self.evaluations[-1] else None

    @classmethod
    def of(cls, history: History, metric: str = "") -> TrackedRun:
        """The run of a history.

        Args:
            history: as it was logged.
            metric: of the loss; "" for the only one there is.

        Raises:
            InputError: as `History.metric`.
        """
        name = history.metric(metric)
        examples, told = examples_of(history)
        rates = [row["learning_rate"] for row in history.rows if "learning_rate" in row]
        steps = history.last("max_steps")
        return cls(
            name=history.name,
            where=history.where,
            metric=name,
            evaluations=_evaluations(history.rows, name) if name else (),
            examples=examples,
            size_from=told,
            seed=next((history.settings[seed] for seed in SEEDS if history.settings.get(seed)), ""),
            learning_rate=max(rates) if rates else history.last("learning_rate"),
            steps=int(steps) if steps and steps > 0 else None,
            epochs=history.last("num_train_epochs"),
            ended=history.last("train_runtime") is not None,
            unfinished=history.unfinished,
            vocabulary=history.vocabulary,
        )


def examples_of(history: History) -> tuple[int | None, str]:
    """The number of training examples and how it was told; None where nothing tells.

    As it was logged or set; or else samples a second times seconds over epochs, as Trainer logs them at the end of
    training: those that were asked for, or those that were reached where that is less. Samples are examples only where
    none were packed.

    >>> history = History("a", "a", ({"train_samples_per_second": 50.0, "train_runtime": 24.0, "num_train_epochs": 3},))
    >>> examples_of(history)
    (400, 'train_samples_per_second x train_runtime / num_train_epochs')
    """
    for name in SIZES:
        value = history.last(name)
        if value is not None and value > 0 and value == int(value):
            return int(value), name
    if any(history.settings.get(name, "").lower() in ("true", "1") for name in PACKING):
        return None, ""
    rate, seconds = history.last("train_samples_per_second"), history.last("train_runtime")
    passes = {name: value for name in ("num_train_epochs", "epoch") if (value := history.last(name))}
    epochs = min(passes, key=lambda name: passes[name], default="")
    if rate and seconds and epochs:
        return max(round(rate * seconds / passes[epochs]), 1), f"train_samples_per_second x train_runtime / {epochs}"
    return None, ""


def _evaluations(rows: tuple[Mapping[str, float], ...], metric: str) -> tuple[Evaluated, ...]:
    """Every loss that was logged; of one step that which was logged last. Without steps they are counted."""
    found: dict[int, Evaluated] = {}
    for row in rows:
        if metric in row and not math.isnan(row[metric]):
            step = int(row["step"]) if "step" in row else len(found) + 1
            found[step] = Evaluated(step, row.get("epoch"), row[metric])
    return tuple(found[step] for step in sorted(found))
