"""Which models this machine can fine-tune, from a step gone through without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensllm.candidates import Candidate, Method, cross
from lensllm.candidates.configuration import first_line
from lensllm.config import methods_of
from lensllm.errors import InputError
from lensllm.planning.candidate_plan import CandidatePlan, plan_candidate
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.dropped import REFUSED, Dropped
from lensllm.shortlist.listing import Watch
from lensllm.shortlist.looked import Looked
from lensllm.tasks import Task
from lensllm.text import gibibytes
from lensllm.tuning.quiet import quiet

if TYPE_CHECKING:
    from lensllm.tuning.device_memory import DeviceMemory


@dataclass(frozen=True)
class Fitting:
    """A model that fits the machine.

    Attributes:
        looked: what is known of it.
        candidate: with the first way to tune it that fits.
        plan: memory, download, hours.
    """

    looked: Looked
    candidate: Candidate
    plan: CandidatePlan

    @property
    def name(self) -> str:
        """As the hub lists it."""
        return self.looked.name


def fitting(
    models: Sequence[Looked], task: Task, config: FindConfig, device: DeviceMemory, watch: Watch
) -> tuple[list[Fitting], list[Dropped]]:
    """Plan each model's memory as `check` does; it fits if one of the ways to tune it does.

    Args:
        models: whose headers were read.
        task: fitted to all of them.
        config: ways to tune, and how runs are measured.
        device: of the runs.
        watch: hears of each.
    """
    left, dropped = [], []
    for i, one in enumerate(models):
        watch(f"memory of {one.name}", i, len(models))
        try:
            found = _planned(one, task, config, device)
        except Exception as error:
            dropped.append(Dropped(one.name, REFUSED, f"it cannot be planned: {first_line(error)}"))
            continue
        if found.plan.memory.fits:
            left.append(found)
        else:
            needs, free = gibibytes(found.plan.memory.peak), gibibytes(device.free)
            told = f"it needs about {needs} with the least at once ({found.plan.method}), and {free} are free"
            dropped.append(Dropped(one.name, "does not fit this machine", told))
    return left, dropped


def _planned(one: Looked, task: Task, config: FindConfig, device: DeviceMemory) -> Fitting:
    """By the first method that fits, or the one that needs least."""
    selection = config.selection()
    known = methods_of(selection.lora())
    methods: list[Method | None] = [known[name] for name in config.methods]
    made: list[Fitting] = []
    reasons: list[str] = []
    training = config.training_config()
    with quiet():
        for method in methods or [None]:
            try:
                [candidate] = cross([(one.candidate, method)], selection.lora()).candidates
                made.append(Fitting(one, candidate, plan_candidate(candidate, task, training, device, device.free)))
            except InputError as error:
                reasons.append(str(error))
                continue
            if made[-1].plan.memory.fits:
                return made[-1]
    if not made:
        raise InputError("; ".join(reasons))
    return min(made, key=lambda fit: fit.plan.memory.peak)
