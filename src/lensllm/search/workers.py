"""Run jobs in worker processes of one thread each; a worker that dies loses its own job only."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.probes.record import PROBE_VERSION, Probe
from lensllm.store import Store
from lensllm.store.store import Kind
from lensllm.tasks import Task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

TRAINING_VERSION = 2
"""Raised whenever a change of the code changes what a run measures, so that old records are not mistaken for new."""


@dataclass(frozen=True)
class Job:
    """One run to make.

    Attributes:
        candidate: to be fine-tuned.
        examples: on so many; 0 to be measured as it came.
        learning_rate: its peak; None if it is to be chosen.
        previous_validation_loss: validation loss of the rung before, which a larger one should come below.
    """

    candidate: Candidate
    examples: int
    learning_rate: float | None = None
    previous_validation_loss: float | None = None


@dataclass(frozen=True)
class ProbeJob:
    """One candidate to probe, before any training, on the first so many examples of the nested subsets."""

    candidate: Candidate
    examples: int


@dataclass(frozen=True)
class Setting:
    """What all jobs of a selection share."""

    task: Task
    training_config: TrainingConfig
    folder: Path

    def key(self, job: Job | ProbeJob) -> str:
        """SHA-256 of everything that changes the result of a job."""
        if isinstance(job, ProbeJob):
            parts: list[Any] = ["probe", PROBE_VERSION, self.task.fingerprint, job.candidate.fingerprint]
            parts += [self.training_config.subset_seed, self.training_config.max_length, job.examples]
            return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        parts = [TRAINING_VERSION, self.task.fingerprint, job.candidate.fingerprint, asdict(self.training_config)]
        return hashlib.sha256(
            json.dumps([*parts, job.examples, job.learning_rate, job.previous_validation_loss]).encode()
        ).hexdigest()


def run_all(
    jobs: Sequence[Job | ProbeJob],
    setting: Setting,
    workers: int,
    then: Callable[[Job | ProbeJob, Run | Probe], Sequence[Job | ProbeJob]],
) -> Iterator[tuple[Job | ProbeJob, Run | Probe]]:
    """Make runs and probes together, as `run_jobs` makes runs.

    Raises:
        InputError: as `run_jobs` and `run_probes`.
    """
    yield from _driven(jobs, setting, workers, then)


def run_jobs(
    jobs: Sequence[Job], setting: Setting, workers: int, then: Callable[[Job, Run], Sequence[Job]]
) -> Iterator[tuple[Job, Run]]:
    """Make all jobs, and those that `then` asks for after each, the largest first; yield each as it ends.

    Runs that the store has are not made again. A job whose process dies (out of memory, killed) is recorded as
    failed and the others go on.

    Raises:
        InputError: if a job meets bad input (the other running jobs are given up, finished ones are kept).
    """
    yield from _driven(jobs, setting, workers, then)


def run_probes(jobs: Sequence[ProbeJob], setting: Setting, workers: int) -> Iterator[tuple[ProbeJob, Probe]]:
    """Make all probes as `run_jobs` makes runs: once, each recorded before the next; yield each as it ends.

    Raises:
        InputError: if a task has too few examples to probe on, or one does not fit a model.
    """
    yield from _driven(jobs, setting, workers, lambda job, probe: [])


def _driven(
    jobs: Sequence[Any], setting: Setting, workers: int, then: Callable[[Any, Any], Sequence[Any]]
) -> Iterator[tuple[Any, Any]]:
    store = Store(setting.folder)
    team = [_Worker(setting) for _ in range(max(1, workers))]
    waiting = list(jobs)
    try:
        while waiting or any(worker.job for worker in team):
            waiting.sort(key=lambda job: -job.examples)
            for worker in team:
                if waiting and worker.job is None:
                    worker.give(waiting.pop(0))
            for ready in wait([source for worker in team if worker.job for source in worker.sources]):
                worker = next(worker for worker in team if ready in worker.sources)
                if worker.job is None:
                    continue
                job, outcome = worker.take()
                if isinstance(outcome, InputError):
                    raise outcome
                if outcome.status == "failed" and not worker.alive:
                    store.put(setting.key(job), setting.task.name, outcome)
                waiting += then(job, outcome)
                yield job, outcome
    finally:
        for worker in team:
            worker.stop()
        store.close()


class _Worker:
    """A process that makes one job after another; started with its first."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._process: Any = None
        self._pipe: Connection
        self.job: Job | ProbeJob | None = None

    @property
    def sources(self) -> list[Any]:
        return [self._pipe, self._process.sentinel] if self._process else []

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def give(self, job: Job | ProbeJob) -> None:
        if not self.alive:
            context = multiprocessing.get_context("spawn")
            self._pipe, far_end = context.Pipe()
            self._process = context.Process(target=_serve, args=(far_end, self._setting), daemon=True)
            self._process.start()
            far_end.close()
        self.job = job
        self._pipe.send((job, self._setting.key(job)))

    def take(self) -> tuple[Job | ProbeJob, Run | Probe | InputError]:
        """The job and its outcome; a failed one if the process died over it."""
        job, self.job = self.job, None
        assert job is not None
        try:
            return job, self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            cause = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with code {code}"
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return job, _failed(job, f"the worker process {cause}{hint}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()


def one_quiet_thread() -> None:
    """Make this process compute with one thread and keep the progress and advice of transformers to itself."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _serve(pipe: Connection, setting: Setting) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from lensllm.tuning.fine_tune import EncodedTask

    one_quiet_thread()
    store = Store(setting.folder)
    benches: dict[str, EncodedTask] = {}
    with suppress(EOFError, BrokenPipeError):
        while True:
            job, key = pipe.recv()
            encoded = benches.setdefault(
                job.candidate.name, EncodedTask(job.candidate, setting.task, setting.training_config)
            )
            kind: Kind = "probes" if isinstance(job, ProbeJob) else "runs"
            make = partial(_make, encoded, job)
            try:
                outcome: Run | Probe | InputError = store.once(
                    key, setting.task.name, job.candidate.name, job.examples, make, kind
                )
                if isinstance(outcome, Run | Probe):
                    outcome = replace(outcome, candidate=job.candidate.name)
            except InputError as error:
                outcome = error
            pipe.send(outcome)


def _make(encoded: Any, job: Job | ProbeJob) -> Run | Probe:
    """The record; what goes wrong with a candidate is its content and not the end of the others."""
    from lensllm.probes.measure import measure
    from lensllm.tuning.fine_tune import fine_tune

    if isinstance(job, ProbeJob):
        encoded.check_probe(job.examples)
    try:
        if isinstance(job, ProbeJob):
            return measure(job.candidate, encoded.probe_examples(job.examples)).probe
        encoded.encode()
        return fine_tune(encoded, job.examples, job.learning_rate, job.previous_validation_loss)
    except InputError as error:
        return _failed(job, str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return _failed(job, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")


def _failed(job: Job | ProbeJob, reason: str) -> Run | Probe:
    kind = Probe if isinstance(job, ProbeJob) else Run
    return kind(job.candidate.name, job.examples, "failed", error=reason)
