"""Which node of a cluster takes which job: what each has, what each job needs, what is taken."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable
from dataclasses import dataclass
from typing import Self

from lensllm.errors import InputError
from lensllm.text import counted, gibibytes


@dataclass(frozen=True)
class Needs:
    """What a job needs of the node that it runs on.

    Attributes:
        cpus: cores, which are also its threads.
        gpus: of the node, for it alone.
        memory: bytes of the node's own memory.
        gpu_memory: bytes on each of its GPUs.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int = 0
    gpu_memory: int = 0


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes:
        id: as the cluster knows it; a node that comes back has another one.
        name: of the machine.
        cpus: cores that the cluster may use.
        gpus: that torch can use there.
        memory: bytes that jobs may share out.
        device: kind of the device that runs are trained on there.
        free: bytes of it that tensors can take.
        dtype: that it computes in.
        told: the device in words.
    """

    id: str
    name: str
    cpus: int
    gpus: int
    memory: int
    device: str
    free: int
    dtype: str
    told: str = ""

    @property
    def size(self) -> tuple[int, int, int]:
        """What the largest node has most of: memory for tensors, then GPUs, then cores."""
        return (self.free, self.gpus, self.cpus)

    def __str__(self) -> str:
        gpus = f"{counted(self.gpus, 'GPU')} of {gibibytes(self.free)}, " if self.gpus else ""
        return f"{self.name} ({gpus}{counted(self.cpus, 'core')}, {gibibytes(self.memory)})"


class Nodes:
    """The nodes in use, and the jobs that each of them has.

    Attributes:
        all: node by its id.
    """

    def __init__(self) -> None:
        self.all: dict[str, Node] = {}
        self._taken: dict[Hashable, tuple[str, Needs]] = {}
        self._left: dict[str, tuple[int, int, int]] = {}

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Self:
        """These nodes, all of them idle."""
        made = cls()
        for node in nodes:
            made.add(node)
        return made

    @property
    def largest(self) -> Node:
        """The one that everything is planned for."""
        return max(self.all.values(), key=lambda node: node.size)

    def add(self, node: Node) -> None:
        """Use a node."""
        self.all[node.id] = node
        self._left[node.id] = (node.cpus, node.gpus, node.memory)

    def drop(self, node: str) -> None:
        """Forget a node that is gone."""
        self.all.pop(node, None)

    def slots(self, needs: Needs) -> int:
        """How many jobs of these needs can be begun now."""
        return sum(self._rooms(node, needs) for node in self.all.values())

    def place(
        self, job: Hashable, needs: Needs, without: Container[str] = (), last: Container[str] = ()
    ) -> Node | None:
        """The node for a job, the one with the most room left, which is taken from now on; None if it has to wait.

        Args:
            job: that asks.
            needs: its own.
            without: ids of nodes that it cannot run on.
            last: ids of nodes that are taken only where no other has room.
        """
        rooms = {name: self._rooms(node, needs) for name, node in self.all.items() if name not in without}
        found = [(node not in last, left, node) for node, left in rooms.items() if left]
        if not found:
            return None
        node = max(found)[-1]
        self._taken[job] = (node, needs)
        self._take(node, needs, 1)
        return self.all[node]

    def free(self, job: Hashable) -> Node | None:
        """The job has ended: the node that it was on, None if that is gone."""
        node, needs = self._taken.pop(job)
        self._take(node, needs, -1)
        return self.all.get(node)

    def _take(self, node: str, needs: Needs, times: int) -> None:
        cpus, gpus, memory = self._left[node]
        self._left[node] = (cpus - times * needs.cpus, gpus - times * needs.gpus, memory - times * needs.memory)

    def _rooms(self, node: Node, needs: Needs) -> int:
        """How many more jobs fit one node."""
        if needs.gpu_memory > node.free:
            return 0
        wanted = zip(self._left[node.id], (needs.cpus, needs.gpus, needs.memory), strict=True)
        return max(0, min(left // one for left, one in wanted if one))


def share(nodes: Iterable[Node], workers: int, gpus_per_run: int) -> Needs:
    """Cores and GPUs of each run: as many cores as let so many runs go on at once, and at least one.

    Args:
        nodes: of the cluster.
        workers: asked for; 0 for one a GPU (or group of them), or one a core where no node has GPUs.
        gpus_per_run: how many GPUs one run is spread over.

    Raises:
        InputError: if no node has so many GPUs.
    """
    nodes = list(nodes)
    largest = max(nodes, key=lambda node: (node.gpus, *node.size))
    if gpus_per_run > max(largest.gpus, 1):
        raise InputError(
            f"--gpus-per-run {gpus_per_run} is asked for, and no node of the cluster has so many: the largest is "
            f"{largest}"
        )
    if not largest.gpus and not workers:
        return Needs()
    each = gpus_per_run if largest.gpus else 0

    def fit(cpus: int) -> int:
        return sum(min(node.cpus // cpus, node.gpus // each if each else node.cpus) for node in nodes)

    wanted = min(workers or fit(1), fit(1))
    cpus = max(range(1, max(node.cpus for node in nodes) + 1), key=lambda cpus: (fit(cpus) >= wanted, cpus))
    return Needs(cpus, each) if fit(cpus) >= wanted else Needs(1, each)
