"""A search over 1,000 candidates on 64 slots of Ray: what the machinery costs, and what would break first.

    python -m evidence execution

The candidates are published curves with 0.2 % of noise (seed 0) at 10 sizes, 50 to 25,600 examples. Their jobs sleep 8
seconds and 2 ms an example and bring the known loss; everything else is real: the search within a hundredth of
fine-tuning everything, its log, the driver, the store, and Ray's tasks on a node that claims 64 cores. Then the
driver's share of a result is timed part by part with 1,000 and 10,000 candidates that have climbed the first sizes.
Writes execution.json beside this file.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evidence.accuracy.published import load
from evidence.execution.sleep import SMALLEST, Sleep
from evidence.results import write_numbers
from lensllm.arrays import Floats
from lensllm.candidates import find_candidate
from lensllm.execution import Executor
from lensllm.execution.base import Outcome
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.cost import Budget
from lensllm.search.driver import drive
from lensllm.search.ladder_plan import plan_ladder
from lensllm.search.log import FILE_NAME as LOG
from lensllm.search.log import Logged
from lensllm.store import FILE_NAME, Store
from lensllm.tasks import Example, Task
from lensllm.tuning.training_config import TrainingConfig

LARGE_CANDIDATES, LARGE_SLOTS = 10_000, 1_000
TIMED = 9
PAUSED = 10.0
"""Seconds in which some job must end: a longer stretch is one in which this process was stopped, and is left out."""
PARTS = ("store", "state", "decision", "log")
RESULT = Path(__file__).with_suffix(".json")
CANDIDATES = 1_000
SLOTS = 64
SIZES = 10
NOISE = 0.002
SEED = 0
MODEL = "gpt2-0.2m-random"
SECONDS, SECONDS_AN_EXAMPLE = 8.0, 0.002
PART = 0.01
"""Budget, as a part of fine-tuning everything: some five runs a candidate, in a quarter of an hour."""


class Replayed(BudgetSearch):
    """The search within a hundredth of fine-tuning everything, over jobs that sleep."""

    def __init__(self, losses: Floats, folder: Path, seconds: float, seconds_an_example: float) -> None:
        base = find_candidate(MODEL)
        one = Example("a", "b")
        task = Task("replay", (one,) * (SMALLEST << (SIZES - 1)), (one,) * 100, (one,) * 100)
        candidates = [replace(base, name=f"m{k}") for k in range(len(losses))]
        plan = plan_ladder(task, TrainingConfig(), Budget(part=PART))
        super().__init__(candidates, task, plan, 1.0, 0.0, kernel=False, folder=folder)
        asleep = [
            Sleep(candidate, task, TrainingConfig(), 0, losses=tuple(row), seconds=seconds,
                  seconds_an_example=seconds_an_example)
            for candidate, row in zip(candidates, losses.tolist(), strict=True)
        ]  # fmt: skip
        self._first, self._waiting = [*asleep], [*asleep]
        self._stage = {job.key: None for job in asleep}


class Watched(Executor):
    """Another executor, whose slots are watched from the end of its first `slots` jobs to its last submission.

    Attributes:
        rows: for each job: when it began and ended, and how long it had its slot beyond its sleep.
        spans: for each stretch of time: from when, for how long, how many slots had no job, and whether the driver had
            something else to do (it was not waiting).
    """

    def __init__(self, inner: Executor, slots: int) -> None:
        self._inner, self._slots = inner, slots
        self._begun: dict[str, float] = {}
        self._since = time.monotonic()
        self.rows: list[tuple[float, float, float]] = []
        self.spans: list[tuple[float, float, int, bool]] = []
        self.last_submit = 0.0

    @property
    def free_slots(self) -> int:
        """Those of the other."""
        return self._inner.free_slots

    def submit(self, job: Job) -> None:
        """Note when."""
        self._span(driving=True)
        self._begun[job.key] = self.last_submit = self._since
        self._inner.submit(job)

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Note how long its slot was taken for more than sleep."""
        self._span(driving=True)
        outcome = self._inner.wait(timeout)
        self._span(driving=False)
        if outcome is not None:
            job, record = outcome
            assert isinstance(record, Record), record
            began = self._begun.pop(job.key)
            self.rows.append((began, self._since, self._since - began - record.seconds))
        return outcome

    def close(self) -> None:
        """Close the other."""
        self._inner.close()

    def numbers(self) -> dict[str, float]:
        """Shares of the slots' time, and seconds a job and a result."""
        start, end = self.rows[self._slots - 1][1], self.last_submit
        spans = [one for one in self.spans if start <= one[0] and one[0] + one[1] <= end]
        paused = [(at, at + seconds) for at, seconds, _, _ in spans if seconds > PAUSED]
        spans = [one for one in spans if one[1] <= PAUSED]
        overheads = [
            beyond for began, ended, beyond in self.rows
            if start < ended <= end and not any(began < until and since < ended for since, until in paused)
        ]  # fmt: skip
        lost = sum(until - since for since, until in paused)
        whole = self._slots * (end - start - lost)
        driving = sum(seconds for _, seconds, _, driver in spans if driver)
        free = {who: sum(s * slots for _, s, slots, driver in spans if driver == who) for who in (True, False)}
        return {
            "seconds": end - start - lost,
            "paused_seconds": lost,
            "jobs": len(overheads),
            "overhead_a_job_seconds": float(np.mean(overheads)),
            "driver_a_result_seconds": driving / len(overheads),
            "decisions_a_second_at_most": len(overheads) / driving,
            "idle_share_by_machinery": (sum(overheads) + free[True]) / whole,
            "idle_share_by_search": free[False] / whole,
        }

    def _span(self, driving: bool) -> None:
        now = time.monotonic()
        self.spans.append((self._since, now - self._since, self._slots - len(self._begun), driving))
        self._since = now


