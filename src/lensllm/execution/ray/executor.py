"""Jobs as tasks of a Ray cluster, each on a node that has room for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from lensllm.candidates import Candidate
from lensllm.candidates.elsewhere import Sent
from lensllm.errors import InputError
from lensllm.execution.base import Executor, Outcome
from lensllm.execution.machine import Machine
from lensllm.execution.ray.connection import Connection, import_ray, passed_on
from lensllm.execution.ray.losses import gone, lost
from lensllm.execution.ray.nodes import Needs, Node, Nodes, share
from lensllm.execution.ray.survey import ANSWER_WITHIN, Survey
from lensllm.execution.ray.work import Lacking, begun_first, call, packed, work
from lensllm.jobs import Job
from lensllm.tasks import Task
from lensllm.text import counted, visible
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.device_memory import device_memory

LOOK_EVERY = 5.0
"""Seconds between two looks at which nodes there are."""
LAST_WORDS = 5.0
"""Seconds that cancelled jobs get to be gone."""
BEGIN_WITHIN = 120.0
"""Seconds that a node gets to begin a job that it has room for: to start a process there and import torch."""
TOLD_WITHIN = 30.0
"""Seconds after a node is gone in which Ray gets to say that its jobs are lost."""

logger = logging.getLogger(__name__)


@dataclass
class _Asked:
    """A job that Ray was asked to run.

    Attributes:
        number: under which its node's room is taken.
        job: itself.
        node: that it was sent to.
        begun: whether the node has said that it began.
        since: when it was asked for, or when its node was found gone, whichever was later.
    """

    number: int
    job: Job
    node: Node
    begun: bool
    since: float


class Ray(Executor):
    """Runs jobs as Ray tasks on nodes that it chooses itself, so that none ever waits in Ray's queue.

    A slot is room for the job that needs most, on one node. A job whose worker or node died is `Lost`; Ray tries
    nothing again by itself. A job whose node has not got the model, or the folder that the job writes to, goes to the
    next node, and is a failed record with the reason if none that has room has it. Nodes that join while it runs are
    used. No answer of Ray's is waited for without end: a job that its node does not begin is said and asked for
    again, and one whose node is gone is `Lost`, whether Ray says so or not.

    Everything that is sent is pickled by Ray: driver and nodes trust each other.

    Args:
        address: `auto`, `local` or `host:port` (`lensllm.execution.ray.connection.Connection`).
        workers: most jobs at once; 0 for one a GPU (or group of them), or one a core where no node has GPUs.
        gpus_per_run: how many GPUs one run is spread over.

    Attributes:
        each: cores and GPUs of every job.
        device: of the largest node, in words.

    Raises:
        InputError: if there is no such cluster, or no node of it can run such jobs.
    """

    def __init__(self, address: str = "auto", workers: int = 0, gpus_per_run: int = 1) -> None:
        self._ray = import_ray()
        self._connection = Connection(address)
        try:
            self._survey = Survey(self._ray)
            self._nodes = Nodes.of(self._survey.first())
            self.each = share(self._nodes.all.values(), workers, gpus_per_run)
            self.device = self._nodes.largest.told
        except BaseException:
            self._connection.leave()
            raise
        self._most = workers or 1 << 30
        self._slots = min(self._most, self._nodes.slots(self.each))
        self._needs: dict[str, Needs] = {}
        self._largest = self.each
        self._numbers = count()
        self._running: dict[Any, _Asked] = {}
        self._held: list[Job] = []
        self._slow: set[str] = set()
        self._lacking: dict[str, dict[str, str]] = {}
        self._tasks: dict[str, Any] = {}
        self._looked = time.monotonic()
        threads = {name: str(self.each.cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._environment = {"env_vars": {**passed_on(), **threads}}

    @property
    def machine(self) -> Machine:
        """What runs are planned for: the largest node, with what a process takes there.

        Raises:
            InputError: if it cannot be asked.
        """
        node = self._nodes.largest
        try:
            there = self._ray.get(
                self._remote(device_memory, node, self.each, "memory").remote(), timeout=ANSWER_WITHIN
            )
        except self._ray.exceptions.RayError as error:
            raise InputError(lost(self._ray, error, node).reason) from error
        device = replace(there, free=min(there.free, node.free))
        return Machine(device, self._slots, len(self._nodes.all), self.call)

    @property
    def dtype(self) -> str:
        """What the nodes compute in."""
        return self._nodes.largest.dtype

    @property
    def said(self) -> list[str]:
        """What was joined or started, what each node offers, which nodes are not used and why: a sentence each."""
        nodes = ", ".join(str(node) for node in list(self._nodes.all.values())[:5])
        more = f" and {len(self._nodes.all) - 5} more" if len(self._nodes.all) > 5 else ""
        gpus = f"{counted(self.each.gpus, 'GPU')} and " if self.each.gpus else ""
        jobs = f"at most {counted(self._slots, 'job')} at once"
        slots = f"{jobs}, each with {gpus}{counted(self.each.cpus, 'core')}"
        return [self._connection.said, f"{slots}, on {nodes}{more}", *self._survey.unused]

    def requires(self, needs: Mapping[str, Needs]) -> None:
        """Say what the jobs of each candidate need; what the largest node has is enough for any of them.

        Args:
            needs: candidate's name -> what its jobs need; of others what was said before holds.
        """
        node = self._nodes.largest
        self._needs |= {
            name: replace(one, memory=min(one.memory, node.memory), gpu_memory=min(one.gpu_memory, node.free))
            for name, one in needs.items()
        }
        every = [self.each, *self._needs.values()]
        memory, gpu_memory = max(one.memory for one in every), max(one.gpu_memory for one in every)
        self._largest = replace(self.each, memory=memory, gpu_memory=gpu_memory)
        small = [str(node) for node in self._nodes.all.values() if not Nodes.of([node]).slots(self._largest)]
        if small:
            self._survey.unused.append(f"not used, too small for the largest candidate: {', '.join(small)}")

    @property
    def free_slots(self) -> int:
        """How many jobs of the largest kind can be begun now.

        Raises:
            InputError: if nothing runs and no node is left.
        """
        self._place_held()
        free = min(self._most - len(self._running), self._nodes.slots(self._largest)) - len(self._held)
        if free <= 0 and not self._running and not self._held:
            raise self._none_left()
        return max(0, free)

    def submit(self, job: Job) -> None:
        """Begin it, or hold it until a node has room, where that went with a node."""
        if not self._begin(job):
            self._held.append(job)

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The first to end; None, too, once another node has joined.

        Raises:
            InputError: if no node is left.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        while True:
            self._place_held()
            if not self._running and not self._survey.expects:
                return self._cannot_be_run()
            seconds = max(0.0, min(LOOK_EVERY, deadline - time.monotonic()))
            ready, _ = self._ray.wait([*self._running, *self._survey.asked], num_returns=1, timeout=seconds)
            if ready and ready[0] not in self._running:
                if node := self._survey.answer(ready[0]):
                    self._nodes.add(node)
                    return None
            elif ready and (outcome := self._told(ready[0])) is not None:
                return outcome
            self._look()
            if (outcome := self._given_up()) is not None:
                return outcome
            if time.monotonic() >= deadline:
                return None

    def call(self, function: Callable[..., Any], candidate: Candidate, task: Task, **rest: Any) -> Any:
        """What a function makes of a candidate and a task on the largest node.

        Raises:
            InputError: if the node lacks the candidate, or the function raises it.
        """
        remote = self._remote(call, self._nodes.largest, replace(self.each, memory=0), function.__name__)
        try:
            made, why = self._ray.get(remote.remote(function, Sent.of(candidate), self._task(task), rest))
        except self._ray.exceptions.RayError as error:
            raise InputError(lost(self._ray, error, self._nodes.largest).reason) from error
        if why:
            raise InputError(why)
        return made

    def close(self) -> None:
        """Cancel what runs, wait until it is gone, and leave the cluster."""
        refs = [*self._running, *self._survey.asked]
        for ref in refs:
            self._ray.cancel(ref, force=True)
        if refs:
            self._ray.wait(refs, num_returns=len(refs), timeout=LAST_WORDS)
        self._running.clear()
        self._held.clear()
        self._connection.leave()

    def _begin(self, job: Job) -> bool:
        bare, sent, task = packed(job)
        needs = self._needs.get(sent.candidate.name, self.each) if sent else self.each
        number = next(self._numbers)
        node = self._nodes.place(number, needs, self._lacking.get(_name(job), {}), self._slow)
        if node is None:
            return False
        remote = self._remote(begun_first, node, needs, job.label, num_returns="streaming")
        answers = remote.remote(work, bare, sent, self._task(task) if task else None)
        self._running[answers] = _Asked(number, job, node, False, time.monotonic())
        return True

    def _remote(self, function: Callable[..., Any], node: Node, needs: Needs, label: str, **options: Any) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return self._ray.remote(function).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory or None,
            max_retries=0,
            name=label,
            runtime_env=self._environment,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            **options,
        )

    def _task(self, task: Task) -> Any:
        """The task in Ray's store of objects: every node fetches it once."""
        if task.fingerprint not in self._tasks:
            self._tasks[task.fingerprint] = self._ray.put(task)
        return self._tasks[task.fingerprint]

    def _told(self, answers: Any) -> Outcome | None:
        """The outcome of a job; None if it has only begun, or waits for another node."""
        asked = self._running[answers]
        errors = self._ray.exceptions
        try:
            made = self._ray.get(next(answers))
        except errors.RayError as error:
            self._forget(answers)
            if isinstance(error, errors.NodeDiedError | errors.TaskUnschedulableError):
                self._drop(asked.node.id)
            if isinstance(error, errors.TaskUnschedulableError):
                self._held.append(asked.job)
                return None
            return asked.job, lost(self._ray, error, asked.node)
        if made is None:
            asked.begun = True
            self._slow.discard(asked.node.id)
            return None
        self._forget(answers)
        if not isinstance(made, Lacking):
            return asked.job, made
        lacking = self._lacking.setdefault(_name(asked.job), {})
        lacking[asked.node.id] = made.reason
        if set(self._nodes.all) <= set(lacking):
            return asked.job, asked.job.failed(made.reason)
        self._held.append(asked.job)
        return None

    def _given_up(self) -> Outcome | None:
        """A job of which Ray says no more, though its node is gone; what a node does not begin is asked for again."""
        now = time.monotonic()
        for answers, asked in list(self._running.items()):
            there = asked.node.id in self._nodes.all
            late = now >= asked.since + (BEGIN_WITHIN if there else TOLD_WITHIN)
            if not late or (asked.begun and there) or self._ray.wait([answers], timeout=0)[0]:
                continue
            self._ray.cancel(answers, force=True)
            self._forget(answers)
            if not there:
                return asked.job, gone(asked.node)
            logger.warning(
                "ray: %s",
                visible(
                    f"node {asked.node.name} has not begun {asked.job.label} within {BEGIN_WITHIN:.0f} seconds, though "
                    "it has room for it: jobs of others may fill it; asked for once more"
                ),
            )
            self._slow.add(asked.node.id)
            self._held.append(asked.job)
        return None

    def _forget(self, answers: Any) -> None:
        self._nodes.free(self._running.pop(answers).number)

    def _place_held(self) -> None:
        self._held = [job for job in self._held if len(self._running) >= self._most or not self._begin(job)]

    def _cannot_be_run(self) -> Outcome:
        """A job that no node has room or the model for, now that all nodes are idle."""
        assert self._held, "wait while something runs"
        job = self._held.pop(0)
        lacking = self._lacking.get(_name(job), {})
        if why := [reason for node, reason in lacking.items() if node in self._nodes.all]:
            return job, job.failed(why[-1])
        raise self._none_left()

    def _none_left(self) -> InputError:
        left = f"the largest that is left is {self._nodes.largest}" if self._nodes.all else "the last one is gone"
        return InputError(f"no node of the Ray cluster can run what is left ({left}): start one and run this again")

    def _look(self) -> None:
        """Ask nodes that have joined, forget those that are gone."""
        if time.monotonic() < self._looked + LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for node in set(self._nodes.all) - self._survey.look():
            self._drop(node)

    def _drop(self, node: str) -> None:
        self._nodes.drop(node)
        for asked in self._running.values():
            if asked.node.id == node:
                asked.since = time.monotonic()


def _name(job: Job) -> str:
    return job.candidate.name if isinstance(job, CandidateJob) else ""
