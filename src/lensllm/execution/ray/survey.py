"""What the nodes of a Ray cluster are: asked of each once, before it gets a job."""

from __future__ import annotations

import time
from typing import Any

from lensllm.errors import InputError
from lensllm.execution.ray.connection import passed_on
from lensllm.execution.ray.losses import lost
from lensllm.execution.ray.nodes import Node
from lensllm.execution.ray.work import Told, tell, versions

ANSWER_WITHIN = 120.0
"""Seconds that nodes get to start a process and import torch before the others begin."""


class Survey:
    """Asks nodes what they are, and says which of them jobs may run on.

    All nodes in use compute on the same kind of device in the same type, with the same versions of the packages that
    results depend on as the program that asks: where a job runs changes no result that it need not change.

    Args:
        ray: the package.

    Attributes:
        asked: those that have not answered: what Ray's `wait` takes -> the node as Ray tells of it.
        unused: why nodes are not used, a sentence each.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._known: set[str] = set()
        self._versions = versions()
        self._like: tuple[str, str] | None = None
        self._since: dict[str, float] = {}
        self.asked: dict[Any, dict[str, Any]] = {}
        self.unused: list[str] = []

    def first(self) -> list[Node]:
        """The nodes to begin with: those like the largest, which has GPUs if any has.

        Raises:
            InputError: if none can be used.
        """
        self.look()
        found, deadline = list[Node](), time.monotonic() + ANSWER_WITHIN
        while self.asked and (left := deadline - time.monotonic()) > 0:
            ready, _ = self._ray.wait([*self.asked], num_returns=1, timeout=left)
            found += [node for ref in ready if (node := self.answer(ref)) is not None]
        if not found:
            raise InputError(f"no node of the Ray cluster can be used: {'; '.join(self.unused) or 'none has answered'}")
        largest = max(found, key=lambda node: (node.gpus > 0, node.size))
        self._like = (largest.device, largest.dtype)
        return [node for node in found if self._is_like(node)]

    def look(self) -> set[str]:
        """Ask the nodes that are new, forget what was asked of those that are gone; the ids of all that live."""
        alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        self.asked = {ref: node for ref, node in self.asked.items() if node["NodeID"] in alive}
        for name in alive.keys() - self._known:
            self._ask(alive[name])
        self._known |= alive.keys()
        return set(alive)

    @property
    def expects(self) -> bool:
        """Whether a node may still answer: it lives, and was asked not long ago."""
        since = time.monotonic() - ANSWER_WITHIN
        return any(self._since[node["NodeID"]] > since for node in self.asked.values())

    def answer(self, ref: Any) -> Node | None:
        """The node that has answered; None if it is of no use."""
        node = self.asked.pop(ref)
        resources = node["Resources"]
        name = node["NodeManagerHostname"]
        try:
            told: Told = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            unknown = Node("", name, 0, 0, 0, "", 0, "")
            self.unused.append(f"not used: {lost(self._ray, error, unknown).reason}")
            return None
        for package, version in self._versions.items():
            if told.versions[package] != version:
                self.unused.append(f"not used: node {name} has {package} {told.versions[package]} and not {version}")
                return None
        memory = int(resources.get("memory", 0))
        on_cpu = told.kind == "cpu"
        free = min(told.free, memory) if on_cpu else told.free
        gpus = 0 if on_cpu else int(resources.get("GPU", 0))
        cpus = int(resources.get("CPU", 0))
        found = Node(node["NodeID"], name, cpus, gpus, memory, told.kind, free, told.dtype, told.device)
        return found if self._like is None or self._is_like(found) else None

    def _is_like(self, node: Node) -> bool:
        if (node.device, node.dtype) == self._like and node.cpus:
            return True
        how = f"computes on {node.device} in {node.dtype}" if node.cpus else "has no core for jobs"
        self.unused.append(f"not used: node {node.name} {how}")
        return False

    def _ask(self, node: dict[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = self._ray.remote(tell).options(
            num_cpus=0,
            num_gpus=min(1, int(node["Resources"].get("GPU", 0))),
            max_retries=0,
            runtime_env={"env_vars": passed_on()},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        self.asked[remote.remote()] = node
        self._since[node["NodeID"]] = time.monotonic()
