"""What a worker keeps between jobs."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from lensllm.candidates import Candidate
from lensllm.tasks import Task
from lensllm.tuning.training_config import TrainingConfig

if TYPE_CHECKING:
    from lensllm.tuning.encoded_task import EncodedTask

KEPT = 2
"""A worker mostly goes on with the candidate it had, or comes back to the one before; every encoded task is as large
as its data."""


class Context:
    """The encoded tasks used last.

    Args:
        kept: how many; the least recently used is dropped.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._encoded: OrderedDict[tuple[str, str, str, TrainingConfig], EncodedTask] = OrderedDict()

    def encoded(self, candidate: Candidate, task: Task, training_config: TrainingConfig) -> EncodedTask:
        """The task as the candidate reads it, made anew if it was not used lately."""
        from lensllm.tuning.encoded_task import EncodedTask

        key = (candidate.name, candidate.fingerprint, task.fingerprint, training_config)
        if key not in self._encoded:
            self._encoded[key] = EncodedTask(candidate, task, training_config)
        self._encoded.move_to_end(key)
        while len(self._encoded) > self._kept:
            self._encoded.popitem(last=False)
        return self._encoded[key]
