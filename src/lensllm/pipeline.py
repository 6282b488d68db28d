"""The main job: which of these models should be fine-tuned on this task?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lensllm.candidates import Candidate, admit_candidates
from lensllm.config import SelectConfig
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.planning import Cost
from lensllm.planning.phases import phases
from lensllm.probes.record import Probe
from lensllm.report import write_report
from lensllm.search.cost import Budget, completion_bytes, everything_flops, probe_examples, run_flops
from lensllm.search.ladder import Ladder
from lensllm.search.live import Search
from lensllm.search.workers import ProbeJob, Setting, run_all, run_jobs, run_probes
from lensllm.selection import Selection, rank
from lensllm.selectors import default_selector, forecast_path
from lensllm.tasks import Task, read_task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

Progress = Callable[[Run, int, int], None]
"""Called after every run with the run, the number of runs done and the number known of."""


def select(
    task: str | Path, models: Sequence[str], *, progress: Progress | None = None, **options: object
) -> Selection:
    """Find the model to fine-tune.

    Every candidate is measured as it came, then fine-tuned on nested subsets of 50, 100, 200, ... examples. After a
    cheap start the next run is always the one that tells most about who is best, a FLOP, until the choice is sure or
    the budget ends; then the losses on all the data are forecast. Runs are kept in `output_dir`, so that the same call
    goes on where an interrupted one stopped; `selection.json`, `decisions.json`, `curves.csv` and `report.html` are
    written there.

    Args:
        task: a shipped task's name, a file of examples or a folder of splits (`lensllm.tasks.read_task`).
        models: local folders, zoo names or hub ids.
        progress: called after every run.
        options: the other fields of `SelectConfig`.

    Raises:
        InputError: for anything in the task, the models or the options that cannot be used.
    """
    return run_selection(SelectConfig.of(task=str(task), models=list(models), **options), progress)


def run_selection(config: SelectConfig, progress: Progress | None = None) -> Selection:
    """`select` with all its settings in one object."""
    task = read_task(
        config.task, eval_file=config.eval_file or None, eval_fraction=config.eval_fraction, seed=config.subset_seed
    )
    found = admit_candidates(config.models)
    candidates = list(found.admitted)
    setting = Setting(task, config.training_config(), Path(config.output_dir))
    workers = min(config.workers or _default_workers(), len(candidates))
    search = _search(candidates, setting, config, workers)
    made: list[Run | Probe] = []
    for one in _made(search, setting, workers, config.kernel):
        made.append(one)
        if progress and isinstance(one, Run):
            progress(one, sum(isinstance(other, Run) for other in made), search.expected)
    selection = replace(_conclude(made, search, setting), refused=found.refused)
    selection.save(setting.folder)
    write_report(selection, setting.folder / "report.html")
    return selection


def _search(candidates: list[Candidate], setting: Setting, config: SelectConfig, workers: int) -> Ladder | Search:
    given = [name for name in ("budget", "budget_flops", "budget_hours") if getattr(config, name) is not None]
    if config.sizes and given:
        raise InputError(f"sizes and {given[0]} exclude each other: give the sizes to measure, or what may be spent")
    if config.sizes:
        return Ladder(candidates, setting.task, config.sizes)
    budget = Budget(config.budget, config.budget_flops, config.budget_hours)
    return Search(candidates, setting, budget, config.stop_p_best, config.stop_regret, workers, config.kernel)


def _made(search: Ladder | Search, setting: Setting, workers: int, kernel: bool) -> Iterator[Run | Probe]:
    """Every run and probe as it ends; a search asks for its probes itself."""
    if isinstance(search, Search):
        yield from (one for _, one in run_all(search.start(), setting, workers, search.after))
        return
    if kernel:
        probes = [ProbeJob(candidate, probe_examples(setting.task)) for candidate in search.candidates]
        yield from (probe for _, probe in run_probes(probes, setting, workers))
    yield from (run for _, run in run_jobs(search.start(), setting, workers, search.after))


def _default_workers() -> int:
    import torch

    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def _conclude(made: list[Run | Probe], search: Ladder | Search, setting: Setting) -> Selection:
    task, candidates = setting.task, search.candidates
    runs = [one for one in made if isinstance(one, Run)]
    zero_shots = [run for run in runs if run.examples == 0 and run.status == "done"]
    tuned = {run.candidate for run in runs if run.examples and run.status == "done"}
    if not tuned:
        failed = [run for run in runs if run.status != "done"][-1]
        raise InputError(f"no candidate could be fine-tuned; {failed.candidate} on {failed.examples}: {failed.error}")
    names = [c.name for c in candidates if c.name in tuned]
    table = pd.DataFrame(
        [(r.candidate, r.examples, r.nats_per_byte) for r in runs if r.candidate in tuned],
        columns=["candidate", "examples", "loss"],
    )
    features = pd.DataFrame(
        {
            "size": [next(r.parameters for r in zero_shots if r.candidate == name) for name in names],
            "family": [next(c.config.get("model_type", "") for c in candidates if c.name == name) for name in names],
        },
        index=names,
    )
    probed = {one.candidate: one.features() for one in made if isinstance(one, Probe) and one.status == "done"}
    curves = Curves.from_tidy(table, features.join(pd.DataFrame.from_dict(probed, orient="index"))).of(names)
    target = len(task.train)
    path = forecast_path(default_selector(bool(probed)), curves, target)
    ranking, forecast = rank(curves, path[-1], made)
    return Selection(
        task=task.name,
        target_size=target,
        ranking=ranking,
        curves=curves,
        forecast=forecast,
        path=path,
        flops=sum(one.flops for one in made),
        flops_everything=everything_flops(zero_shots, task, setting.training_config),
        seconds=sum(one.seconds for one in made),
        stopped=search.stopped,
        failures=tuple(one for one in made if one.status != "done"),
        notes=tuple(note for run in zero_shots for note in _notes(run)),
        costs={
            run.candidate: _cost(run, task, setting.training_config) for run in zero_shots if run.candidate in tuned
        },
        phases=phases(curves),
    )


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


def _cost(zero_shot: Run, task: Task, training_config: TrainingConfig) -> Cost:
    """What training a candidate on all the data and serving it takes, from measuring it as it came."""
    training, none = (run_flops(zero_shot, n, task, training_config, first=False) for n in (len(task.train), 0))
    written = completion_bytes(task, training_config)
    tokens = written * zero_shot.nats_per_byte / zero_shot.nats_per_token
    flops = zero_shot.test_flops
    return Cost(training - none, zero_shot.parameters, flops / tokens, flops / written)
