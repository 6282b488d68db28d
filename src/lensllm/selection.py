"""What a selection found: the winner, how sure, at what cost; shows itself in a notebook."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np

from lensllm.arrays import Floats
from lensllm.candidates import Refused
from lensllm.curves import Curves, features
from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.forecast import Forecast, with_zero_shot
from lensllm.handover.trained import Trained
from lensllm.next_steps import Outlook, Step
from lensllm.notebook import table
from lensllm.objectives import Loss
from lensllm.picture import Line, colours, picture
from lensllm.planning import Cost, CurveSamples, doublings, plan_sizes
from lensllm.planning.phases import Phase
from lensllm.provenance import Provenance
from lensllm.ranked import Ranked
from lensllm.records import Record
from lensllm.saved import ANSWER, SavedForecasts, read_fields
from lensllm.score_forecast import ScoreForecast, ScoreRow
from lensllm.scored import Scored
from lensllm.search.journal import AskedScores, Entrant
from lensllm.selectors import Selector, default_selector, forecast_path
from lensllm.selectors.kernel_only import kernel_sizes
from lensllm.selectors.named import selector_named
from lensllm.text import counted, listed, visible
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
        scored: the scores by rung, where any were asked for.
        rank_by: what the ranking goes by: "loss", or the name of a score.
        truth: best candidate, RelAcc and rank of the chosen one, where the true losses are known.
        provenance: what is needed to repeat it.
        folder: where it was saved or loaded from; None where neither was done.

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
    scored: Scored | None = None
    rank_by: str = "loss"
    truth: dict[str, Any] | None = field(default=None)
    provenance: Provenance | None = None
    folder: Path | None = field(default=None, compare=False)

    @property
    def tied(self) -> tuple[Ranked, ...]:
        """Rows that do as well as the first: expected loss within half a percent, and a fair chance to be better.

        By a score: expected within 0.005 of its range. One whose score is still at its floor is no tie where the losses
        speak for the first.
        """
        first, *others = self.ranking
        if self.ranked_score:
            return self._tied_by(self.ranked_score)
        samples = dict(zip(self.forecast.candidates, self.forecast.samples.T, strict=True))
        return tuple(
            row
            for row in others
            if row.p_best > 0
            and row.forecast <= first.forecast * (1 + TIED)
            and np.mean(samples[row.candidate] < samples[first.candidate]) >= TIE_PROBABILITY
        )

    def _tied_by(self, made: ScoreForecast) -> tuple[Ranked, ...]:
        assert self.scored is not None
        samples = dict(zip(made.forecast.candidates, made.forecast.samples.T, strict=True))
        losses = dict(zip(self.forecast.candidates, self.forecast.samples.T, strict=True))
        first, width = made.best, made.objective.ceiling - made.objective.floor

        def worse_by_loss(name: str) -> bool:
            known = name in losses and first.candidate in losses
            return known and np.mean(losses[name] < losses[first.candidate]) < TIE_PROBABILITY

        names = {
            row.candidate
            for row in made.rows[1:]
            if row.p_best > 0
            and abs(row.forecast - first.forecast) <= TIED * width
            and np.mean(samples[row.candidate] < samples[first.candidate]) >= TIE_PROBABILITY
            and not (self.scored.at_floor(made.objective, row.candidate) and worse_by_loss(row.candidate))
        }
        return tuple(row for row in self.ranking[1:] if row.candidate in names)

    @property
    def ranked_score(self) -> ScoreForecast | None:
        """The score's forecast that the ranking goes by; None where it goes by the loss."""
        return self.scored.forecast(self.rank_by) if self.scored and self.rank_by != "loss" else None

    def p_best(self, row: Ranked) -> float:
        """Probability that a row is the best by what the ranking goes by; 0 where that score has no forecast of it."""
        if self.ranked_score is None:
            return row.p_best
        found = self.ranked_score.row(row.candidate)
        return found.p_best if found else 0.0

    def ranked_by(self, name: str, decided_by: str = "loss") -> Selection:
        """The same with its rows in the order of a score's forecast; by the loss, with a note, where there is none.

        Args:
            name: of the score, or "loss".
            decided_by: what decided which runs were made; empty where nothing did.
        """
        made = self.scored.forecast(name) if self.scored and name != "loss" else None
        if made is None:
            said = f"ranked by loss, as {name} could not be forecast"
            return self if name == "loss" else replace(self, notes=(*self.notes, said))
        rows = {row.candidate: row for row in self.ranking}
        models = {row.model: row for row in self.ranking if row.method != "none"}
        first = [rows.get(row.candidate) or _as_it_came(row, models[row.model]) for row in made.rows]
        rest = [row for row in self.ranking if row.candidate not in {one.candidate for one in first}]
        whose = "it" if decided_by == name else f"the {decided_by}"
        said = f"ranked by the forecast of {name}"
        said += f"; which runs were made was decided by {whose}" if decided_by else ""
        return replace(self, ranking=(*first, *rest), rank_by=name, notes=(*self.notes, said))

    def with_scores(self, records: Iterable[Record], asked: AskedScores) -> Selection:
        """The same with the scores of some records, ranked by what was asked for."""
        scored = Scored.of(records, asked, self.curves, self.target_size)
        return replace(self, scored=scored).ranked_by(asked.rank_by, asked.decided_by)

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
        found = (f"forecast loss {first.forecast:.3f} nats/byte", first.p_best)
        if self.ranked_score and (mine := self.ranked_score.row(first.candidate)):
            low, high = mine.interval
            found = (f"forecast {self.rank_by} {mine.forecast:.3f}", mine.p_best)
        if first.method == "none":
            what = f"Do not fine-tune: use {first.model} as it is"
        else:
            what = f"Fine-tune {first.candidate} on all {self.target_size:,} examples"
        said = (
            f"{what}: {found[0]} (90 % interval {low:.3f} to {high:.3f}), "
            f"the best of {counted(sum(row.method != 'none' for row in self.ranking), 'candidate')} "
            f"with probability {found[1]:.0%}"
        )
        if self.ranked_score and self.tied:
            alike = [row.candidate for row in (self.ranking[0], *self.tied) if row is not first]
            said += f"; {' and '.join(alike)} cannot be told from it"
        elif self.tied:
            others = [row for row in (self.ranking[0], *self.tied) if row is not first]
            apart = max(abs(row.forecast / first.forecast - 1) for row in others)
            either = "either will do" if len(others) == 1 else "any of them will do"
            cheaper = ", and the first named is the smallest" if first is not self.ranking[0] else ""
            said += (
                f"; {' and '.join(row.candidate for row in others)} cannot be told from it: {either}, the expected "
                f"difference is {apart:.1%}{cheaper}"
            )
        elif len(self.ranking) > 1 and first.p_best < 0.8 and not self.ranked_score:
            second = max(self.ranking[1:], key=lambda row: row.p_best)
            said += f"; the one to doubt it for is {second.candidate} ({second.p_best:.0%})"
        return said + f"; this took {self.flops_fraction:.1%} of the compute of fine-tuning them all."

    @property
    def score_advice(self) -> tuple[str, ...]:
        """Where scores and losses differ and what was forgotten or failed, a sentence each."""
        if self.scored is None:
            return ()
        by_loss = replace(self, ranking=self.by_loss, rank_by="loss")
        first = next(row for row in self.ranking if row.candidate == by_loss.best)
        low, high = first.interval
        told = f"{first.forecast:.3f} nats/byte, 90 % interval {low:.3f} to {high:.3f}, {first.p_best:.0%}"
        differing = self.scored.differing(first.candidate, first.model, first.method != "none")
        alike = [row.candidate for row in (by_loss.ranking[0], *by_loss.tied)]
        ahead = self.scored.differing_ahead(first.candidate, told, alike)
        return (
            *ahead,
            *differing,
            *self.scored.by_losses,
            *self.scored.not_forecast,
            *self.scored.falling,
            *self.scored.warnings,
            *self.scored.failures,
        )

    @property
    def by_loss(self) -> tuple[Ranked, ...]:
        """The rows in the order of the losses' forecast."""
        place = {name: at for at, name in enumerate(self.forecast.ranking)}
        return tuple(sorted((row for row in self.ranking if row.candidate in place), key=lambda r: place[r.candidate]))

    @cached_property
    def next_steps(self) -> tuple[Step, ...]:
        """What to do now: train, export, label, take a larger model or stop; nothing without a provenance."""
        if self.provenance is None:
            return ()
        row = next(row for row in self.ranking if row.candidate == self.best)
        doubled = None
        with suppress(InputError):  # a forecast that was made for one size alone
            samples = CurveSamples.of(self.forecast, self.curves)
            doubled = next((one for one in doublings(samples, self.costs) if one.candidate == self.best), None)
        size, costs = self.target_size, self.costs
        return Outlook(row, self.ranking, self.forecast, size, costs, doubled, self.provenance).steps

    @property
    def own_selector(self) -> str:
        """Name of the selector of a Python program that made the forecast, which is not kept; else empty."""
        return self.provenance.objects.get("selector", "") if self.provenance else ""

    def forecast_at(self, size: float) -> Forecast:
        """What the same selector forecasts at another number of training examples.

        Raises:
            InputError: if it was the object of a Python program, or as `Selector.forecast`.
        """
        if self.own_selector:
            raise InputError(
                f"{self.own_selector}, the selector of a Python program, forecast {self.target_size:,} examples and is "
                f"not kept: ask for that number, or call it on selection.curves"
            )
        name = self.provenance.settings.get("selector", "") if self.provenance else ""
        return forecast_path(selector_named(name) or default_selector(self.curves), self.curves, size)

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
            "rank_by": self.rank_by,
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
            **({"scored": {**self.scored.to_dict(), "advice": list(self.score_advice)}} if self.scored else {}),
            **({"truth": self.truth} if self.truth else {}),
            **({"next": [step.to_dict() for step in self.next_steps]} if self.provenance else {}),
            **({"provenance": self.provenance.to_dict()} if self.provenance else {}),
        }

    @classmethod
    def from_records(
        cls,
        records: Sequence[Record],
        entrants: Sequence[Entrant],
        *,
        task: str,
        target_size: int,
        flops_everything: float,
        selector: Selector | None = None,
    ) -> Self:
        """The ranking and forecast that records give, with what they took; nothing is said of why no more were made.

        Args:
            records: all there are.
            entrants: the candidates that are ranked, each fine-tuned once at least.
            task: its name.
            target_size: number of training examples that is forecast for.
            flops_everything: FLOPs of fine-tuning all candidates on them.
            selector: forecasts the losses; the default for these curves if None.

        >>> runs = [Run(name, size, "done", nats_per_byte=loss, learning_rate=1e-3, flops=5.0) for name, size, loss in
        ...         [("a", 50, 1.9), ("a", 100, 1.8), ("b", 50, 2.0), ("b", 100, 1.95)]]
        >>> entrants = [Entrant("a", "a", "gpt2", "full"), Entrant("b", "b", "gpt2", "full")]
        >>> found = Selection.from_records(runs, entrants, task="mine", target_size=400, flops_everything=200.0)
        >>> found.best, found.flops_fraction
        ('a', 0.1)
        """
        curves = curves_of(entrants, records)
        path = forecast_path(selector or default_selector(curves), curves, target_size, plan_sizes(curves, target_size))
        ranking, forecast = rank(curves, path, records)
        return cls(
            task=task,
            target_size=target_size,
            ranking=ranking,
            curves=curves,
            forecast=forecast,
            flops=math.fsum(record.flops for record in records),
            flops_everything=flops_everything,
            seconds=math.fsum(record.seconds for record in records),
            stopped="",
            failures=tuple(record for record in records if record.status != "done"),
        )

    def save(self, folder: str | Path) -> None:
        """Write `selection.json`, `forecast.safetensors` and `curves.csv`, and `scores.csv` where anything was scored.

        >>> import tempfile
        >>> from lensllm.selectors import GrowingSlopes
        >>> curves = Curves(("a", "b"), [50, 100], [[1.6, 1.5], [1.8, 1.7]])
        >>> ranking, forecast = rank(curves, GrowingSlopes().forecast(curves, 800), [])
        >>> found = Selection("mine", 800, ranking, curves, forecast, 2e11, 2e12, seconds=60, stopped="it is sure")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(folder)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ...     json.loads(Path(folder, "selection.json").read_text())["best"]
        ['curves.csv', 'forecast.safetensors', 'selection.json']
        'a'
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.curves.write_csv(folder / "curves.csv")
        scores = (self.scored.objectives, self.scored.forecasts) if self.scored else ((), ())
        SavedForecasts(self.curves, self.forecast, *scores).write(folder)
        if self.scored:
            self.scored.write_csv(folder / "scores.csv")
        write_whole(folder / ANSWER, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Selection:
        """The selection that `save` wrote into a folder.

        Raises:
            InputError: if there is none, it is damaged, or an earlier version wrote it without its provenance.

        >>> import tempfile
        >>> from lensllm import select
        >>> models = ["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"]
        >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = select("define", models, output_dir=folder, **few)
        ...     again = Selection.load(folder)
        >>> again.to_dict() == found.to_dict(), again.provenance.candidate(again.best).settings
        (True, {})
        """
        return cls(**read_fields(Path(folder), Ranked), folder=Path(folder))

    def train(self, task: Any = None, **options: Any) -> Trained:
        """Train the winner on all data: the protocol, the method and the learning rate that were measured.

        The model, or its adapter, is saved with tokenizer, chat template and model card, measured on the test, and
        what was forecast is compared with what was reached. A training that was interrupted goes on from its last
        checkpoint; what came true is written to `history.csv` in the selection's folder.

        Args:
            task: the examples, where they came from a Python program.
            options: `candidate` (the winner), `examples` (all), `merge` (an adapter into its base), `output_dir`
                (`trained/NAME` in the selection's folder), `save_steps` (0.1: ten checkpoints), `progress`, `executor`
                and `ray_address` (those of the selection).

        Raises:
            InputError: if there is nothing to train, base or data have changed since, the target is not empty, or
                no node of the cluster can be reached or sees the target.

        >>> import tempfile
        >>> from lensllm import select
        >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = select("define", ["gpt2-0.2m-brown-0.3m"], output_dir=folder, **few).train(examples=50)
        ...     sorted(file.name for file in trained.folder.iterdir())[:3]
        ['README.md', 'config.json', 'generation_config.json']
        >>> trained.examples, trained.loss.reached > 0
        (50, True)
        """
        pipeline = import_module("lensllm.train_pipeline")
        trained: Trained = pipeline.train_selection(self, pipeline.TrainOptions(**options), task)
        return trained

    def _repr_html_(self) -> str:
        """The sentence, the curves with their forecasts, the ranking, and what is doubtful."""
        tuned = [row for row in self.ranking if row.method != "none"]
        colour = dict(zip([row.candidate for row in tuned], colours(len(tuned)), strict=True))
        scored = [self.rank_by] if self.ranked_score else []
        rows = [
            [
                row.candidate,
                *self._score_cells(row),
                f"{row.forecast:.3f}",
                f"{row.interval[0]:.3f} to {row.interval[1]:.3f}",
                f"{self.p_best(row):.0%}",
            ]
            for row in self.ranking
        ]
        columns = ["candidate", *scored, "forecast loss", "90 % interval", "P(best)"]
        drawn = picture([self._line(row) for row in tuned], "test loss, nats a byte")
        told = table(columns, rows, [colour.get(row.candidate, "transparent") for row in self.ranking])
        notes = "".join(f"<li>{escape(visible(note))}</li>" for note in self.notes)
        return f"<p>{escape(self.sentence)}</p>{drawn}{told}" + (f"<ul>{notes}</ul>" if notes else "")

    def _score_cells(self, row: Ranked) -> list[str]:
        """The score that the ranking goes by, if it goes by one."""
        found = self.ranked_score.row(row.candidate) if self.ranked_score else None
        return [f"{found.forecast:.3f}" if found else ""] * bool(self.ranked_score)

    def _line(self, row: Ranked) -> Line:
        """What was measured of a candidate, and what is forecast from there to all the data."""
        sizes = np.array(sorted(row.measured), dtype=float)
        losses = np.array([row.measured[int(size)] for size in sizes])
        if row.candidate not in self.forecast.candidates:
            return Line(row.candidate, sizes, losses)
        k, at = self.forecast.candidates.index(row.candidate), self.forecast.sizes
        ahead = (at <= self.target_size) & (at >= sizes.max(initial=0))
        return Line(row.candidate, sizes, losses, at[ahead], self.forecast.means[ahead, k], row.interval)


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


def curves_of(entrants: Sequence[Entrant], records: Sequence[Record]) -> Curves:
    """What was measured of these candidates, with size, family and probes of each as features.

    >>> records = [Run("a", 0, "done", nats_per_byte=2.1), Run("a", 50, "done", nats_per_byte=1.9, parameters=9)]
    >>> curves_of([Entrant("a", "a", "gpt2", "full", 9, 99)], records).losses.tolist()
    [[2.1, 1.9]]
    """
    names = [one.name for one in entrants]
    table = features(names, records)
    table["size"] = table["size"].astype(int)
    table.insert(1, "family", [one.family for one in entrants])
    if any(one.method != "full" for one in entrants):
        table["model"] = [one.model for one in entrants]
        table["method"] = [one.method for one in entrants]
    return Curves.from_records(records, Loss(), names).with_features(table)


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
    trained = {run.candidate: run.trained_parameters for run in records if isinstance(run, Run) and run.examples}
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
                trained.get(model, 0) if tuned else 0,
            )
        )
    return tuple(rows), joint


def _as_it_came(row: ScoreRow, tuned: Ranked) -> Ranked:
    """The row of a model before any fine-tuning, which is the best such one by a score and not by the loss."""
    loss = tuned.measured.get(0, math.nan)
    return replace(
        tuned,
        candidate=row.candidate,
        method="none",
        forecast=loss,
        interval=(loss, loss),
        p_best=0.0,
        measured={0: loss},
        flops=0.0,
        kernel=None,
    )


def _kernel(curves: Curves, k: int) -> float | None:
    """The kernel curve of a candidate at the largest d."""
    known = kernel_sizes(curves)
    value = float(curves.features[f"kernel_{known[-1]}"].iloc[k]) if known else np.nan
    return value if np.isfinite(value) else None
