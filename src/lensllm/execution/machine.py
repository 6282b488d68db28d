"""What runs are planned for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensllm.tuning.device_memory import DeviceMemory


def call_here(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call a function in this process."""
    return function(*given, **named)


@dataclass(frozen=True)
class Machine:
    """Where jobs will run, as far as planning has to know it.

    Attributes:
        device: that a run is trained on; of several machines that of the largest.
        slots: jobs at once where nothing is asked for.
        nodes: machines that share them out.
        call: runs a function of a candidate and a task where such a device is.
    """

    device: DeviceMemory
    slots: int
    nodes: int = 1
    call: Callable[..., Any] = call_here
