"""Train what a selection chose: the same protocol, method and learning rate, on all the data."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lensllm.config import SelectConfig
from lensllm.errors import InputError, TooFewExamples
from lensllm.handover import history
from lensllm.handover.card import base_of, write_card
from lensllm.handover.carry_out import carry_out
from lensllm.handover.jobs import MERGED, Merge, Train
from lensllm.handover.measured import inherited
from lensllm.handover.place import Place, here, on_ray
from lensllm.handover.target import folder_name, held
from lensllm.handover.trained import Outcome, Trained
from lensllm.inputs import read_scoring
from lensllm.measured_inputs import read_measured
from lensllm.provenance import Provenance
from lensllm.recorded import versions
from lensllm.selection import LEVEL, Ranked, Selection
from lensllm.text import visible
from lensllm.tuning.run import Run

TRAINED = "trained"
AS_SELECTED = "the selection's runs went there, and so does this training: --executor processes trains on this machine"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions:
    """What a training is told beside its selection.

    Attributes:
        candidate: its name; the winner if None.
        examples: that it is trained on, the first of the nested subsets; all if None.
        merge: whether an adapter is merged into its base as well.
        output_dir: of the model; a folder inside the selection's if None.
        save_steps: steps between two checkpoints; below 1 a part of all steps.
        progress: whether steps are told on stderr.
        executor: `processes` (this machine) or `ray`; where the selection's runs went if None.
        ray_address: of the cluster, as in `select`; that of the selection if None.
    """

    candidate: str | None = None
    examples: int | None = None
    merge: bool = False
    output_dir: str | Path | None = None
    save_steps: float = 0.1
    progress: bool = False
    executor: str | None = None
    ray_address: str | None = None


def train_selection(selection: Selection, options: TrainOptions | None = None, task: Any = None) -> Trained:
    """Train a candidate of a selection, save it, measure it, and write down what became of the forecast.

    Args:
        selection: loaded, or just made; the history is kept in its folder.
        options: what is trained, and where it goes.
        task: the examples, where they came from a Python program.

    Raises:
        InputError: if there is nothing to train, base or data are others than those that were measured, the target
            directory is not empty, the cluster cannot be reached or used, none of its nodes sees the target directory,
            or the candidate cannot be trained.
    """
    options, folder, origin = options or TrainOptions(), selection.folder, selection.provenance
    if origin is None or folder is None:
        raise InputError("this selection has no provenance: select again, or load it from its folder")
    row = _row(selection, options.candidate)
    source, examples = origin.candidate(row.candidate), _examples(selection, options.examples)
    if options.merge and source.method == "full":
        raise InputError(f"{row.candidate} is tuned in full, so there is no adapter to merge: leave --merge out")
    config = _config(origin, options)
    data, candidate = read_measured(origin, source, task)
    scoring, _ = read_scoring(config, data, [candidate])
    target = Path(options.output_dir) if options.output_dir else folder / TRAINED / folder_name(row.candidate)
    rung, absolute = inherited(source, examples), str(target.absolute())
    job = Train(
        candidate, data, origin.training, examples, learning_rate=rung[0], previous_validation_loss=rung[1],
        scoring=scoring, folder=absolute, base=base_of(source), revision=source.revision if source.hub_id else "",
        save_steps=options.save_steps, progress=options.progress,
    )  # fmt: skip
    with held(target, job), _place(job, config, options, folder) as place:
        notes = _differences(origin, place.device)
        for note in notes:
            logger.warning("note: %s", visible(note))
        run = carry_out(place.executor, place.job)
        merge = Merge(candidate, data, origin.training, examples, folder=absolute) if options.merge else None
        merged = carry_out(place.executor, merge) if merge else None
    trained = Trained(
        target, row.candidate, row.method, examples, _outcomes(selection, row, run), run.learning_rate,
        run.validation, origin.training.steps(examples), run.flops, run.seconds, target / MERGED if merged else None,
        merged.nats_per_byte if merged else None, notes,
    )  # fmt: skip
    write_card(trained, source, origin, versions("bitsandbytes" in origin.versions), candidate.encoder_decoder)
    history.append(folder, _rows(trained, origin))
    return trained


def _row(selection: Selection, name: str | None) -> Ranked:
    row = next((one for one in selection.ranking if one.candidate == (name or selection.best)), None)
    tuned = [one.candidate for one in selection.ranking if one.method != "none"]
    if row is None:
        raise InputError(f"no candidate {name!r} in this selection: its candidates are {', '.join(tuned)}")
    if row.method == "none":
        what = "is used as it is" if name else "wins as it came"
        raise InputError(
            f"{row.candidate} {what}, so there is nothing to train: name another with --candidate ({', '.join(tuned)})"
        )
    return row


def _examples(selection: Selection, asked: int | None) -> int:
    available = selection.target_size
    if asked is not None and asked > available:
        message = f"{asked:,} examples asked for, and there are {available:,} training examples: ask for fewer"
        raise TooFewExamples(message, asked, available)
    if asked is not None and asked < 1:
        raise InputError(f"{asked} examples asked for: ask for one or more")
    return asked or available


def _outcomes(selection: Selection, row: Ranked, run: Run) -> tuple[Outcome, ...]:
    forecast, interval = _forecast(selection, row, run.examples)
    found = [Outcome("loss", run.nats_per_byte, run.standard_error, forecast, interval)]
    for name, score in run.scores.items():
        made = selection.scored.forecast(name) if selection.scored and run.examples == selection.target_size else None
        of = made.row(row.candidate) if made else None
        if math.isfinite(score.value):
            error = score.standard_error if math.isfinite(score.standard_error) else None
            told = (of.forecast, of.interval) if of else (None, None)
            found.append(Outcome(name, score.value, error, *told))
    return tuple(found)


def _forecast(selection: Selection, row: Ranked, examples: int) -> tuple[float | None, tuple[float, float] | None]:
    """The loss at so many examples; none where it was measured, lies below what was, or its selector is not kept."""
    if examples == selection.target_size:
        return row.forecast, row.interval
    if examples <= max(row.measured) or selection.own_selector:
        return None, None
    made = selection.forecast_at(examples)
    k = made.candidates.index(row.candidate)
    low, high = made.interval(LEVEL)[k]
    return float(made.mean[k]), (float(low), float(high))


def _config(origin: Provenance, options: TrainOptions) -> SelectConfig:
    """What the selection was told, and where the training is to run."""
    asked = {"executor": options.executor, "ray_address": options.ray_address}
    return SelectConfig.of(**origin.settings | {name: value for name, value in asked.items() if value is not None})


@contextmanager
def _place(job: Train, config: SelectConfig, options: TrainOptions, folder: Path) -> Iterator[Place]:
    """This machine or the cluster; where nobody asked for the cluster, that is said."""
    if config.executor == "processes":
        with here(job, config.gpus_per_run) as place:
            yield place
        return
    with ExitStack() as stack:
        try:
            place = stack.enter_context(on_ray(job, config.gpus_per_run, config.ray_address, folder))
        except InputError as error:
            if options.executor:
                raise
            raise InputError(f"{error}; {AS_SELECTED}") from error
        if not options.executor:
            logger.warning("ray: %s", AS_SELECTED)
        yield place


def _differences(origin: Provenance, device: str) -> tuple[str, ...]:
    """What is other than it was in the selection and may change a loss."""
    now = {"the device": device, **versions("bitsandbytes" in origin.versions)}
    was = {"the device": origin.device, **origin.versions}
    changed = [f"{name} was {was[name]} and is {now[name]}" for name in now if name in was and was[name] != now[name]]
    return (f"since the selection {', '.join(changed)}: losses may differ by more than was forecast",) * bool(changed)


def _rows(trained: Trained, origin: Provenance) -> list[history.HistoryRow]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    about = (date, origin.task.name, trained.candidate, trained.method, trained.examples)
    folder, rows = str(trained.folder.absolute()), []
    for one in trained.outcomes:
        low, high = one.interval or (None, None)
        rows.append(history.HistoryRow(*about, one.measure, one.forecast, low, high, one.reached, folder))
    return rows
