"""What the scores say beside the losses: by rung, where both would choose differently, and what was forgotten."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import ndtri

from lensllm.curve_tables import written_name
from lensllm.curves import Curves
from lensllm.files import write_whole
from lensllm.objectives import Between, ScoreObjective
from lensllm.records import Record
from lensllm.score_forecast import ScoreForecast, forecasts_of
from lensllm.scores.record import Kept, Sample, ScoreValue
from lensllm.scores.scoring import Scoring
from lensllm.search.journal import AskedScores
from lensllm.text import listed
from lensllm.tuning.run import Run

CHANCE = 0.05
"""That a difference is said to be one where there is none, among all that are looked at together: of a single one its
90 % interval does not hold 0 then. Both are measured on the same examples and their errors are taken as independent, so
this is rather too careful."""


@dataclass(frozen=True)
class Forgotten:
    """What tuning a candidate did to the second task.

    Attributes:
        candidate: its name.
        examples: that it was tuned on when it was last measured.
        before: as it came.
        after: tuned.
        gain: part of its loss on the task itself that it lost meanwhile; more is better.
        loss_rise: the same of its loss on the second task, upwards; more is worse.
        marked: what fell there by more than the stated drop; empty for nothing.
    """

    candidate: str
    examples: int
    before: Kept
    after: Kept
    gain: float
    loss_rise: float
    marked: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """The scores of a selection.

    Attributes:
        objectives: of the scores, in the order asked for.
        runs: candidate -> examples -> its run; those that are done.
        examples: test examples that are scored.
        kept_name: of the second task; empty if there is none.
        keep_drop: what may be lost there.
        forecasts: of those scores that can be forecast, at the target size.
        target_size: that.
    """

    objectives: tuple[ScoreObjective, ...]
    runs: dict[str, dict[int, Run]]
    examples: int = 0
    kept_name: str = ""
    keep_drop: float = 0.05
    forecasts: tuple[ScoreForecast, ...] = ()
    target_size: float = 0.0

    @classmethod
    def of(cls, records: Iterable[Record], asked: AskedScores, losses: Curves, target_size: float) -> Scored:
        """Those of some records, forecast for the candidates whose losses are."""
        runs: dict[str, dict[int, Run]] = {}
        records = list(records)
        for record in records:
            if isinstance(record, Run) and record.status == "done":
                runs.setdefault(record.candidate, {})[record.examples] = record
        objectives = tuple(ScoreObjective.from_dict(one) for one in asked.objectives)
        values = [Curves.from_records(records, one, losses.candidates) for one in objectives]
        known = [replace(curves, features=losses.features, beside=losses) for curves in values]
        forecasts = forecasts_of(list(zip(objectives, known, strict=True)), target_size)
        return cls(objectives, runs, asked.examples, asked.kept_name, asked.keep_drop, forecasts, target_size)

    def forecast(self, name: str) -> ScoreForecast | None:
        """That of a score; None if it is not forecast."""
        return next((one for one in self.forecasts if one.objective.name == name), None)

    @property
    def not_forecast(self) -> tuple[str, ...]:
        """Scores without a forecast, a sentence."""
        if not self.target_size:
            return ()
        missing = [one.name for one in self.objectives if self.forecast(one.name) is None]
        why = "a forecast takes three sizes with a score, and a score between a floor and a ceiling (or 0 and 1)"
        return (f"not forecast: {', '.join(missing)}; {why}",) if missing else ()

    def at_floor(self, objective: Between, candidate: str) -> bool:
        """Whether a candidate's last score is no more than two standard errors above the lowest, or above a guess."""
        name = objective.name
        last = self.value(name, candidate, max(self.sizes(name, candidate), default=0))
        guess = next(one.guess for one in self.objectives if one.name == name)
        return last is None or last.value - max(objective.floor, guess) <= 2 * last.standard_error

    @property
    def by_losses(self) -> tuple[str, ...]:
        """Where the losses of the same runs have another candidate first by a score than its own curves, a sentence."""
        return tuple(
            f"{made.objective.name} alone has {made.alone} first; with the losses of the same runs beside it "
            f"{made.best.candidate} is"
            for made in self.forecasts
            if made.alone not in ("", made.best.candidate)
        )

    def differing_ahead(self, chosen: str, told: str, alike: Sequence[str] = ()) -> tuple[str, ...]:
        """Where a score's forecast has another first than the choice, a sentence each.

        They differ only where the first by score is surely ahead of the choice (`ScoreForecast.surely_ahead`); else the
        score cannot tell the two apart.

        Args:
            chosen: the choice by loss, as it is named in the ranking.
            told: what is forecast of its loss, in words.
            alike: those that the loss cannot tell from it.
        """
        said = []
        for made in self.forecasts:
            first, mine, name = made.best, made.row(chosen), made.objective.name
            if first.candidate == chosen or mine is None:
                continue
            size, better = f"at {self.target_size:,.0f} examples", made.ahead(first.candidate, chosen)
            if not made.surely_ahead(first, mine):
                both = f"{made.told(first)}, and {made.told(mine)}"
                said.append(f"{name} cannot tell {first.candidate} from {chosen}, the choice by loss: {size} {both}")
                continue
            scores = f"{made.told(first)}; {chosen}: {made.told(mine)}; ahead with probability {better:.0%}"
            ahead = f"{size} {first.candidate} is first by {name} ({scores})"
            if first.candidate in alike:
                said.append(f"loss cannot tell {first.candidate} from {chosen}, {name} can: {ahead}")
            else:
                said.append(f"forecasts of loss and score differ: {ahead}, {chosen} is first by loss ({told})")
        return tuple(said)

    def value(self, name: str, candidate: str, examples: int) -> ScoreValue | None:
        """A score of a run; None if that was not measured or has no value."""
        run = self.runs.get(candidate, {}).get(examples)
        found = run.scores.get(name) if run else None
        return found if found and math.isfinite(found.value) else None

    def sizes(self, name: str, candidate: str) -> list[int]:
        """Where a candidate has a value of a score, ascending."""
        return [size for size in sorted(self.runs.get(candidate, {})) if self.value(name, candidate, size)]

    def samples(self, candidate: str) -> dict[int, list[Sample]]:
        """Answers of a candidate as it came and tuned on most examples, by that number."""
        runs = {size: run for size, run in self.runs.get(candidate, {}).items() if run.samples}
        return {size: runs[size].samples for size in sorted({min(runs), max(runs)})} if runs else {}

    @property
    def failures(self) -> tuple[str, ...]:
        """Scores that have no value, a sentence for each reason."""
        found: dict[tuple[str, str], list[tuple[str, ScoreValue]]] = {}
        for candidate, runs in self.runs.items():
            for size, run in runs.items():
                where = f"{candidate} on {size:,} examples"
                lists = [("", run.scores), (f" on {self.kept_name}", run.kept.scores if run.kept else {})]
                for place, scores in lists:
                    for name, score in scores.items():
                        if not math.isfinite(score.value):
                            found.setdefault((name + place, score.error.split(" (on ")[0]), []).append((where, score))
                if run.kept and run.kept.error:
                    found.setdefault((f"loss on {self.kept_name}", run.kept.error), []).append((where, ScoreValue()))
        return tuple(
            f"{name} failed for {listed([where for where, _ in places], 3)}: {places[0][1].error or error}"
            for (name, error), places in found.items()
        )

    def differing(self, chosen: str, model: str, tuned: bool) -> tuple[str, ...]:
        """Where a score would choose another candidate than the loss did, a sentence each.

        Every other candidate is compared with the chosen one at the most examples that both were scored at; one that is
        used as it is stays what it was. What is compared is measured, nothing is forecast. The more are compared, the
        larger a difference has to be.

        Args:
            chosen: the choice by loss, as it is named in the ranking.
            model: its candidate here.
            tuned: whether it is to be fine-tuned.
        """
        said = []
        for objective in self.objectives:
            compared = {other: self._compared(objective.name, model, other, tuned) for other in self.runs}
            pairs = {other: pair for other, pair in compared.items() if pair and other != model}
            ahead = {other: _ahead(pair[1], pair[0], len(pairs)) for other, pair in pairs.items()}
            found = [(ahead[other], other, pair) for other, pair in pairs.items() if ahead[other]]
            if found:
                _, other, (mine, theirs, size) = max(found, key=lambda one: one[0])
                said.append(
                    f"loss and score differ: by {objective.name} {other} is better than {chosen}, the choice by loss "
                    f"({theirs.shown} and {mine.shown}, measured on {size:,} examples)"
                )
        return tuple(said)

    def _compared(self, name: str, model: str, other: str, tuned: bool) -> tuple[ScoreValue, ScoreValue, int] | None:
        theirs = self.sizes(name, other)
        mine = self.sizes(name, model)
        if not tuned:
            size = max(theirs, default=0)
            first, second = self.value(name, model, 0), self.value(name, other, size)
        else:
            size = max(set(mine) & set(theirs), default=-1)
            first, second = self.value(name, model, size), self.value(name, other, size)
        return (first, second, size) if first and second else None

    @property
    def falling(self) -> tuple[str, ...]:
        """Where a score fell by more than its error while the loss fell, too, a sentence each.

        The best of several sizes is partly the luckiest: the more there are, the larger a fall has to be.
        """
        said = []
        for objective in self.objectives:
            for candidate, runs in self.runs.items():
                values = {size: self.value(objective.name, candidate, size) for size in sorted(runs)}
                known = {size: value for size, value in values.items() if value}
                if len(known) < 2:
                    continue
                best, last = max(known, key=lambda size: known[size].value), max(known)
                losses = runs[best].nats_per_byte, runs[last].nats_per_byte
                if _ahead(known[best], known[last], len(known) - 1) and losses[1] < losses[0]:
                    said.append(
                        f"{objective.name} of {candidate} falls while its loss falls: from {known[best].shown} at "
                        f"{best:,} examples to {known[last].shown} at {last:,}, the loss from {losses[0]:.3f} to "
                        f"{losses[1]:.3f} nats/byte"
                    )
        return tuple(said)

    @property
    def forgotten(self) -> tuple[Forgotten, ...]:
        """What every candidate that was tuned lost on the second task."""
        found = []
        for candidate, runs in self.runs.items():
            last = max(runs)
            before, after = (runs[size].kept if size in runs else None for size in (0, last))
            if last and before and after and not before.error and not after.error:
                gain = 1 - runs[last].nats_per_byte / runs[0].nats_per_byte
                rise = after.nats_per_byte / before.nats_per_byte - 1
                marks = tuple(self._marks(before, after, rise))
                found.append(Forgotten(candidate, last, before, after, gain, rise, marks))
        return tuple(found)

    def _marks(self, before: Kept, after: Kept, rise: float) -> list[str]:
        said = [f"loss {rise:+.1%}"] if rise > self.keep_drop else []
        for name, was in before.scores.items():
            now = after.scores.get(name, ScoreValue())
            if was.value - now.value > self.keep_drop:
                said.append(f"{name} {was.value:.3f} to {now.value:.3f}")
        return said

    @property
    def warnings(self) -> tuple[str, ...]:
        """Candidates that lost more on the second task than they may."""
        return tuple(
            f"{one.candidate} forgets: on {self.kept_name} {', '.join(one.marked)} after {one.examples:,} examples "
            f"(more than the {self.keep_drop:.0%} that may be lost)"
            for one in self.forgotten
            if one.marked
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        return {
            "scores": {
                one.name: {"unit": one.unit, "guess": _finite(one.guess), **self._ends(one)} for one in self.objectives
            },
            "examples": self.examples,
            "kept": self.kept_name,
            "keep_drop": self.keep_drop,
            "candidates": {
                candidate: {str(size): _run_dict(run) for size, run in sorted(runs.items())}
                for candidate, runs in self.runs.items()
            },
            "falling": list(self.falling),
            "forgetting": list(self.warnings),
            "failures": list(self.failures),
            "forecasts": {one.objective.name: one.to_dict() for one in self.forecasts},
        }

    @classmethod
    def from_dict(
        cls,
        fields: Mapping[str, Any],
        objectives: tuple[ScoreObjective, ...],
        forecasts: tuple[ScoreForecast, ...],
        target_size: float,
    ) -> Scored:
        """The scores that `to_dict` gave.

        Args:
            fields: as given.
            objectives: of the scores, in the order asked for.
            forecasts: of those that have one.
            target_size: of the forecasts.

        Raises:
            LookupError, TypeError, ValueError: if something is missing or has a value of another type.
        """
        runs = {
            str(candidate): {int(size): _run_of(str(candidate), int(size), made) for size, made in sizes.items()}
            for candidate, sizes in fields["candidates"].items()
        }
        drop = float(fields["keep_drop"])
        return cls(objectives, runs, int(fields["examples"]), str(fields["kept"]), drop, forecasts, target_size)

    def _ends(self, objective: ScoreObjective) -> dict[str, float | None]:
        """Between what a score is forecast."""
        made = self.forecast(objective.name)
        ends = made.objective if made else objective
        return {"floor": _finite(ends.floor), "ceiling": _finite(ends.ceiling)}

    def write_csv(self, path: str | Path) -> None:
        """Write every value as a tidy CSV: candidate, examples, task, score, value, standard_error, scored, failed."""
        rows: list[dict[str, Any]] = []
        for candidate, runs in self.runs.items():
            for size, run in sorted(runs.items()):
                lists = [("test", run.scores)]
                if run.kept:
                    loss = ScoreValue(run.kept.nats_per_byte, run.kept.standard_error, run.kept.examples)
                    lists.append((self.kept_name, {"loss": loss, **run.kept.scores}))
                for task, scores in lists:
                    for name, score in scores.items():
                        numbers = {
                            "value": score.value,
                            "standard_error": score.standard_error,
                            "scored": score.examples,
                            "failed": score.failed,
                        }
                        rows.append({"candidate": candidate, "examples": size, "task": task, "score": name, **numbers})
        columns = ["candidate", "examples", "task", "score", "value", "standard_error", "scored", "failed"]
        write_whole(path, pd.DataFrame(rows, columns=columns).map(written_name).to_csv(index=False))


def asked_scores(scoring: Scoring, keep_drop: float, rank_by: str, decided_by: str) -> AskedScores:
    """What is measured beside the losses, as a journal keeps it."""
    scored = scoring.scored
    chance = 1 / len(scored.labels) if scored.labels else None
    objectives = [ScoreObjective(one, chance if one.name == "accuracy" else None) for one in scored.scores]
    told, kept = tuple(one.to_dict() for one in objectives), scoring.kept.name if scoring.kept else ""
    return AskedScores(told, len(scored.asked), kept, keep_drop, rank_by, decided_by)


def searched_by(name: str, scoring: Scoring | None) -> ScoreObjective | None:
    """The score of this name that a search can go by; None for the loss, or where floor and ceiling are not known."""
    scores = [one for one in (scoring.scored.scores if scoring else ()) if one.name == name]
    objective = ScoreObjective(scores[0]) if scores else None
    return objective if objective and objective.bounded else None


def _ahead(first: ScoreValue, second: ScoreValue, compared: int = 1) -> float:
    """By how much the first is above the second, in standard errors of the difference; 0 if that is not sure.

    Of `compared` differences each may be called one by chance with a probability of `CHANCE` / compared (Bonferroni).
    """
    error = math.hypot(first.standard_error, second.standard_error)
    apart = first.value - second.value
    if not apart > 0 or not math.isfinite(error):
        return 0.0
    ahead = apart / error if error else math.inf
    return ahead if ahead > float(ndtri(1 - CHANCE / compared)) else 0.0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _score_dict(score: ScoreValue) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(score).items()}