def known_losses(many: int) -> Floats:
    """Losses as it came and at every size, shape (many, 1 + SIZES): rows of published curves, drawn with noise."""
    known = load()["flan"]
    rng = np.random.default_rng(SEED)
    rows = rng.integers(0, len(known.candidates), many)
    columns = np.arange(SIZES + 1)
    return known.losses[rows][:, columns] * np.exp(NOISE * rng.standard_normal((many, SIZES + 1)))


def replayed(
    many: int, slots: int, seconds: float = SECONDS, seconds_an_example: float = SECONDS_AN_EXAMPLE
) -> dict[str, Any]:
    """The search on Ray."""
    import ray

    from lensllm.execution.ray.executor import Ray

    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False,
        logging_level="error", _system_config={"memory_monitor_refresh_ms": 0},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as made:
        folder, store = Path(made), Store(Path(made))
        search = Replayed(known_losses(many), folder, seconds, seconds_an_example)
        used = time.process_time()
        with Watched(Ray("auto"), slots) as executor:
            told = drive(search, executor, store)
        used = time.process_time() - used
        numbers = {
            "candidates": many, "slots": slots, "stopped": search.stopped, "runs": len(told),
            "decisions": len(search._log.decisions), **executor.numbers(), "driver_processor_seconds": used,
            "store_bytes": (folder / FILE_NAME).stat().st_size, "log_bytes": (folder / LOG).stat().st_size,
        }  # fmt: skip
        store.close()
    ray.shutdown()
    return numbers


def parts(many: int) -> dict[str, float]:
    """Seconds of each thing that the driver does for one result, once every candidate has climbed the first sizes."""
    with tempfile.TemporaryDirectory() as made:
        folder, store = Path(made), Store(Path(made))
        search = Replayed(known_losses(many), folder, 0.0, 0.0)
        asked = search.ask(1 << 30)
        while search.decision is None or math.isnan(search.decision.p_best):
            for job in asked:
                search.tell(job, job.run(None))
            asked = search.ask(1 << 30)
        found: dict[str, list[float]] = {}
        for job in asked[:TIMED]:
            ledger = search._ledger
            assert ledger is not None
            record = _timed(found, "job", lambda job=job: job.run(None))
            _timed(found, "store", lambda job=job: store.claim(job.key, "t", job.label, job.examples))
            _timed(found, "store", lambda job=job, record=record: store.put(job.key, "t", record))
            search.tell(job, record)
            state = _timed(found, "state", lambda ledger=ledger: ledger.state(search._pending))
            decision = _timed(found, "decision", lambda state=state: search._policy.decide(state, 1))
            search._log.decisions.append(Logged([job.key], search._pending, 1, decision))
            before = (folder / LOG).stat().st_size
            _timed(found, "log", lambda: search._log.write(folder))
            found.setdefault("log_bytes", []).append((folder / LOG).stat().st_size - before)
        store.close()
    middle = {name: statistics.median(values) for name, values in found.items() if name != "job"}
    middle["store"] *= 2
    return {"candidates": many, "seconds": sum(middle[name] for name in PARTS), **middle}


def _timed(found: dict[str, list[float]], name: str, make: Any) -> Any:
    begin = time.perf_counter()
    made = make()
    found.setdefault(name, []).append(time.perf_counter() - begin)
    return made


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Replay and time."""
    result: dict[str, Any] = {
        "command": "python -m evidence execution",
        "seed": SEED,
        "load": os.getloadavg()[0],
    }
    result["replay"] = replayed(CANDIDATES, SLOTS)
    write_numbers(result, json_file)
    result["driver"] = [parts(many) for many in (CANDIDATES, LARGE_CANDIDATES)]
    result["at_scale"] = at_scale(result["replay"], result["driver"][1])
    return write_numbers(result, json_file)


def at_scale(replay: dict[str, Any], driver: dict[str, float]) -> dict[str, float]:
    """What 10,000 candidates on 1,000 GPUs would ask of the one driver, extrapolated.

    A driver that takes d seconds a result is busy for the part S d / T of the time with S slots and runs of T seconds
    on average; at 1 decisions queue up without end. d is the driver's part of a result at 10,000 candidates and Ray's
    own of the replay; the log grows by its bytes a decision, and there is a decision a run.
    """
    ray = replay["driver_a_result_seconds"]
    seconds = driver["seconds"] + ray
    runs = replay["runs"] / CANDIDATES * LARGE_CANDIDATES
    return {
        "candidates": LARGE_CANDIDATES,
        "slots": LARGE_SLOTS,
        "driver_a_result_seconds": seconds,
        "run_seconds_below_which_the_driver_is_the_limit": LARGE_SLOTS * seconds,
        "run_seconds_at_half_of_that_load": 2 * LARGE_SLOTS * seconds,
        "log_bytes": runs * driver["log_bytes"],
        "store_bytes": replay["store_bytes"] / replay["runs"] * runs,
    }
