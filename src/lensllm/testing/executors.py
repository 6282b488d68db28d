"""What every executor has to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lensllm.execution import Executor
from lensllm.jobs import UNKNOWN, Estimate, Job, Lost
from lensllm.records import Record
from lensllm.tuning.run import Run

GONE_WITHIN = 2.0
"""Seconds within which nothing is left of an executor whose program is gone."""


@dataclass(frozen=True)
class ToyJob(Job):
    """A job that needs no model.

    Attributes:
        name: of its record's candidate.
        action: "count" sums 1 to `number`; "raise", "exit" and "kill" end it in these ways; "sleep" takes `number`
            seconds; "kill once" kills its worker unless the file `mark` exists, which it makes first.
        number: see there.
        mark: a file that the job makes before anything else; none if empty.

    >>> round(ToyJob("a", number=4).run(context=None).nats_per_byte, 2)  # 1 + 1/2 + 1/3 + 1/4
    2.08
    """

    record_type = Run

    name: str
    action: str = "count"
    number: int = 10
    mark: str = ""
    estimate: Estimate = UNKNOWN

    @property
    def key(self) -> str:
        """Its name and what it does."""
        return f"{self.name} {self.action} {self.number}"

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    def run(self, context: Any) -> Record:
        """Do it."""
        begun_before = bool(self.mark) and Path(self.mark).exists()
        if self.mark:
            Path(self.mark).write_text(str(os.getpid()))
        if self.action == "raise":
            raise RuntimeError("out\nof paper")
        if self.action == "exit":
            sys.exit(3)
        if self.action == "kill" or (self.action == "kill once" and not begun_before):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "sleep":
            time.sleep(self.number)
        total = 0.0
        for value in range(1, self.number + 1):
            total += 1 / value
        return Run(self.name, self.number, "done", nats_per_byte=total)

    def failed(self, error: str) -> Record:
        """A failed record."""
        return Run(self.name, self.number, "failed", error=error)


class ExecutorContract(ABC):
    """Subclass it in a test module and say how the executor is made; `workers` is False for one without workers.

    >>> class TestInProcess(ExecutorContract):
    ...     workers = False
    ...     def executor(self):
    ...         from lensllm.execution import InProcess
    ...         return InProcess()
    >>> TestInProcess().test_a_job_comes_back_with_its_record()
    """

    workers: bool = True

    @abstractmethod
    def executor(self) -> Executor:
        """A new executor; with workers, at least two."""

    def records(self, jobs: list[Job]) -> dict[str, Record | Lost]:
        """Run jobs, as many at a time as there are slots."""
        waiting, running, found = list(jobs), 0, dict[str, Record | Lost]()
        with self.executor() as executor:
            while waiting or running:
                while waiting and executor.free_slots:
                    executor.submit(waiting.pop(0))
                    running += 1
                if (outcome := executor.wait()) is not None:
                    found[outcome[0].label] = outcome[1]
                    running -= 1
        return found

    def test_a_job_comes_back_with_its_record(self) -> None:
        """Every job once, each with its own record, and results equal those of a plain call bit for bit."""
        jobs = [ToyJob(f"job {n}", number=1000 + n) for n in range(5)]
        found = self.records([*jobs])
        assert {name: repr(record) for name, record in found.items()} == {
            job.label: repr(job.run(None)) for job in jobs
        }

    def test_slots_are_counted(self) -> None:
        """A slot is taken from submit until the job was handed back."""
        with self.executor() as executor:
            slots = executor.free_slots
            assert slots >= (2 if self.workers else 1)
            executor.submit(ToyJob("a"))
            assert executor.free_slots == slots - 1
            assert executor.wait() is not None
            assert executor.free_slots == slots

    def test_a_failing_job_is_a_record_and_the_others_go_on(self) -> None:
        """An exception and a call of `sys.exit` alike; the message is one line that says what and where."""
        found = self.records([ToyJob("a", "raise"), ToyJob("b", "exit"), ToyJob("c")])
        for name, told in (("a", "RuntimeError: out of paper (executors.py:"), ("b", "SystemExit: 3")):
            record = found[name]
            assert isinstance(record, Record)
            assert record.status == "failed"
            assert record.error.startswith(told)
        assert repr(found["c"]) == repr(ToyJob("c").run(None))

    def test_a_dead_worker_loses_its_own_job_only(self) -> None:
        """The job is `Lost`, with what is known of the death; every other has its record."""
        if not self.workers:
            return
        found = self.records([ToyJob("a", "kill"), ToyJob("b"), ToyJob("c", "kill"), ToyJob("d")])
        assert all(isinstance(found[name], Lost) for name in "ac")
        assert all(isinstance(found[name], Run) for name in "bd")

    def test_nothing_is_left_after_close(self, tmp_path: Path) -> None:
        """A job that sleeps for an hour is gone."""
        if not self.workers:
            return
        mark = tmp_path / "pid"
        with self.executor() as executor:
            executor.submit(ToyJob("a", "sleep", 3600, str(mark)))
            pid = _pid(mark)
        assert _gone(pid)

    def test_nothing_is_left_after_the_program_ends(self, tmp_path: Path) -> None:
        """However it ends: Ctrl-C, SIGTERM, or a kill that it cannot see."""
        if not self.workers:
            return
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            mark = tmp_path / ending.name
            home = type(self)
            program = (
                f"import sys; sys.path[:0] = {sys.path!r}\n"
                f"from {home.__module__} import {home.__qualname__} as Home\n"
                "from lensllm.testing.executors import ToyJob\n"
                "with Home().executor() as executor:\n"
                f"    executor.submit(ToyJob('a', 'sleep', 3600, {str(mark)!r}))\n"
                "    executor.wait()\n"
            )
            process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
            pid = _pid(mark)
            process.send_signal(ending)
            process.wait(30)
            assert _gone(pid), f"a worker outlived {ending.name}"


def _pid(mark: Path) -> int:
    """The process that runs a job, once it has begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if mark.exists() and (text := mark.read_text()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("the job did not begin within a minute")


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + GONE_WITHIN
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
