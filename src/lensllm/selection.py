"""What a selection found: the winner, how sure, at what cost; shows itself in a notebook."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.arrays import Floats
from lensllm.candidates import Refused
from lensllm.curves import Curves
from lensllm.files import write_whole
from lensllm.forecast import Forecast, with_zero_shot
from lensllm.planning import Cost
from lensllm.planning.phases import Phase
from lensllm.records import Record
from lensllm.selectors.kernel_only import kernel_sizes
from lensllm.text import counted, listed
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

LEVEL = 0.9
"""Of the intervals that are shown."""
FEW_STEPS = 10
"""Below, a run is mostly warm-up, and what it shows is the schedule and not the data."""
TIED = 0.005
"""Part of the loss below which a difference is none: about that of two seeds on a text."""
TIE_PROBABILITY = 0.2
"""Of being the better of two from which a candidate cannot be told from the first: one chance in five."""


@dataclass(frozen=True)
class Ranked:
    """One row of the ranking.

    Attributes:
        candidate: its name, as it is printed.
        model: its model.
        method: how it is tuned: "full", or "none" for a model that is used as it is.
        forecast: loss at the target size, nats a byte.
        interval: 90 % interval of the same.
        p_best: probability of the lowest loss of all rows.
        measured: examples -> measured loss, nats a byte.
        flops: spent on this candidate.
        kernel: loss that the kernel expected of the largest d before any training, nats a byte; None if not probed.
        parameters: of the model.
    """

    candidate: str
    model: str
    method: str
    forecast: float
    interval: tuple[float, float]
    p_best: float
    measured: dict[int, float]
    flops: float
    parameters: int
    kernel: float | None = None


@dataclass(frozen=True)
class Selection:
    """The answer to "which model should I fine-tune?".

    Attributes:
        task: its name.
        target_size: number of training examples forecast for.
        ranking: candidates from best to worst; the best model that is not fine-tuned is among them.
        curves: every measured loss, nats a byte.
        forecast: joint paths behind the ranking, the pictures and the outlook, at sizes on both sides of the target.
        flops: spent in all, failed runs and learning-rate trials included.
        flops_everything: what fine-tuning every candidate on all the data would cost.
        seconds: computing time of the runs, summed over workers.
        stopped: why no more was measured.
        failures: runs and probes that failed or diverged.
        refused: models that did not take part, with the reason.
        costs: what each candidate costs to train on all the data and to serve, where known.
        phases: of every candidate at its last measured size; they are shown and change no forecast.
        notes: what is doubtful, was left out or not read, of the data or of a candidate, a sentence each.
        truth: best candidate, RelAcc and rank of the chosen one, where the true losses are known.

    >>> from lensllm import Curves, Selection
    >>> from lensllm.planning import plan_sizes
    >>> from lensllm.selection import rank
    >>> from lensllm.selectors import GrowingSlopes
    >>> losses = [[2.2, 1.6, 1.5, 1.41, 1.33], [2.4, 1.8, 1.65, 1.49, 1.35]]
    >>> curves = Curves(("small", "large"), [0, 50, 100, 200, 400], losses)
    >>> ranking, forecast = rank(curves, GrowingSlopes().forecast(curves, 1600, plan_sizes(curves, 1600)), [])
    >>> found = Selection("mine", 1600, ranking, curves, forecast, 2e11, 2e12, seconds=60, stopped="it is sure")
    >>> print(found.sentence)  # doctest: +NORMALIZE_WHITESPACE
    Fine-tune large on all 1,600 examples: forecast loss 1.082 nats/byte (90 % interval 0.973 to 1.194), the best of
    2 candidates with probability 81%; this took 10.0% of the compute of fine-tuning them all.
    >>> for row in found.ranking:
    ...     print(row.candidate, round(row.forecast, 2), round(row.p_best, 1))
    large 1.08 0.8
    small 1.14 0.2
    small (not fine-tuned) 2.2 0.0
    >>> found.best, found.flops_fraction, found.tied, found.to_dict()["alike"]
    ('large', 0.1, (), [])
    """

    task: str
    target_size: int
    ranking: tuple[Ranked, ...]
    curves: Curves
    forecast: Forecast
    flops: float
    flops_everything: float
    seconds: float
    stopped: str
    failures: tuple[Record, ...] = ()
    refused: tuple[Refused, ...] = ()
    costs: dict[str, Cost] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    notes: tuple[str, ...] = ()
    truth: dict[str, Any] | None = field(default=None)

    @property
    def tied(self) -> tuple[Ranked, ...]:
        """Rows that do as well as the first: expected loss within half a percent, and a fair chance to be better."""
        first, *others = self.ranking
        samples = dict(zip(self.forecast.candidates, self.forecast.samples.T, strict=True))
        return tuple(
            row
            for row in others
            if row.p_best > 0
            and row.forecast <= first.forecast * (1 + TIED)
            and np.mean(samples[row.candidate] < samples[first.candidate]) >= TIE_PROBABILITY
        )

    @property
    def best(self) -> str:
        """The candidate to fine-tune: the first of the ranking, or the smallest model of those that do as well."""
        sized = [row for row in (self.ranking[0], *self.tied) if row.parameters]
        return min(sized or self.ranking[:1], key=lambda row: row.parameters).candidate

    @property
    def flops_fraction(self) -> float:
        """Compute spent, as a part of fine-tuning every candidate on all the data."""
        return self.flops / self.flops_everything

    @property
    def sentence(self) -> str:
        """What to do, in one sentence."""
        first = next(row for row in self.ranking if row.candidate == self.best)
        low, high = first.interval
        if first.method == "none":
            what = f"Do not fine-tune: use {first.model} as it is"
        else:
            what = f"Fine-tune {first.candidate} on all {self.target_size:,} examples"
        said = (
            f"{what}: forecast loss {first.forecast:.3f} nats/byte (90 % interval {low:.3f} to {high:.3f}), "
            f"the best of {counted(sum(row.method != 'none' for row in self.ranking), 'candidate')} "
            f"with probability {first.p_best:.0%}"
        )
        if self.tied:
            others = [row for row in (self.ranking[0], *self.tied) if row is not first]
            apart = max(abs(row.forecast / first.forecast - 1) for row in others)
            either = "either will do" if len(others) == 1 else "any of them will do"
            cheaper = ", and the first named is the smallest" if first is not self.ranking[0] else ""
            said += (
                f"; {' and '.join(row.candidate for row in others)} cannot be told from it: {either}, the expected "
                f"difference is {apart:.1%}{cheaper}"
            )
        elif len(self.ranking) > 1 and first.p_best < 0.8:
            second = max(self.ranking[1:], key=lambda row: row.p_best)
            said += f"; the one to doubt it for is {second.candidate} ({second.p_best:.0%})"
        return said + f"; this took {self.flops_fraction:.1%} of the compute of fine-tuning them all."

    def phase(self, candidate: str) -> Phase | None:
        """The phase of a candidate of the ranking; None for a model as it came."""
        return next((phase for phase in self.phases if phase.candidate == candidate), None)

    @property
    def phases_known(self) -> bool:
        """Whether the phase of any candidate can be told."""
        return any(phase.phase != "unknown" for phase in self.phases)

    @property
    def phase_advice(self) -> tuple[str, ...]:
        """What the phases say of the forecasts, a sentence a kind; nothing of candidates in the power phase."""
        names: dict[str, list[str]] = {}
        for phase in self.phases:
            if phase.phase != "power":
                names.setdefault(phase.advice, []).append(phase.candidate)
        said = [
            (advice, "all candidates" if len(of) == len(self.phases) else ", ".join(of)) for advice, of in names.items()
        ]
        return tuple(f"{who}: {advice}" for advice, who in said)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the samples, in types that JSON knows."""
        rows = [
            {**asdict(row), "interval": list(row.interval), "measured": {str(k): v for k, v in row.measured.items()}}
            for row in self.ranking
        ]
        return {
            "task": self.task,
            "target_size": self.target_size,
            "unit": "nats per byte of completion",
            "best": self.best,
            "sentence": self.sentence,
            "alike": [row.candidate for row in self.tied],
            "ranking": rows,
            "flops": self.flops,
            "flops_everything": self.flops_everything,
            "flops_fraction": self.flops_fraction,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "failures": [
                {"candidate": run.candidate, "examples": run.examples, "status": run.status, "error": run.error}
                for run in self.failures
            ],
            "refused": [{"model": one.name, "reason": one.reason} for one in self.refused],
            "costs": {name: asdict(cost) for name, cost in self.costs.items()},
            "phases": [phase.to_dict() for phase in self.phases],
            "notes": list(self.notes),
            **({"truth": self.truth} if self.truth else {}),
        }

    def save(self, folder: str | Path) -> None:
        """Write `selection.json` and `curves.csv`.

        >>> import tempfile
        >>> from lensllm.selectors import GrowingSlopes
        >>> curves = Curves(("a", "b"), [50, 100], [[1.6, 1.5], [1.8, 1.7]])
        >>> ranking, forecast = rank(curves, GrowingSlopes().forecast(curves, 800), [])
        >>> found = Selection("mine", 800, ranking, curves, forecast, 2e11, 2e12, seconds=60, stopped="it is sure")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(folder)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ...     json.loads(Path(folder, "selection.json").read_text())["best"]
        ['curves.csv', 'selection.json']
        'a'
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.curves.write_csv(folder / "curves.csv")
        write_whole(folder / "selection.json", json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("candidate", "forecast", "90 % interval", "P(best)"))
        body = "".join(
            f"<tr><td>{escape(row.candidate)}</td><td>{row.forecast:.3f}</td>"
            f"<td>{row.interval[0]:.3f} to {row.interval[1]:.3f}</td><td>{row.p_best:.0%}</td></tr>"
            for row in self.ranking
        )
        return f"<p>{escape(self.sentence)}</p><table><tr>{head}</tr>{body}</table>"


def doubts(sizes: Floats, training: TrainingConfig) -> tuple[str, ...]:
    """What of an answer has no basis, a sentence each: runs of a few steps.

    Args:
        sizes: numbers of training examples that were measured.
        training: how runs were trained.
    """
    said = []
    short = {int(size): training.steps(int(size)) for size in sizes if 0 < training.steps(int(size)) < FEW_STEPS}
    if short:
        took = listed([f"{size:,} ({steps})" for size, steps in short.items()])
        said.append(
            f"runs of fewer than {FEW_STEPS} optimizer steps are no basis for a forecast; examples (steps): {took}, "
            f"with {training.num_train_epochs} epochs in batches of {training.per_device_train_batch_size}"
        )
    return tuple(said)


def rank(curves: Curves, forecast: Forecast, records: Sequence[Record]) -> tuple[tuple[Ranked, ...], Forecast]:
    """The ranking with the best model that is not fine-tuned as a candidate of its own.

    Returns:
        The rows from best to worst, and the forecast with that candidate appended.

    >>> from lensllm.selectors import GrowingSlopes
    >>> curves = Curves(("a", "b"), [0, 50, 100], [[2.4, 1.6, 1.5], [2.2, 1.8, 1.7]])
    >>> rows, joint = rank(curves, GrowingSlopes().forecast(curves, 800), [])
    >>> [(row.candidate, row.method) for row in rows]
    [('a', 'full'), ('b', 'full'), ('b (not fine-tuned)', 'none')]
    """
    joint = with_zero_shot(forecast, curves)
    intervals, chances = joint.interval(LEVEL), joint.p_best
    parameters = {run.candidate: run.parameters for run in records if isinstance(run, Run) and run.parameters}
    spent = {name: math.fsum(r.flops for r in records if r.candidate == name) for name in curves.candidates}
    rows = []
    for i in joint.order:
        tuned = joint.methods[i] != "none"
        k = curves.candidates.index(joint.models[i])
        model = curves.candidates[k]
        seen = {
            int(size): float(loss)
            for size, loss in zip(curves.sizes, curves.losses[k], strict=True)
            if np.isfinite(loss) and (tuned or size == 0)
        }
        rows.append(
            Ranked(
                joint.candidates[i],
                model,
                curves.methods[k] if tuned else "none",
                float(joint.mean[i]),
                (float(intervals[i, 0]), float(intervals[i, 1])),
                float(chances[i]),
                seen,
                spent[model] if tuned else 0.0,
                parameters.get(model, 0),
                _kernel(curves, k) if tuned else None,
            )
        )
    return tuple(rows), joint


def _kernel(curves: Curves, k: int) -> float | None:
    """The kernel curve of a candidate at the largest d."""
    known = kernel_sizes(curves)
    value = float(curves.features[f"kernel_{known[-1]}"].iloc[k]) if known else np.nan
    return value if np.isfinite(value) else None
