"""The main job: which of these models should be fine-tuned on this task?"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lensllm.candidates import Candidate, Full, Method, Refused, cross
from lensllm.config import SelectConfig
from lensllm.curves import Curves, features
from lensllm.errors import InputError, NothingMeasured
from lensllm.execution import Executor, InProcess, Processes
from lensllm.inputs import read_inputs, settings_of
from lensllm.objectives import Loss
from lensllm.planning import Cost, plan_sizes
from lensllm.planning.phases import phases
from lensllm.probes.measure_job import Measure
from lensllm.records import Record
from lensllm.report import write_report
from lensllm.search.base import Jobs, Search
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.callbacks import Callback
from lensllm.search.cost import Budget, completion_bytes, everything_flops, probe_examples, run_flops
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder, doublings
from lensllm.search.ladder_plan import plan_ladder
from lensllm.selection import Selection, doubts, rank
from lensllm.selectors import default_selector, forecast_path
from lensllm.store import Store
from lensllm.tasks import Task
from lensllm.text import visible
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

logger = logging.getLogger(__name__)

KERNEL_OF_ALL = "the kernel is that of all weights of a model, also where only adapters beside them are tuned"


def select(task: Any, models: Sequence[str], *, callbacks: Sequence[Callback] = (), **options: object) -> Selection:
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
        models: local folders, zoo names or hub ids.
        callbacks: hear of every run and decision.
        options: the other fields of `SelectConfig`.

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
    config, data = settings_of(SelectConfig, task, {"models": list(models), **options})
    return run_selection(config, callbacks, data)


def run_selection(config: SelectConfig, callbacks: Sequence[Callback] = (), data: Any = None) -> Selection:
    """`select` with all its settings in one object; `data` are examples in place of `config.task`."""
    task, found = read_inputs(config, config.models, data)
    crossed = cross(found.admitted, config.tuning_methods(), config.lora())
    candidates = list(crossed.candidates)
    found = replace(found, refused=(*found.refused, *(Refused(*one) for one in crossed.refused.items())))
    for one in found.refused:
        logger.warning("refused: %s", visible(one.reason))
    for note in task.notes:
        logger.warning("note: %s", visible(note))
    work = _work(candidates, task, config)
    kernels = [KERNEL_OF_ALL] * (config.kernel and any(one.method != Full() for one in candidates))
    work = replace(work, notes=(*crossed.notes, *kernels, *work.notes))
    for note in work.notes:
        logger.warning("note: %s", visible(note))
    folder, records = Path(config.output_dir), list[Record]()
    store = Store(folder)
    try:
        with _executor(config, len(candidates)) as executor:
            for search in work.searches:
                records += [record for _, record in drive(search, executor, store, callbacks)]
    finally:
        store.close()
    selection = replace(_conclude(records, candidates, task, work), refused=found.refused)
    selection.save(folder)
    write_report(selection, folder / "report.html")
    return selection


@dataclass(frozen=True)
class Work:
    """What is driven, one search after the other, and how.

    Attributes:
        searches: the last one says why no more was measured.
        training_config: of every run.
        notes: what was fitted to the data.
    """

    searches: list[Search]
    training_config: TrainingConfig
    notes: tuple[str, ...] = ()

    @property
    def stopped(self) -> str:
        """Why no more was measured."""
        return self.searches[-1].stopped


def _work(candidates: list[Candidate], task: Task, config: SelectConfig) -> Work:
    """A ladder of the sizes asked for, or a search within a budget, which asks for its probes itself."""
    given = [name for name in ("budget", "budget_flops", "budget_hours") if getattr(config, name) is not None]
    if config.sizes and given:
        raise InputError(f"sizes and {given[0]} exclude each other: give the sizes to measure, or what may be spent")
    training = config.training_config()
    if config.sizes:
        doublings(len(task.train))
        return Work(_ladder(candidates, task, training, config.sizes, config.kernel), training)
    budget = Budget(config.budget, config.budget_flops, config.budget_hours)
    plan = plan_ladder(task, training, budget, min(candidate.method.backward for candidate in candidates))
    if plan.everything:
        searches = _ladder(candidates, task, plan.training_config, plan.rungs, config.kernel)
        searches[-1].stopped = f"every candidate was fine-tuned on all {len(task.train):,} examples"
        return Work(searches, plan.training_config, plan.notes)
    stops, folder = (config.stop_p_best, config.stop_regret), Path(config.output_dir)
    search = BudgetSearch(candidates, task, plan, *stops, kernel=config.kernel, folder=folder)
    return Work([search], plan.training_config, plan.notes)


def _ladder(
    candidates: list[Candidate], task: Task, training: TrainingConfig, sizes: Sequence[int], kernel: bool
) -> list[Search]:
    """Probes if asked for, then the sizes."""
    ladder = Ladder([FineTune(candidate, task, training, 0) for candidate in candidates], sizes)
    probes = [Measure(candidate, task, training, probe_examples(task)) for candidate in candidates if kernel]
    return [Jobs(list(probes)), ladder] if kernel else [ladder]


def _executor(config: SelectConfig, candidates: int) -> Executor:
    """One worker is this process; by default as many as there are cores, or one with a GPU."""
    import torch

    default = 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    workers = min(config.workers or default, candidates)
    return InProcess() if workers == 1 else Processes(workers)


def _conclude(records: list[Record], candidates: list[Candidate], task: Task, work: Work) -> Selection:
    runs = [record for record in records if isinstance(record, Run)]
    first = {run.candidate: run for run in runs if run.examples == 0 and run.status == "done"}
    zero_shots = [first[candidate.name] for candidate in candidates if candidate.name in first]
    tuned = {run.candidate for run in runs if run.examples and run.status == "done"}
    if not tuned:
        failed = [run for run in runs if run.status != "done"]
        last, reasons = failed[-1], {run.candidate: run.error for run in failed}
        message = f"no candidate could be fine-tuned; {last.candidate} on {last.examples}: {last.error}"
        raise NothingMeasured(message, reasons)
    curves = _curves([candidate for candidate in candidates if candidate.name in tuned], records)
    methods = {candidate.name: candidate.method for candidate in candidates}
    target = len(task.train)
    path = forecast_path(default_selector(curves), curves, target, plan_sizes(curves, target))
    ranking, forecast = rank(curves, path, records)
    return Selection(
        task=task.name,
        target_size=target,
        ranking=ranking,
        curves=curves,
        forecast=forecast,
        flops=math.fsum(record.flops for record in records),
        flops_everything=everything_flops(zero_shots, task, work.training_config, methods),
        seconds=math.fsum(record.seconds for record in records),
        stopped=work.stopped,
        failures=tuple(record for record in records if record.status != "done"),
        costs={
            run.candidate: _cost(run, task, work.training_config, methods[run.candidate])
            for run in zero_shots
            if run.candidate in tuned
        },
        phases=phases(curves),
        notes=_all_notes(task, work, zero_shots, curves),
    )


def _all_notes(task: Task, work: Work, zero_shots: list[Run], curves: Curves) -> tuple[str, ...]:
    """What is doubtful about data, plan, candidates and runs."""
    of_candidates = [note for run in zero_shots for note in _notes(run)]
    return (*task.notes, *work.notes, *of_candidates, *doubts(curves.sizes, work.training_config))


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


def _curves(candidates: list[Candidate], records: list[Record]) -> Curves:
    """What was measured, with size, family and probes of each candidate as features."""
    names = [candidate.name for candidate in candidates]
    table = features(names, records)
    table["size"] = table["size"].astype(int)
    table.insert(1, "family", [candidate.config.get("model_type", "") for candidate in candidates])
    if any(candidate.method != Full() for candidate in candidates):
        table["model"] = [candidate.model_name for candidate in candidates]
        table["method"] = [candidate.method.name for candidate in candidates]
    return Curves.from_records(records, Loss(), names).with_features(table)


def _cost(zero_shot: Run, task: Task, training_config: TrainingConfig, method: Method) -> Cost:
    """What training a candidate on all the data and serving it takes, from measuring it as it came."""
    training, none = (
        run_flops(zero_shot, n, task, training_config, first=False, method=method) for n in (len(task.train), 0)
    )
    written = completion_bytes(task, training_config)
    tokens = written * zero_shot.nats_per_byte / zero_shot.nats_per_token
    flops = zero_shot.test_flops
    return Cost(training - none, zero_shot.parameters, flops / tokens, flops / written)
