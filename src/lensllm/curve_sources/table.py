"""From tracked runs to one table of losses over numbers of training examples, with a note for everything guessed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lensllm.curve_losses import SCORES
from lensllm.curve_numbers import size_of
from lensllm.curve_sources.read import read_histories
from lensllm.curve_sources.run_names import NameParts, RunNames
from lensllm.curve_sources.tracked_run import Evaluated, TrackedRun
from lensllm.curve_tables import CurveTable, table_of
from lensllm.delimited import Delimited
from lensllm.errors import InputError
from lensllm.text import counted, listed

WORSE = 1.01
"""A last loss that is so many times the best one is told: the run went on for too long."""
UNIT = (
    "losses are taken as they were logged, which is nats a token unless you changed it: candidates can be compared "
    "only where they have one tokenizer and the same examples"
)


@dataclass(frozen=True)
class HowRead:
    """What a user says of runs that were made elsewhere.

    Attributes:
        metric: name of the loss; "" for the only evaluation loss there is.
        evaluation: which evaluation of a run is its loss: the last, as runs of `select` are measured, or the best.
        run_names: a pattern of `RunNames`; "" where the first folder, or the run's own name, is the candidate.
        examples: name of a run -> its number of training examples, where nothing else tells.
    """

    metric: str = ""
    evaluation: Literal["last", "best"] = "last"
    run_names: str = ""
    examples: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, metric: str, evaluation: str, run_names: str, examples: Sequence[str]) -> HowRead:
        """From the words of a command line, sizes as `RUN=N`.

        Raises:
            InputError: naming the word that is not understood.

        >>> HowRead.of("", "last", "", ["llama-a=1k"]).examples
        {'llama-a': 1000}
        """
        if evaluation not in ("last", "best"):
            raise InputError(f"--evaluation is {evaluation!r}, expected last or best")
        sizes = {}
        for text in examples:
            run, mark, size = text.rpartition("=")
            number = size_of(size)
            if not mark or not run or not number:
                raise InputError(f"--examples is {text!r}, expected RUN=N with the number of its training examples")
            sizes[run] = int(number)
        return cls(metric, "best" if evaluation == "best" else "last", run_names, sizes)


@dataclass(frozen=True)
class _Row:
    candidate: str
    examples: int
    loss: float
    seed: str
    run: TrackedRun
    size_from: str = ""


def read_runs(source: str, how: HowRead) -> CurveTable:
    """The losses of the runs of a source.

    Args:
        source: as `read_histories`.
        how: what the user says of it.

    Raises:
        InputError: naming the run of which something is missing or contradicts, or if nothing is left.

    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for examples, loss in [(100, 2.5), (200, 2.25)]:
    ...         file = Path(folder) / "llama" / str(examples) / "trainer_state.json"
    ...         file.parent.mkdir(parents=True)
    ...         state = {"log_history": [{"step": 10, "epoch": 1.0, "eval_loss": loss}]}
    ...         _ = file.write_text(json.dumps(state))
    ...     table = read_runs(folder, HowRead(run_names="{candidate}/{examples}"))
    >>> table.candidates, table.sizes, table.losses.tolist()
    (['llama'], [100.0, 200.0], [[2.5, 2.25]])
    """
    if how.metric.rpartition("/")[2].removeprefix("eval_").casefold() in SCORES:
        raise InputError(f"--metric is {how.metric!r}, of which more is better: give a loss")
    histories, notes = read_histories(source)
    runs = [TrackedRun.of(history, how.metric) for history in histories]
    if unknown := [run for run in how.examples if run not in {one.name for one in runs}]:
        raise InputError(f"{source} has no run {unknown[0]!r}, which --examples names: it has {_names(runs)}")
    rows = _rows(runs, how, notes, source)
    if not rows:
        raise InputError(f"{source} has no run with a loss to read: {'; '.join(notes) or 'it is empty'}")
    notes += _told(rows)
    seeds = len({(row.candidate, row.examples) for row in rows}) < len(rows) and all(row.seed for row in rows)
    header = ["candidate", "examples", "loss", *["seed"] * seeds]
    cells = [[row.candidate, str(row.examples), repr(row.loss), *[row.seed] * seeds] for row in rows]
    table = table_of(Delimited(header, list(enumerate(cells, 1)), ",", tuple(notes)), Path(source))
    return table


def _rows(runs: Sequence[TrackedRun], how: HowRead, notes: list[str], source: str) -> list[_Row]:
    """A row a run that can be used; why another cannot is added to the notes."""
    names = RunNames(how.run_names) if how.run_names else None
    rows, best = [], 0
    for run in runs:
        said = names.read(run.name) if names else None
        if names and said is None:
            notes.append(f"left out: {run.name} is not named as {how.run_names!r}")
            continue
        if not run.evaluations:
            notes.append(f"left out: {run.where} has no evaluation loss{f' {how.metric}' if how.metric else ''}")
            continue
        if run.unfinished:
            notes.append(f"left out: {run.where} has not ended, {run.unfinished}")
            continue
        chosen = _chosen(run, how.evaluation)
        row = _Row(said.candidate if said else run.name.partition("/")[0], 0, chosen.loss, run.seed, run)
        row = replace(row, seed=said.seed) if said and said.seed else row
        if chosen.step == 0:
            rows.append(row)
            continue
        size, size_from = _size(run, how, said)
        if size is None:
            raise InputError(
                f"{run.where} does not say how many examples it was trained on (no train_samples, and no "
                f"train_samples_per_second with train_runtime): give --examples {run.name}=N, or --run-names with "
                "{examples}"
            )
        rows.append(replace(row, examples=size, size_from=size_from))
        if run.evaluations[0].step == 0:
            rows.append(replace(row, loss=run.evaluations[0].loss))
        best += min(one.loss for one in run.evaluations) * WORSE < chosen.loss
    if best:
        notes.append(
            f"the last evaluation is worse than the best by more than 1 % in {counted(best, 'run')}: --evaluation best "
            "takes the best"
        )
    return rows


def _size(run: TrackedRun, how: HowRead, said: NameParts | None) -> tuple[int | None, str]:
    """Number of training examples, and what told it: the user, the run's name, or the run."""
    if run.name in how.examples:
        return how.examples[run.name], "--examples"
    if said and said.examples:
        return said.examples, "--run-names"
    return run.examples, run.size_from


