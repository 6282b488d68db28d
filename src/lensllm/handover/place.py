"""Where a training runs: this process, one that sees fewer GPUs, or a node of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lensllm.errors import InputError
from lensllm.execution import Executor, InProcess, Processes
from lensllm.execution.devices import shares
from lensllm.handover.jobs import Train
from lensllm.planning.selection_plan import needs_of, plan_selection
from lensllm.search.cost import Budget
from lensllm.text import visible

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """An executor, and the training as it runs there.

    Attributes:
        executor: with one slot.
        job: the training.
        device: that it is trained on, in words.
    """

    executor: Executor
    job: Train
    device: str


@contextmanager
def here(job: Train, gpus_per_run: int) -> Iterator[Place]:
    """This process, or where it sees more GPUs than the run is to have, one that does not.

    Raises:
        InputError: if the run is to have more GPUs than there are.
    """
    from lensllm.tuning.device import device_told

    environments = shares(1, gpus_per_run)
    one = not environments or not environments[0] or _gpus() <= gpus_per_run
    with InProcess() if one else Processes(1, environments=environments) as executor:
        yield Place(executor, job, device_told())


@contextmanager
def on_ray(job: Train, gpus_per_run: int, address: str, records: Path) -> Iterator[Place]:
    """A node of a Ray cluster with room for it: planned, placed and begun as a run of the ladder, with all its cores.

    Args:
        job: the training.
        gpus_per_run: that it is spread over.
        address: of the cluster.
        records: folder of the selection, whose runs tell the speed.

    Raises:
        InputError: if there is no such cluster, or the largest node has too little memory.
    """
    from lensllm.execution.ray.executor import Ray

    with Ray(address, 1, gpus_per_run) as ray:
        plan = plan_selection(
            [job.candidate], job.task, job.training_config, Budget(), [job.examples], 1,
            gpus_per_run=gpus_per_run, folder=records, machine=ray.machine, scoring=job.scoring,
        )  # fmt: skip
        ray.requires(needs_of(plan, ray.each))
        for line in [*ray.said, *(why for _, why in plan.refused)]:
            logger.warning("ray: %s", visible(line))
        if plan.none_fits:
            raise InputError(plan.none_fits)
        at_once = plan.at_once.get(job.candidate.name)
        yield Place(ray, replace(job, at_once=at_once, progress=False, watched=job.progress), ray.device)


def _gpus() -> int:
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0
