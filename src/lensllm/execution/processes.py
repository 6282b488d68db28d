"""Jobs in processes of this machine, each with its share of the cores."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe, wait

from lensllm.execution.base import Executor, Outcome
from lensllm.jobs import Job, Lost
from lensllm.records import Record
from lensllm.tasks import Task

START = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: the kernel ends it with its parent, whatever it does
sys.path[:] = {path!r}
from lensllm.execution.worker import serve
serve({file}, {parent})
"""
"""What a new worker's interpreter runs; the parent's death ends it before anything slow is imported."""
LAST_WORDS = 5.0
"""Seconds that a worker whose pipe has closed gets to be gone."""


class Processes(Executor):
    """Runs jobs in worker processes, started with their first job and replaced when they die.

    Workers import nothing of the program that made them (they are new interpreters, not spawned or forked), so that a
    plain script needs no `if __name__ == "__main__"`. They notice by themselves when that program is gone.

    Args:
        workers: number of processes.
        threads: of each; the cores that this process may use, shared out, if None.
        environments: what is added to the environment of each, in turn (`lensllm.execution.devices.shares`).

    >>> from lensllm.testing import ToyJob
    >>> with Processes(workers=2, threads=1) as executor:
    ...     executor.submit(ToyJob("a", number=4))
    ...     print(executor.free_slots, "slot is free")
    ...     job, record = executor.wait()
    1 slot is free
    >>> job.label, record.status, round(record.nats_per_byte, 2)
    ('a', 'done', 2.08)
    """

    def __init__(
        self, workers: int, threads: int | None = None, environments: Sequence[Mapping[str, str]] = ()
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = threads or max(1, cores // max(1, workers))
        added = environments or [{}]
        self._workers = [_Worker(share, added[i % len(added)]) for i in range(max(1, workers))]

    @property
    def free_slots(self) -> int:
        """Workers without a job."""
        return sum(worker.job is None for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Give it to a worker without one, to a running one first."""
        free = [worker for worker in self._workers if worker.job is None]
        next((worker for worker in free if worker.alive), free[0]).give(job)

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The first that any worker brings."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        ready = wait(list(busy), timeout)
        return busy[ready[0]].take() if ready else None  # type: ignore[index]

    def close(self) -> None:
        """Kill all workers, with what they started."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process that makes one job after another."""

    def __init__(self, threads: int, environment: Mapping[str, str]) -> None:
        share = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._environment = {**share, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._known: str = ""
        self.pipe: Connection
        self.job: Job | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def give(self, job: Job) -> None:
        self.job = job
        for _ in range(2):
            if not self.alive:
                self._start()
            try:
                self._send(job)
                return
            except (BrokenPipeError, ConnectionResetError):  # died while it was idle
                self._stop()

    def take(self) -> tuple[Job, Record | Lost]:
        job, self.job = self.job, None
        assert job is not None
        try:
            return job, self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return job, Lost(self._death())

    def kill(self) -> None:
        self.job = None
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            if self.alive:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.pipe.close()
            self._process = None

    def _start(self) -> None:
        self._stop()
        self.pipe, far_end = Pipe()
        start = START.format(path=sys.path, file=far_end.fileno(), parent=os.getpid())
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            pass_fds=[far_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self._environment},
            start_new_session=True,
        )
        self._known = ""
        far_end.close()

    def _send(self, job: Job) -> None:
        written = io.BytesIO()
        pickler = _JobPickler(written)
        pickler.dump(job)
        for fingerprint, task in pickler.tasks.items():
            if fingerprint != self._known:
                self.pipe.send_bytes(pickle.dumps(task))
                self._known = fingerprint
        self.pipe.send_bytes(written.getvalue())

    def _death(self) -> str:
        """How the worker ended, in words."""
        assert self._process is not None
        try:
            code = self._process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            return "the worker process closed its pipe and did not end"
        if code >= 0:
            return f"the worker process ended with code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"the worker process was killed by {signal.Signals(-code).name}{hint}"


class _JobPickler(pickle.Pickler):
    """Leaves tasks out, which are large and the same for most jobs: each worker gets one once."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tasks: dict[str, Task] = {}

    def persistent_id(self, value: object) -> str | None:
        if isinstance(value, Task):
            self.tasks[value.fingerprint] = value
            return value.fingerprint
        return None
