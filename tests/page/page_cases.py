"""Folders of selections whose runs are made up, and their page served from a thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lensllm.candidates import find_candidate
from lensllm.execution import Executor
from lensllm.page.serve import serve
from lensllm.scores.record import Sample, ScoreValue
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.cost import Budget
from lensllm.search.driver import drive
from lensllm.search.journal import Beginning, Entrant, Journal
from lensllm.search.ladder import doublings
from lensllm.search.ladder_plan import LadderPlan
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

HOSTILE = "<img src=x onerror=hacked=1>"
SCRIPT = "<script>hacked=1</script>"
NAMES = ("plain-1b", HOSTILE, "fails-2b", "other-3b")
SHIPPED = ("gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m", "llama-0.2m-austen-1.5m", "t5-0.2m-glosses-1.5m")


class MadeUpRuns(Executor):
    """One slot; the process dies with the job of number `most`."""

    def __init__(self, most: int) -> None:
        self._job, self._most = None, most

    @property
    def free_slots(self) -> int:
        return 1 if self._job is None else 0

    def submit(self, job) -> None:
        self._job = job

    def wait(self, timeout=None):
        if self._most == 0:
            raise KeyboardInterrupt
        self._most -= 1
        job, self._job = self._job, None
        return job, _run(job.candidate.name, job.examples)

    def close(self) -> None:
        self._job = None


def _run(name: str, examples: int) -> Run:
    k = NAMES.index(name)
    if name == "fails-2b" and examples == 100:
        return Run(name, examples, "failed", error=f"OutOfMemoryError: {SCRIPT}")
    loss = 1.0 + 0.01 * k + (2.0 + 0.2 * k) / (3 + examples ** (0.3 + 0.02 * k))
    flops = 1e9 if examples == 0 else 3e7 * examples
    told = f"{SCRIPT} after {examples}"
    spent = {"flops": flops, "seconds": flops / 1e9, "training_flops": flops / 2, "training_seconds": flops / 2e9}
    return Run(
        name, examples, "done", loss, loss, learning_rate=1e-3, validation=loss, test_flops=1e9, parameters=10**9,
        tokens=90 * examples, scores={"rouge_l": ScoreValue(0.5, 0.1, 20)},
        samples=[Sample(f"{SCRIPT} asked", told, "wanted")], **spent,
    )  # fmt: skip


def beginning(sizes: tuple[int, ...] = ()) -> Beginning:
    entrants = tuple(Entrant(name, name, "gpt2", "full", 10**9, 3 << 30) for name in NAMES)
    refused = (("refused-7b", f"refused-7b: {SCRIPT} its weights are pickled"),)
    return Beginning("define", 6400, 1, entrants, sizes, refused, (f"a note of {SCRIPT}",), price_per_hour=3.0)


@contextmanager
def running(folder: Path, jobs: int = 10) -> Iterator[Journal]:
    """A selection that made so many jobs and is at the next one."""
    task = read_task("define")
    candidates = [replace(find_candidate(model), name=name) for model, name in zip(SHIPPED, NAMES, strict=True)]
    plan = LadderPlan(doublings(len(task.train)), TrainingConfig(), Budget(part=0.2))
    store = Store(folder)
    search = BudgetSearch(candidates, task, plan, 0.99, 0.0, kernel=False, folder=folder)
    with Journal(folder, beginning()) as journal:
        with suppress(KeyboardInterrupt):
            drive(search, MadeUpRuns(jobs), store, [journal])
        store.close()
        yield journal


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder's page."""
    said: queue.Queue[str] = queue.Queue()
    end = threading.Event()

    async def until() -> None:
        await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=serve, args=(folder, said.put), kwargs={"until": until}, daemon=True)
    thread.start()
    try:
        yield said.get(timeout=60)
    finally:
        end.set()
        thread.join(20)
