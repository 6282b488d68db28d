"""What a selection found: the winner, how sure, at what cost; shows itself in a notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.candidates import Refused
from lensllm.curves import Curves
from lensllm.forecast import NOT_TUNED, Forecast
from lensllm.planning import Cost
from lensllm.planning.phases import Phase
from lensllm.probes.record import Probe
from lensllm.selectors.kernel_only import kernel_sizes
from lensllm.tuning.run import Run

LEVEL = 0.9
TIED = 0.005
TIE_PROBABILITY = 0.2


@dataclass(frozen=True)
class Ranked:
    """One row of the ranking.

    Attributes:
        candidate: its name, with " (not fine-tuned)" for a model as it came.
        forecast: loss at the target size, nats a byte.
        interval: 90 % interval of the same.
        p_best: probability of the lowest loss of all rows.
        measured: examples -> measured loss, nats a byte.
        flops: spent on this candidate.
        kernel: loss that the kernel expected of the largest d before any training, nats a byte; None if not probed.
        parameters: of the model.
    """

    candidate: str
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
        ranking: candidates from best to worst; the best untouched model is among them.
        curves: every measured loss, nats a byte.
        forecast: joint samples behind the ranking.
        path: forecasts at sizes between the last measured and the target, for pictures.
        flops: spent in all, failed runs and learning-rate trials included.
        flops_everything: what fine-tuning every candidate on all the data would cost.
        seconds: computing time of the runs, summed over workers.
        stopped: why no more was measured.
        failures: runs and probes that failed or diverged.
        refused: models that did not take part, with the reason.
        notes: what a reader of some candidate's row has to know, a sentence each.
        costs: what each candidate costs to train on all the data and to serve, where known.
        phases: of every candidate at its last measured size; they are shown and change no forecast.
        truth: best candidate, RelAcc and rank of the chosen one, where the true losses are known.
    """

    task: str
    target_size: int
    ranking: tuple[Ranked, ...]
    curves: Curves
    forecast: Forecast
    path: tuple[Forecast, ...]
    flops: float
    flops_everything: float
    seconds: float
    stopped: str
    failures: tuple[Run | Probe, ...] = ()
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    costs: dict[str, Cost] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    truth: dict[str, Any] | None = field(default=None)

    @property
    def tied(self) -> tuple[Ranked, ...]:
        """Rows that do as well as the first: expected loss within half a percent, and a fair chance to be better."""
        first, *others = self.ranking
        samples = dict(zip(self.forecast.candidates, self.forecast.samples.T, strict=True))
        return tuple(
            row
            for row in others
            if row.forecast <= first.forecast * (1 + TIED)
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
        if first.candidate.endswith(NOT_TUNED):
            what = f"Do not fine-tune: use {first.candidate.removesuffix(NOT_TUNED)} as it is"
        else:
            what = f"Fine-tune {first.candidate} on all {self.target_size:,} examples"
        said = (
            f"{what}: forecast loss {first.forecast:.3f} nats/byte (90 % interval {low:.3f} to {high:.3f}), "
            f"the best of {len(self.ranking) - 1} candidates with probability {first.p_best:.0%}"
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
            "notes": list(self.notes),
            "costs": {name: asdict(cost) for name, cost in self.costs.items()},
            "phases": [phase.to_dict() for phase in self.phases],
            **({"truth": self.truth} if self.truth else {}),
        }

    def save(self, folder: str | Path) -> None:
        """Write `selection.json` and `curves.csv`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "selection.json").write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")
        self.curves.write_csv(folder / "curves.csv")

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("candidate", "forecast", "90 % interval", "P(best)"))
        body = "".join(
            f"<tr><td>{escape(row.candidate)}</td><td>{row.forecast:.3f}</td>"
            f"<td>{row.interval[0]:.3f} to {row.interval[1]:.3f}</td><td>{row.p_best:.0%}</td></tr>"
            for row in self.ranking
        )
        return f"<p>{escape(self.sentence)}</p><table><tr>{head}</tr>{body}</table>"


def rank(curves: Curves, forecast: Forecast, runs: Sequence[Run | Probe]) -> tuple[tuple[Ranked, ...], Forecast]:
    """The ranking with the best untouched model as a candidate of its own.

    Returns:
        The rows from best to worst, and the forecast with that candidate appended.
    """
    zero_shot = curves.at(0) if 0 in curves.sizes else np.full(len(curves.candidates), np.nan)
    names, mean, samples = list(forecast.candidates), forecast.mean, forecast.samples
    if np.isfinite(zero_shot).any():
        best = int(np.nanargmin(zero_shot))
        names.append(curves.candidates[best] + NOT_TUNED)
        mean = np.append(mean, zero_shot[best])
        samples = np.column_stack([samples, np.full(len(samples), zero_shot[best])])
    joint = Forecast(tuple(names), forecast.target_size, mean, samples)
    intervals, chances = joint.interval(LEVEL), joint.p_best
    parameters = {run.candidate: run.parameters for run in runs if run.parameters}
    rows = []
    for i in joint.order:
        model = names[i].removesuffix(NOT_TUNED)
        k = curves.candidates.index(model)
        tuned = not names[i].endswith(NOT_TUNED)
        seen = {
            int(size): float(loss)
            for size, loss in zip(curves.sizes, curves.losses[k], strict=True)
            if np.isfinite(loss) and (tuned or size == 0)
        }
        spent = sum(run.flops for run in runs if run.candidate == model and tuned)
        rows.append(
            Ranked(
                names[i],
                float(joint.mean[i]),
                (float(intervals[i, 0]), float(intervals[i, 1])),
                float(chances[i]),
                seen,
                spent,
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
