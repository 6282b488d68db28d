"""How a Ray task ended that has no result, in words."""

from __future__ import annotations

from typing import Any

from lensllm.candidates.configuration import first_line
from lensllm.execution.ray.nodes import Node
from lensllm.jobs import Lost


def gone(node: Node) -> Lost:
    """The end of what was on a node that is no more."""
    return Lost(f"node {node.name} died or left the cluster")


def lost(ray: Any, error: BaseException, node: Node) -> Lost:
    """What is known of the end.

    Args:
        ray: the package.
        error: that `ray.get` raised.
        node: that the task was on.
    """
    errors = ray.exceptions
    if isinstance(error, errors.NodeDiedError | errors.TaskUnschedulableError):
        return gone(node)
    if isinstance(error, errors.OutOfMemoryError):
        return Lost(f"node {node.name} ran out of memory, so Ray ended the worker process")
    if isinstance(error, errors.WorkerCrashedError):
        return Lost(f"the worker process on node {node.name} died")
    if isinstance(error, errors.GetTimeoutError):
        return Lost(f"node {node.name} has not begun what it was asked: wait for those whose jobs fill the cluster")
    cause = getattr(error, "cause", None) or error
    return Lost(f"node {node.name} cannot run the job ({type(cause).__name__}: {first_line(cause)})")
