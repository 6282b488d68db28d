"""What a selection needs, from its candidates' plans: memory for all workers, disk, hours at its budget."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lensllm.candidates import Candidate
from lensllm.candidates.configuration import first_line
from lensllm.errors import InputError
from lensllm.execution import default_workers
from lensllm.execution.machine import Machine
from lensllm.planning.candidate_plan import CandidatePlan, plan_candidate
from lensllm.planning.check import Check
from lensllm.records import Record
from lensllm.scores.scoring import Scoring
from lensllm.search.cost import SECONDS_AN_HOUR, Budget, everything_flops, run_costs
from lensllm.search.ladder_plan import plan_ladder
from lensllm.store import FILE_NAME, Store
from lensllm.tasks import Task
from lensllm.tuning.memory_plan import DOUBT
from lensllm.tuning.quiet import quiet
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

if TYPE_CHECKING:
    from lensllm.execution.ray.nodes import Needs
    from lensllm.tuning.device_memory import DeviceMemory


def plan_selection(
    candidates: Sequence[Candidate],
    task: Task,
    training_config: TrainingConfig,
    budget: Budget,
    sizes: Sequence[int] = (),
    workers: int = 0,
    *,
    gpus_per_run: int = 1,
    folder: Path,
    both: bool = False,
    machine: Machine | None = None,
    scoring: Scoring | None = None,
) -> Check:
    """The plan of a selection among candidates that were checked against the task.

    One that cannot be planned is among the refused, with the reason.

    Args:
        candidates: models x methods.
        task: fitted to all of them.
        training_config: as asked for.
        budget: what may be spent.
        sizes: to be measured in place of a search within the budget.
        workers: processes at once; 0 for the default, or for one where not all candidates fit so.
        gpus_per_run: over which a model is spread.
        folder: of an earlier selection, if any, whose runs tell the speed.
        both: whether activations with gradient checkpointing are told where it is not needed, too.
        machine: what runs are planned for; this one if None.
        scoring: what is scored after each run.

    Raises:
        InputError: if the task is too small for a selection, or the budget for the task.
    """
    spending = Spending(candidates, task, training_config, budget, sizes, scoring)
    machine = machine or this_machine(workers, gpus_per_run)
    device = machine.device
    at_once = [min(workers or machine.slots, len(candidates))]
    at_once += [machine.nodes] * (not workers and at_once[0] > machine.nodes)
    records = _records(folder, task)
    plans: tuple[CandidatePlan, ...] = ()
    odd: dict[str, str] = {}
    while at_once and not (plans and all(plan.memory.fits for plan in plans)):
        workers = at_once.pop(0)
        each = room(device, math.ceil(workers / machine.nodes), gpus_per_run)
        plans, odd = (), {}
        for one in candidates:
            try:
                with quiet():
                    plans += (
                        machine.call(
                            plan_candidate, one, task,
                            training_config=training_config, device=device, room=each, records=records, both=both,
                            scoring=scoring,
                        ),
                    )  # fmt: skip
            except Exception as error:
                odd[one.name] = f"{one.name} cannot be planned: {first_line(error)}"
    return Check(
        task=task.name,
        target_size=len(task.train),
        device=device.kind,
        dtype=training_config.dtype,
        free_bytes=device.free,
        process_bytes=device.process,
        disk_free_bytes=disk_free(),
        workers=workers,
        candidates=plans,
        select_hours=spending.hours(plans) / workers,
        everything_hours=sum(plan.hours for plan in plans) / workers,
        refused=tuple(odd.items()),
        notes=spending.notes,
    )


def this_machine(workers: int = 0, gpus_per_run: int = 1) -> Machine:
    """What runs are planned for where they run here.

    Args:
        workers: processes at once; 0 for the default.
        gpus_per_run: over which a model is spread.
    """
    from lensllm.tuning.device_memory import device_memory

    return Machine(device_memory(), workers or default_workers(gpus_per_run))


def needs_of(plan: Check, each: Needs) -> dict[str, Needs]:
    """What the jobs of each candidate need of a node.

    On a CPU it is `DOUBT` times the planned tensors, and what a process has beside them. On a GPU it is that many bytes
    there and, as a model is read in the node's own memory first, its weights here.

    Args:
        plan: of the candidates.
        each: cores and GPUs of every job.
    """
    found = {}
    for one in plan.candidates:
        peak = round(DOUBT * one.memory.peak)
        if each.gpus:
            found[one.candidate] = replace(each, memory=one.memory.weights, gpu_memory=peak // each.gpus)
        else:
            found[one.candidate] = replace(each, memory=peak + plan.process_bytes)
    return found


def room(device: DeviceMemory, workers: int, gpus_per_run: int) -> float:
    """Bytes for the tensors of one worker: workers share the machine's memory, and have GPUs of their own."""
    if device.kind != "cpu":
        return device.free * gpus_per_run
    return (device.free - (workers - 1) * device.process) / workers


class Spending:
    """What a selection will spend.

    Args:
        candidates: models x methods.
        task: of all runs.
        training_config: as asked for.
        budget: what may be spent.
        sizes: to be measured in place of a search within the budget.
        scoring: what is scored after each run.

    Attributes:
        notes: how it was fitted to the data.

    Raises:
        InputError: if the task is too small for a selection, or the budget for the task.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        task: Task,
        training_config: TrainingConfig,
        budget: Budget,
        sizes: Sequence[int],
        scoring: Scoring | None = None,
    ) -> None:
        self._task, self._training, self._budget = task, training_config, budget
        self._methods = {one.name: one.method for one in candidates}
        self._rungs, self.notes = sorted(sizes), tuple[str, ...]()
        if not sizes:
            backward = min(one.method.backward for one in candidates)
            plan = plan_ladder(task, training_config, budget, backward, scoring.passes if scoring else 0.0)
            self._training, self._budget, self.notes = plan.training_config, plan.budget, plan.notes
            self._rungs = plan.rungs if plan.everything else []

    def hours(self, plans: Sequence[CandidatePlan]) -> float:
        """Of computing, summed over workers."""
        if not plans:
            return 0.0
        zero_shots = [plan.as_it_came for plan in plans]
        if self._rungs:
            costs = run_costs(zero_shots, self._rungs, self._task, self._training, self._methods)
            rows = [[one.test_flops + one.scoring_flops, *row] for one, row in zip(zero_shots, costs, strict=True)]
            times = (map(plan.seconds, row) for plan, row in zip(plans, rows, strict=True))
            return sum(map(sum, times)) / SECONDS_AN_HOUR
        if self._budget.in_seconds:
            return self._budget.amount(0.0) / SECONDS_AN_HOUR
        everything = everything_flops(zero_shots, self._task, self._training, self._methods)
        return self._budget.amount(everything) / everything * sum(plan.hours for plan in plans)


def _records(folder: Path, task: Task) -> list[Record]:
    """Runs of the same task in the folder of an earlier selection."""
    if not (folder / FILE_NAME).is_file():
        return []
    with suppress(InputError):
        return [run for name, run in Store(folder, readonly=True).records(Run) if name == task.name]
    return []


def disk_free() -> int:
    """Bytes free where the hub's files are kept."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    while not place.is_dir():
        place = place.parent
    return shutil.disk_usage(place).free
