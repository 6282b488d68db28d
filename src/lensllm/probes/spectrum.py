"""What the spectrum of a kernel says: the kernel test loss F(Theta, t) and four summaries.

    F(Theta, t) = || exp(-eta Theta t) (f_0(X) - y) ||^2 = sum_k exp(-2 eta a_k t) |u_k^T r|^2

(LensLLM, arXiv 2505.03793, equation 9; exp is the matrix exponential, Theta = U diag(a) U^T, r = f_0(X) - y.) It is the
squared error left on the probes after gradient flow for a time t on the squared error of the linearised model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensllm.errors import InputError
from lensllm.probes.kernel import Kernel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a kernel and the residual in their basis.

    Attributes:
        eigenvalues: descending, negative rounding errors set to 0, shape (n,).
        energy: |u_k^T r|^2, summed over the vocabulary for rows that are tokens, shape (n,); sums to F(0) = |r|^2.
    """

    eigenvalues: Floats
    energy: Floats

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues: the rows' squared gradient norms."""
        return float(self.eigenvalues.sum())

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the eigenvalues as shares of the trace, in [1, n] (Roy and Vetterli 2007)."""
        share = self.eigenvalues[self.eigenvalues > 0] / self.trace
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def decay(self) -> float:
        """Exponent b of a_k ~ k^-b: least squares in log-log over the larger half of the ranks, uniform in log k."""
        half = max(2, (len(self.eigenvalues) + 1) // 2)
        values = self.eigenvalues[:half]
        rank = np.arange(1, len(values) + 1)[values > 0]
        if len(rank) < 2:
            return float("nan")
        return float(-np.polyfit(np.log(rank), np.log(values[values > 0]), 1, w=rank**-0.5)[0])

    @property
    def alignment(self) -> float:
        """r^T Theta r / (|r|^2 |Theta|_F) in [0, 1]: kernel-target alignment (Cristianini et al. 2001)."""
        scale = self.energy.sum() * np.linalg.norm(self.eigenvalues)
        return float((self.energy * self.eigenvalues).sum() / scale)

    def loss(self, times: ArrayLike, step: float | None = None) -> Floats:
        """F(Theta, t) at each time, same shape; falls from |r|^2 to the part of r outside the kernel.

        Args:
            times: t >= 0.
            step: eta; 1 / (largest eigenvalue) if None, so that t = 1 shrinks the fastest mode by e.
        """
        t = np.asarray(times, dtype=float)
        if np.any(t < 0) or not np.all(np.isfinite(t)):
            raise InputError("training times must be finite numbers, 0 or more")
        eta = 1 / self.eigenvalues[0] if step is None else step
        return np.exp(-2 * eta * t[..., None] * self.eigenvalues) @ self.energy


def spectrum(kernel: Kernel) -> Spectrum:
    """Eigendecomposition of the kernel, O(n^3).

    Raises:
        InputError: if the kernel is zero.
    """
    values, vectors = np.linalg.eigh(kernel.gram)
    if values[-1] <= 0:
        raise InputError("the kernel is zero: no parameter moves any output")
    residual = kernel.residual.reshape(len(values), -1)
    energy = np.square(vectors.T @ residual).sum(axis=1)
    return Spectrum(np.clip(values[::-1], 0, None), energy[::-1])
