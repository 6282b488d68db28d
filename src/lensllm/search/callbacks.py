"""Who watches a search: progress bars, pages and trackers."""

from __future__ import annotations

from dataclasses import dataclass

from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.policy import Decision


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        done: jobs that ended.
        expected: jobs known of so far, those included.
    """

    done: int
    expected: int


class Callback:
    """Called by the driver, in its own thread; every method may be left as it is (names as in transformers).

    >>> import tempfile
    >>> import lensllm
    >>> class Teller(Callback):
    ...     def on_run_end(self, job, record, progress):
    ...         print(record.candidate, "on", record.examples, record.status, progress.done, "of", progress.expected)
    >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = lensllm.select("define", ["gpt2-0.2m-random"], callbacks=[Teller()], output_dir=folder, **few)
    gpt2-0.2m-random on 0 done 1 of 2
    gpt2-0.2m-random on 50 done 2 of 2
    """

    def on_run_begin(self, job: Job, progress: Progress) -> None:
        """A job was given to the executor."""

    def on_run_end(self, job: Job, record: Record, progress: Progress) -> None:
        """A job ended, or its record was found in the store."""

    def on_decision(self, decision: Decision) -> None:
        """The search decided."""

    def on_end(self, progress: Progress) -> None:
        """Nothing is left to do."""