def _run_dict(run: Run) -> dict[str, Any]:
    made: dict[str, Any] = {
        "nats_per_byte": _finite(run.nats_per_byte),
        "scores": {name: _score_dict(score) for name, score in run.scores.items()},
        "samples": [asdict(sample) for sample in run.samples],
    }
    if run.kept:
        made["kept"] = {
            "nats_per_byte": _finite(run.kept.nats_per_byte),
            "standard_error": _finite(run.kept.standard_error),
            "examples": run.kept.examples,
            "scores": {name: _score_dict(score) for name, score in run.kept.scores.items()},
            "error": run.kept.error,
        }
    return made


def _run_of(candidate: str, size: int, fields: Mapping[str, Any]) -> Run:
    """What `_run_dict` gave."""
    kept = fields.get("kept")
    return Run(
        candidate,
        size,
        "done",
        nats_per_byte=_known(fields["nats_per_byte"]),
        scores={str(name): _score_of(score) for name, score in fields["scores"].items()},
        samples=[Sample(**{name: str(one[name]) for name in ("prompt", "completion", "reference")})
                 for one in fields["samples"]],
        kept=Kept(
            _known(kept["nats_per_byte"]),
            _known(kept["standard_error"]),
            int(kept["examples"]),
            {str(name): _score_of(score) for name, score in kept["scores"].items()},
            str(kept["error"]),
        ) if kept else None,
    )  # fmt: skip


def _score_of(fields: Mapping[str, Any]) -> ScoreValue:
    value, error = _known(fields["value"]), _known(fields["standard_error"])
    return ScoreValue(value, error, int(fields["examples"]), int(fields["failed"]), str(fields["error"]))


def _known(value: Any) -> float:
    return math.nan if value is None else float(value)