def _chosen(run: TrackedRun, evaluation: str) -> Evaluated:
    finite = [one for one in run.evaluations if math.isfinite(one.loss)]
    if evaluation == "best" and finite:
        return min(finite, key=lambda one: one.loss)
    return run.evaluations[-1]


def _told(rows: Sequence[_Row]) -> list[str]:
    """What was guessed, once each."""
    tuned = [row for row in rows if row.examples]
    metrics = Counter(row.run.metric for row in rows)
    if len(metrics) > 1:
        first = {row.run.metric: row.run.where for row in reversed(rows)}
        shown = ", ".join(f"{name} in {first[name]}" for name in metrics)
        raise InputError(f"the runs have losses of several names ({shown}): choose one with --metric")
    notes = [f"{counted(len(tuned), 'run')} read by {next(iter(metrics))}, the number of examples from "
             f"{listed(sorted({row.size_from for row in tuned}))}"]  # fmt: skip
    if any("train_runtime" in row.size_from for row in tuned):
        notes.append("numbers of examples are samples a second times seconds: where rows were packed they are too low")
    known = {row.candidate: row.run.vocabulary for row in rows if row.run.vocabulary}
    if len(set(known.values())) > 1:
        notes.append(
            f"the tokenizers of {listed(sorted(known))} differ: their losses a token cannot be compared, and neither "
            "the order nor P(best) below means anything"
        )
    return [*notes, UNIT]


def _names(runs: Sequence[TrackedRun]) -> str:
    return listed([run.name for run in runs])
