"""Download and measure, the cheapest first: the search that the driver carries through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lensllm.candidates import Candidate, find_candidate
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.base import Search
from lensllm.shortlist.dropped import UNMEASURED, Dropped
from lensllm.shortlist.fitting import Fitting
from lensllm.shortlist.listing import Watch
from lensllm.shortlist.looked import not_looked_at
from lensllm.shortlist.patience import Patience
from lensllm.tasks import Task
from lensllm.text import gibibytes
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

ROOM = 0.9
"""Part of the free disk that downloads may take: other programs write, too."""


class Measuring(Search):
    """The jobs of `select` on 0 examples; each model is downloaded when its job is asked for, and not before.

    Args:
        models: that fit.
        task: fitted to all of them.
        training_config: says how many test examples are measured.
        patience: asks the hub.
        watch: hears of downloads.

    Attributes:
        runs: model -> what was measured.
        dropped: models that could not be had or measured.
    """

    def __init__(
        self,
        models: Sequence[Fitting],
        task: Task,
        training_config: TrainingConfig,
        patience: Patience,
        watch: Watch,
    ) -> None:
        self.expected = len(models)
        self.runs: dict[str, Run] = {}
        self.dropped: list[Dropped] = []
        self._waiting = sorted(models, key=lambda one: one.plan.forward_flops)
        self._task, self._training = task, training_config
        self._patience, self._watch = patience, watch

    def ask(self, count: int) -> list[Job]:
        """The job of the next model that can be downloaded."""
        while self._waiting:
            one = self._waiting.pop(0)
            try:
                had = self._fetched(one)
            except Exception as error:
                self.dropped.append(not_looked_at(one.name, error))
                self.expected -= 1
                continue
            candidate = replace(had, method=one.candidate.method)
            return [FineTune(candidate, self._task, self._training, 0)]
        return []

    def _fetched(self, one: Fitting) -> Candidate:
        model = one.candidate.model_name_or_path
        if not one.plan.download_bytes:
            return find_candidate(model)
        self._watch(f"downloading {one.name}: {gibibytes(one.plan.download_bytes)}", 0, 0)
        return self._patience.ask(lambda: find_candidate(model))

    def tell(self, job: Job, record: Record) -> None:
        """Keep the loss, or why there is none."""
        assert isinstance(record, Run)
        if record.status == "done":
            self.runs[record.candidate] = record
        else:
            told = f"its loss could not be measured: {record.error}"
            self.dropped.append(Dropped(record.candidate, UNMEASURED, told))


def within(models: Sequence[Fitting], order: Sequence[str], most_bytes: float) -> tuple[list[Fitting], list[Dropped]]:
    """Those whose downloads there is room for, and the others.

    Args:
        models: that fit the device.
        order: who comes first: a mix, so that what there is room for is one, too.
        most_bytes: to be downloaded altogether.
    """
    by_name = {one.name: one for one in models}
    left, dropped, spent = [], [], 0
    for name in order:
        one = by_name[name]
        if spent + one.plan.download_bytes <= most_bytes:
            left.append(one)
            spent += one.plan.download_bytes
        else:
            needs, rest = gibibytes(one.plan.download_bytes), gibibytes(max(most_bytes - spent, 0))
            told = f"its download is {needs}, and {rest} of what may be downloaded were left"
            dropped.append(Dropped(name, "no room for its download", told))
    return left, dropped
