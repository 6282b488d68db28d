"""Lanczos quadrature of v^T H^+ v, with an interval that holds it whatever the rest of H is.

Lanczos started at v / |v| gives after k products with H a tridiagonal matrix T_k = (alpha_1..k; beta_1..k-1) and the
norm beta_k of what is left. The measure mu that the eigenvalues of H have along v shares its moments up to 2 k with

    T(t) = T_k extended by beta_k and one more diagonal entry t,        e_1^T f(T(t)) e_1 = a (k+1)-point rule for f,

for every real t, and every (k+1)-point rule with those moments is of that form (Golub & Meurant 2010, sections 3 and
6). For f(a) = max(a, 0), a convex function with one kink, the smallest value over t is a lower bound of the integral
of f over mu: it is taken where T(t) has the eigenvalue 0, and the polynomial of degree 2 k that meets f there and
touches it at the other k nodes lies below f. The largest value over t is an upper bound, because among all measures
with these moments the integral is largest for one on k + 1 points. The next product with H would fix t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lensllm.arrays import Floats

Matvec = Callable[[Tensor, np.ndarray], Tensor]
"""(rows (r, p), which problem each row belongs to (r,)) -> each row times the Hessian of its problem."""

GRID = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 35)[1:-1])
GOLDEN = (np.sqrt(5) - 1) / 2
REFINEMENTS = 16
FAR = 1e8


@dataclass(frozen=True)
class Tridiagonal:
    """What Lanczos found for m problems at once.

    Attributes:
        alpha: diagonals, shape (m, k).
        beta: beside the diagonal; the last is the norm of what is left, shape (m, k); 0 where H is known exactly.
        square: |v|^2, shape (m,).
    """

    alpha: Floats
    beta: Floats
    square: Floats

    def matrices(self) -> Floats:
        """T_k, shape (m, k, k)."""
        return _tridiagonal(self.alpha, self.beta[:, :-1])

    def of(self, rows: np.ndarray) -> Tridiagonal:
        """Some of the problems."""
        return Tridiagonal(self.alpha[rows], self.beta[rows], self.square[rows])


class Lanczos:
    """Lanczos with full reorthogonalisation, m problems side by side, one product of each a step.

    Args:
        matvec: products with symmetric matrices.
        start: v of each problem, shape (m, p), not 0.

    Attributes:
        basis: orthonormal vectors, a list of (m, p).
    """

    def __init__(self, matvec: Matvec, start: Tensor) -> None:
        self._matvec = matvec
        norm = start.double().norm(dim=1)
        self._square = (norm**2).cpu().numpy()
        self.basis = [start / norm.to(start.dtype)[:, None]]
        self._alpha: list[Floats] = []
        self._beta: list[Floats] = []

    def step(self, active: np.ndarray) -> None:
        """One more product for these problems; the others keep what they have (and must not come back)."""
        m = len(self._square)
        rows = torch.as_tensor(active)
        product = self._matvec(self.basis[-1][rows], active)
        alpha, beta = np.zeros(m), np.zeros(m)
        alpha[active] = (self.basis[-1][rows] * product).sum(1).double().cpu().numpy()
        stacked = torch.stack([vectors[rows] for vectors in self.basis], dim=1)
        for _ in range(2):
            product = product - torch.einsum("mkp,mk->mp", stacked, torch.einsum("mkp,mp->mk", stacked, product))
        norm = product.double().norm(dim=1)
        beta[active] = norm.cpu().numpy()
        self._alpha.append(alpha)
        self._beta.append(beta)
        following = torch.zeros_like(self.basis[0])
        following[rows] = product / norm.clamp_min(torch.finfo(torch.float64).tiny).to(product.dtype)[:, None]
        self.basis.append(following)

    def found(self, active: np.ndarray) -> Tridiagonal:
        """The tridiagonal matrices of problems that took every step; rounding that is left counts as nothing."""
        alpha, beta = np.stack(self._alpha, 1)[active], np.stack(self._beta, 1)[active]
        eps = torch.finfo(self.basis[0].dtype).eps
        scale = np.abs(alpha).max(1) + beta.max(1)
        beta = np.where(beta <= 10 * eps * scale[:, None], 0.0, beta)
        return Tridiagonal(alpha, beta, self._square[active])


def bracket(found: Tridiagonal) -> tuple[Floats, Floats]:
    """Least and largest possible v^T H^+ v, shapes (m,), up to rounding."""
    theta, vectors = np.linalg.eigh(found.matrices())
    scale = np.abs(theta).max(1) + found.beta[:, -1] + np.finfo(float).tiny
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        at_zero = found.beta[:, -1] ** 2 * (vectors[:, -1] ** 2 / theta).sum(1)
    at_zero = np.clip(np.nan_to_num(at_zero, nan=FAR, posinf=FAR, neginf=-FAR), -FAR * scale, FAR * scale)
    grid = scale[:, None] * GRID
    values = _rule(found, grid)
    best = values.argmax(1)
    rows = np.arange(len(best))
    low, high = grid[rows, np.maximum(best - 1, 0)], grid[rows, np.minimum(best + 1, len(GRID) - 1)]
    upper = np.maximum(values[rows, best], _largest(found, low, high))
    lower = np.minimum(_rule(found, at_zero[:, None])[:, 0], values.min(1))
    return found.square * np.maximum(lower, 0.0), found.square * np.maximum(upper, 0.0)


def _largest(found: Tridiagonal, low: Floats, high: Floats) -> Floats:
    """The largest rule between two entries t, by golden section: what is missed is of second order in the width."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = _rule(found, np.stack([left, right], 1)).T
    for _ in range(REFINEMENTS):
        smaller = at_left < at_right
        low, high = np.where(smaller, left, low), np.where(smaller, high, right)
        new = np.where(smaller, low + GOLDEN * (high - low), high - GOLDEN * (high - low))
        value = _rule(found, new[:, None])[:, 0]
        left, right = np.where(smaller, right, new), np.where(smaller, new, left)
        at_left, at_right = np.where(smaller, at_right, value), np.where(smaller, value, at_left)
    return np.maximum(at_left, at_right)


def _rule(found: Tridiagonal, last: Floats) -> Floats:
    """e_1^T (T(t))^+ e_1 for t in `last` (m, g), shape (m, g)."""
    g = last.shape[1]
    alpha = np.concatenate([np.repeat(found.alpha[:, None], g, 1), last[..., None]], 2)
    beta = np.repeat(found.beta[:, None], g, 1)
    theta, vectors = np.linalg.eigh(_tridiagonal(alpha, beta))
    return np.asarray((vectors[..., 0, :] ** 2 * np.maximum(theta, 0.0)).sum(-1))


def _tridiagonal(alpha: Floats, beta: Floats) -> Floats:
    k = alpha.shape[-1]
    matrix = np.zeros((*alpha.shape, k))
    i = np.arange(k)
    matrix[..., i, i] = alpha
    matrix[..., i[1:], i[:-1]] = matrix[..., i[:-1], i[1:]] = beta
    return matrix
