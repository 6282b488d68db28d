"""Floating-point operations of the probes, from the shapes of every matrix product that they make."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper

from lensllm.tuning.flops import packed_products

SYMMETRIC_EIGEN = 9.0
"""Times n^3: eigenvalues and vectors of a symmetric matrix (Golub and Van Loan, Matrix Computations, 8.3)."""
SINGULAR_VALUES = 4.0
"""Times m n^2, m >= n: bounds the singular values of an (m, n) matrix without its vectors (the same, 8.6)."""


class FlopCount(TorchDispatchMode):
    """Adds up 2 m n k for every product of an (m, k) and a (k, n) matrix, batched ones and backward passes included.

    The formulas are torch's own (`torch.utils.flop_counter`); what is elementwise is not counted, as it is not for
    runs. Attention has to be `eager`: the fused kernels of the CPU have no formula. A product with a matrix in 4 bits
    is counted as the same product without.

    Attributes:
        total: FLOPs so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self._packed = {known: shape_wrapper(formula) for known, formula in packed_products().items()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket) or self._packed.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def spectrum_flops(rows: int) -> float:
    """Of the eigendecomposition of an n x n kernel."""
    return SYMMETRIC_EIGEN * rows**3


def singular_flops(shape: tuple[int, ...]) -> float:
    """Of the singular values of a weight matrix."""
    return SINGULAR_VALUES * max(shape) * min(shape) ** 2
