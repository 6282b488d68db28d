"""The main job: which of these models should be fine-tuned on this task?"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from lensllm.admission import Admission
from lensllm.candidates import Candidate, Full, Refused
from lensllm.config import SelectConfig
from lensllm.curves import Curves
from lensllm.errors import InputError, NothingMeasured
from lensllm.execution import Executor, InProcess, Processes
from lensllm.execution.devices import shares
from lensllm.forecast import Forecast
from lensllm.given import Given
from lensllm.inputs import check_rank_by, read_candidates, read_scoring
from lensllm.planning import Cost
from lensllm.planning.check import Check
from lensllm.planning.phases import phases
from lensllm.planning.selection_plan import needs_of, plan_selection, this_machine
from lensllm.probes.measure_job import Measure
from lensllm.progress import progress as shown_progress
from lensllm.recorded import provenance_of
from lensllm.records import Record
from lensllm.report import write_report
from lensllm.scored import asked_scores, searched_by
from lensllm.scores.scoring import Scoring
from lensllm.search.base import Jobs, Search
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.callbacks import Callback
from lensllm.search.cost import Budget, completion_bytes, everything_flops, probe_examples, run_flops
from lensllm.search.driver import drive
from lensllm.search.joining import Admit, Admitted
from lensllm.search.journal import AskedScores, Beginning, Entrant, Journal
from lensllm.search.ladder import Ladder, doublings
from lensllm.search.ladder_plan import plan_ladder
from lensllm.select_options import Models, SelectOptions, with_options
from lensllm.selection import Ranked, Selection, doubts
from lensllm.selectors import Selector
from lensllm.store import Store
from lensllm.tasks import Task
from lensllm.text import visible
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.tracking import Tracking, track_decision
from lensllm.tuning.training_config import TrainingConfig
from lensllm.tuning.weights_memory import weights_memory

if TYPE_CHECKING:
    from lensllm.execution.ray.executor import Ray
    from lensllm.tuning.attempts import Attempt

logger = logging.getLogger(__name__)

SPREAD = "each model is spread over {} GPUs, which compute one after the other: for room, not for speed"


@with_options
def select(
    task: Any,
    models: Models = (),
    *,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    **options: Unpack[SelectOptions],
) -> Selection:
    """Find the model to fine-tune.

    Every candidate is measured as it came, then fine-tuned on nested subsets of 50, 100, 200, ... examples. After a
    cheap start the next run is always the one that tells most about who is best, a FLOP, until the choice is sure or
    the budget ends; then the losses on all the data are forecast. Runs are kept in `output_dir`, so that the same call
    goes on where an interrupted one stopped; `selection.json`, `decisions.json`, `curves.csv` and `report.html` are
    written there.

    Args:
        task: a shipped task's name, a file, a folder of splits or a hub id, as `str` or `os.PathLike`; or examples, as
            `list[dict[str, Any]]`, `pandas.DataFrame`, `datasets.Dataset` or `datasets.DatasetDict`
            (`lensllm.tasks.read_task`).
        models: local folders, zoo names or hub ids, which are crossed with `methods`; or `Candidate` objects
            (`lensllm.candidates.find_candidate`), which say their method themselves.
        callbacks: hear of every run and decision.
        progress: whether it is shown how far it is; by default in a notebook and in a terminal.
        options: the other fields of `SelectConfig`. In place of their names, `selector` may be a
            `lensllm.selectors.Selector`, `executor` a `lensllm.execution.Executor`, which is left open, and `score`
            may hold functions of prompt, completion and reference, and objects of `lensllm.scores.Score`.

    Raises:
        InputError: for anything in the task, the models or the options that cannot be used.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import lensllm
    >>> models = ["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"]
    >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = lensllm.select("define", models, output_dir=folder, **few)
    ...     Path(folder, "report.html").is_file()
    True
    >>> found.best, found.target_size, list(found.ranking[0].measured)
    ('gpt2-0.2m-brown-0.3m', 6400, [0, 50])
    """
    config, given = Given.of(task, models, options)
    with shown_progress(progress) as told:
        return run_selection(config, [*callbacks, *told], given)


def run_selection(
    config: SelectConfig,
    callbacks: Sequence[Callback] = (),
    given: Given | None = None,
    command: str | None = None,
) -> Selection:
    """`select` with all its settings in one object.

    Args:
        config: the settings.
        callbacks: hear of every run and decision.
        given: objects in place of names.
        command: as it was typed, for the record.
    """
    given = given or Given()
    if config.executor == "processes":
        return _selection(config, callbacks, given, command)
    from lensllm.execution.ray.executor import Ray

    with Ray(config.ray_address, config.workers, config.gpus_per_run) as ray:
        if config.dtype == "auto":
            config = config.model_copy(update={"dtype": ray.dtype})
        return _selection(config, callbacks, given, command, ray)


def _selection(
    config: SelectConfig,
    callbacks: Sequence[Callback],
    given: Given,
    command: str | None = None,
    ray: Ray | None = None,
) -> Selection:
    from lensllm.tuning.device import device_told

    tracking, selector = _tracking(config), given.chosen_selector(config)
    task, found, chosen = read_candidates(config, given)
    tracking = replace(tracking, group=f"{task.name}-{tracking.group}") if tracking else None
    candidates = list(found.admitted)
    for one in found.refused:
        logger.warning("refused: %s", visible(one.reason))
    for note in task.notes:
        logger.warning("note: %s", visible(note))
    scoring, said = read_scoring(config, task, candidates, given)
    check_rank_by(config, scoring)
    asked_workers = given.executor.free_slots if given.executor else config.workers
    machine = ray.machine if ray else this_machine(asked_workers, config.gpus_per_run)
    plan = plan_selection(
        candidates, task, config.training_config(), _budget(config), config.sizes, asked_workers,
        gpus_per_run=config.gpus_per_run, folder=Path(config.output_dir), machine=machine, scoring=scoring,
    )  # fmt: skip
    if ray:
        ray.requires(needs_of(plan, ray.each))
        for line in ray.said:
            logger.warning("ray: %s", visible(line))
    for line in plan.lines:
        logger.warning("plan: %s", visible(line))
    if plan.none_fits:
        raise InputError(plan.none_fits)
    candidates = [one for one in candidates if one.name not in plan.beyond]
    found = replace(found, refused=(*found.refused, *(Refused(*one) for one in plan.beyond.items())))
    admit = Admission(config, task, scoring, machine, plan.workers)
    if ray:
        admit = replace(admit, planned=lambda made: ray.requires(needs_of(made, ray.each)))
    work = _work(candidates, task, config, scoring, plan.at_once, tracking, given, admit)
    spread = [SPREAD.format(config.gpus_per_run)] * (config.gpus_per_run > 1)
    work = replace(work, notes=(*chosen, *spread, *said, *work.notes))
    for note in work.notes:
        logger.warning("note: %s", visible(note))
    scores = asked_scores(scoring, config.keep_drop, config.rank_by, work.decided_by) if scoring else None
    folder, records = Path(config.output_dir), list[Record]()
    store = Store(folder)
    given.keep_texts(folder)
    beginning = _beginning(config, task, candidates, found.refused, plan, work, scores)
    beginning = replace(beginning, selector=given.selector_name(config), own_selector=given.selector is not None)
    open_executor = ray or given.executor
    try:
        with Journal(folder, beginning) as journal:
            with nullcontext(open_executor) if open_executor else _executor(config, plan.workers) as executor:
                for search in work.searches:
                    records += [record for _, record in drive(search, executor, store, [*callbacks, journal])]
            candidates += [one.candidate for one in work.added]
            selection = replace(_conclude(records, candidates, task, work, selector), refused=found.refused)
            if scores:
                left = [record for record in records if record.candidate not in work.taken_out]
                selection = selection.with_scores(left, scores)
            device = ray.device if ray else device_told()
            told = work.training_config
            origin = provenance_of(config, task, candidates, records, told, device, command, given.told)
            selection = replace(selection, provenance=origin, folder=folder)
            selection.save(folder)
            write_report(selection, folder / "report.html")
            journal.ended()
    finally:
        store.close()
    if tracking:
        track_decision(tracking, selection.sentence, {row.candidate: _numbers(row) for row in selection.ranking})
    return selection


def _tracking(config: SelectConfig) -> Tracking | None:
    """The trackers asked for; None for none.

    Raises:
        InputError: if one of them is not installed.
    """
    if not config.report_to:
        return None
    folder = Path(config.output_dir).absolute()
    tracking = Tracking(tuple(dict.fromkeys(config.report_to)), folder.name, str(folder))
    tracking.check_installed()
    return tracking


def _numbers(row: Ranked) -> dict[str, float]:
    """What a tracker hears of a row of the ranking."""
    low, high = row.interval
    return {"forecast": row.forecast, "low": low, "high": high, "p_best": row.p_best}


@dataclass(frozen=True)
class Work:
    """What is driven, one search after the other, and how.

    Attributes:
        searches: the last one says why no more was measured.
        training_config: of every run.
        notes: what was fitted to the data.
        decided_by: what decided which runs were made: "loss", a score, or nothing where the sizes were fixed.
    """

    searches: list[Search]
    training_config: TrainingConfig
    notes: tuple[str, ...] = ()
    decided_by: str = ""

    @property
    def stopped(self) -> str:
        """Why no more was measured."""
        return self.searches[-1].stopped

    @property
    def added(self) -> Sequence[Admitted]:
        """Candidates that a person added while it ran."""
        return self.searches[-1].added

    @property
    def taken_out(self) -> Collection[str]:
        """Candidates that a person took out while it ran."""
        return self.searches[-1].taken_out


def _work(
    candidates: list[Candidate],
    task: Task,
    config: SelectConfig,
    scoring: Scoring | None,
    at_once: Mapping[str, Attempt],
    tracking: Tracking | None,
    given: Given,
    admit: Admit,
) -> Work:
    """A ladder of the sizes asked for, or a search within a budget, which asks for its probes itself."""
    spending = [name for name in ("budget", "budget_flops", "budget_hours") if getattr(config, name) is not None]
    if config.sizes and spending:
        raise InputError(f"sizes and {spending[0]} exclude each other: give the sizes to measure, or what may be spent")
    training = config.training_config()
    if config.sizes:
        doublings(len(task.train))
        searches = _ladder(candidates, task, training, config.sizes, config.kernel, scoring, at_once, tracking)
        return Work(searches, training)
    budget = _budget(config)
    backward = min(candidate.method.backward for candidate in candidates)
    plan = plan_ladder(task, training, budget, backward, scoring.passes if scoring else 0.0)
    if plan.everything:
        searches = _ladder(
            candidates, task, plan.training_config, plan.rungs, config.kernel, scoring, at_once, tracking
        )
        searches[-1].stopped = f"every candidate was fine-tuned on all {len(task.train):,} examples"
        return Work(searches, plan.training_config, plan.notes)
    stops, folder = (config.stop_p_best, config.stop_regret), Path(config.output_dir)
    rank_by = searched_by(config.rank_by, scoring)
    search = BudgetSearch(
        candidates,
        task,
        plan,
        *stops,
        kernel=config.kernel,
        folder=folder,
        scoring=scoring,
        at_once=at_once,
        tracking=tracking,
        rank_by=rank_by,
        selector=given.selector or config.selector,
        admit=admit,
    )
    return Work([search], plan.training_config, plan.notes, rank_by.name if rank_by else "loss")


def _beginning(
    config: SelectConfig,
    task: Task,
    candidates: Sequence[Candidate],
    refused: Sequence[Refused],
    plan: Check,
    work: Work,
    scores: AskedScores | None,
) -> Beginning:
    """What the journal says of a selection before anything ran; candidates that could not be planned have no sizes."""
    entrants = {one.name: Entrant.of(one) for one in candidates}
    for made in plan.candidates:
        if (known := entrants.get(made.candidate)) is not None:
            entrants[made.candidate] = replace(known, parameters=made.parameters, memory=made.memory.peak)
    return Beginning(
        task=task.name,
        target_size=len(task.train),
        workers=plan.workers,
        entrants=tuple(entrants.values()),
        sizes=tuple(size for search in work.searches if isinstance(search, Ladder) for size in search.sizes),
        refused=tuple((one.name, one.reason) for one in refused),
        notes=(*task.notes, *work.notes),
        price_per_hour=config.price_per_hour,
        scores=scores,
    )


def _budget(config: SelectConfig) -> Budget:
    return Budget(config.budget, config.budget_flops, config.budget_hours)


def _ladder(
    candidates: list[Candidate],
    task: Task,
    training: TrainingConfig,
    sizes: Sequence[int],
    kernel: bool,
    scoring: Scoring | None,
    at_once: Mapping[str, Attempt],
    tracking: Tracking | None,
) -> list[Search]:
    """Probes if asked for, then the sizes."""
    first = [
        FineTune(candidate, task, training, 0, scoring=scoring, at_once=at_once.get(candidate.name), tracking=tracking)
        for candidate in candidates
    ]
    ladder = Ladder(first, sizes)
    probes = [Measure(candidate, task, training, probe_examples(task)) for candidate in candidates if kernel]
    return [Jobs(list(probes)), ladder] if kernel else [ladder]


def _executor(config: SelectConfig, workers: int) -> Executor:
    """A single worker is this process where it sees no GPU that it is not to use."""
    environments = shares(config.workers, config.gpus_per_run)
    if workers == 1 and len(shares(0, 1)) <= 1:
        return InProcess()
    return Processes(workers, environments=environments)


def _conclude(
    records: list[Record], candidates: list[Candidate], task: Task, work: Work, selector: Selector | None
) -> Selection:
    runs = [record for record in records if isinstance(record, Run)]
    first = {run.candidate: run for run in runs if run.examples == 0 and run.status == "done"}
    zero_shots = [first[candidate.name] for candidate in candidates if candidate.name in first]
    tuned = {run.candidate for run in runs if run.examples and run.status == "done"} - set(work.taken_out)
    trained = {run.candidate: run.trained_parameters for run in runs if run.examples and run.status == "done"}
    by_name = {candidate.name: candidate for candidate in candidates}
    if not tuned:
        failed = [run for run in runs if run.status != "done"]
        if not failed:
            raise NothingMeasured(f"nothing was fine-tuned: {work.stopped}", {})
        last, reasons = failed[-1], {run.candidate: run.error for run in failed}
        message = f"no candidate could be fine-tuned; {last.candidate} on {last.examples}: {last.error}"
        raise NothingMeasured(message, reasons)
    methods = {candidate.name: candidate.method for candidate in candidates}
    selection = Selection.from_records(
        records,
        [Entrant.of(candidate) for candidate in candidates if candidate.name in tuned],
        task=task.name,
        target_size=len(task.train),
        flops_everything=everything_flops(zero_shots, task, work.training_config, methods),
        selector=selector,
    )
    return replace(
        selection,
        stopped=work.stopped,
        costs={
            run.candidate: _cost(run, by_name[run.candidate], trained[run.candidate], task, work.training_config)
            for run in zero_shots
            if run.candidate in tuned
        },
        phases=phases(selection.curves),
        notes=(*_all_notes(task, work, zero_shots, selection.curves), *_unsure(selector, selection.forecast)),
    )


def _all_notes(task: Task, work: Work, zero_shots: list[Run], curves: Curves) -> tuple[str, ...]:
    """What is doubtful about data, plan, candidates and runs."""
    of_candidates = [note for run in zero_shots for note in _notes(run)]
    dropped = [f"you dropped {name} while it ran: it is not in the ranking" for name in sorted(work.taken_out)]
    added = [note for one in work.added for note in (f"you added {one.candidate.name} while it ran", *one.notes)]
    return (*task.notes, *work.notes, *added, *dropped, *of_candidates, *doubts(curves.sizes, work.training_config))


def _unsure(selector: Selector | None, forecast: Forecast) -> list[str]:
    """What is said of a selector that does not say how sure it is."""
    said = (
        f"{type(selector).__name__} gives no uncertainty: every candidate has one forecast and no interval, the first "
        "has P(best) of 100%, and a search within a budget ends after the first rungs"
    )
    return [said] * (selector is not None and forecast.draws == 1)


def _notes(zero_shot: Run) -> list[str]:
    """What a reader of a candidate's row has to know."""
    notes = []
    if zero_shot.lost:
        notes.append(
            f"{zero_shot.candidate}: its tokenizer loses {zero_shot.lost:.2%} of the bytes; "
            "each is charged at ln 256 nats"
        )
    if zero_shot.estimated:
        notes.append(f"{zero_shot.candidate}: its FLOPs are 2 a parameter and token: {zero_shot.estimated}")
    return notes


def _cost(zero_shot: Run, candidate: Candidate, trained: int, task: Task, training_config: TrainingConfig) -> Cost:
    """What training a candidate on all the data and serving it takes, from measuring it as it came."""
    training, none = (
        run_flops(zero_shot, n, task, training_config, first=False, method=candidate.method)
        for n in (len(task.train), 0)
    )
    parameters = zero_shot.parameters
    trained = trained or (parameters if candidate.method == Full() else 0)
    memory = weights_memory(candidate, parameters, trained, training_config) if trained else None
    written = completion_bytes(task, training_config)
    tokens = written * zero_shot.nats_per_byte / zero_shot.nats_per_token
    flops = zero_shot.test_flops
    return Cost(
        training - none,
        parameters,
        flops / tokens,
        flops / written,
        trained,
        memory.served_parameters if memory else parameters,
        memory.training if memory else None,
        memory.serving if memory else None,
    )
