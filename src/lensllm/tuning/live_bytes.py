"""How many bytes tensors hold, operation by operation."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages of tensors that operations make while it is entered, and forgets those that are dropped.

    Works on fake tensors (`torch._subclasses.fake_tensor`), which have sizes and no numbers. A storage is counted once
    however many tensors look at it. What kernels allocate inside one operation is not seen, but for a repeated matrix
    in a product of bfloat16 on the CPU, of which oneDNN makes as many copies.

    Attributes:
        now: bytes of the storages that are alive.
        peak: the most there were at once since it was last set.

    >>> with LiveBytes() as live:
    ...     one = torch.zeros(100)
    ...     view, two = one[:50], one + 1
    ...     del one, view
    >>> live.now, live.peak
    (400, 800)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self._see(one.untyped_storage())
        return made

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made before."""
        for one in tensors:
            self._see(one.untyped_storage())

    def _see(self, storage: Any) -> None:
        if storage in self._seen:
            return
        size = int(storage.nbytes())
        self._seen[storage] = size
        weakref.finalize(storage, self._forget, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, size: int) -> None:
        self.now -= size
