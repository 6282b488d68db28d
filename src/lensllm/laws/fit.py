"""One batched fitter for every law: a grid that sees the whole surface, then Levenberg-Marquardt on all curves at once.

All laws here are members of one family, L(D) = B / (F + D^beta) + E (F = 0 is the vanilla power law). Inside the fitter
a curve is scaled to geometric mean 1 and written around its geometric mean size g,

    L(D) = R (F + g^beta) / (F + D^beta) + E,        theta = (log R, log F, log beta, E),

so that R, the reducible loss at g, is nearly independent of the other parameters. Given (F, beta) the law is linear in
(R, E): on a grid over (F, beta) both are solved exactly (variable projection: Golub & Pereyra 1973), which shows every
valley of the surface; the deepest ones are polished by projected Levenberg-Marquardt on log residuals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats

R, F, BETA, E = range(4)
LOG_ZERO = -1e4  # stands for log 0: exp(beta * LOG_ZERO) is 0 for every beta allowed
LOWER = np.array([np.log(1e-9), np.log(1e-6), np.log(0.01), 0.0])
UPPER = np.array([np.log(1e4), np.log(1e20), np.log(3.0), 1e2])
BETA_GRID = np.geomspace(0.03, 2.0, 14)
TRANSITION_GRID = np.log(4) * np.linspace(-8.0, 4.0, 12)  # log(F) / beta - log(g)
ITERATIONS = 100
TOLERANCE = 1e-11


@dataclass(frozen=True)
class Points:
    """Scaled: log sizes `x` and log losses `y`, shape (N, S), `seen` 1 where measured, `center` (N,) is log g."""

    x: Floats
    y: Floats
    seen: Floats
    center: Floats

    def of(self, rows: np.ndarray) -> Points:
        """Some of the curves."""
        return Points(self.x[rows], self.y[rows], self.seen[rows], self.center[rows])


@dataclass(frozen=True)
class Target:
    """What is minimised: sum of rho(residual) / scale^2 over the points plus 1/2 sum precision (theta - mean)^2.

    rho(r) is r^2 / 2, or the pseudo-Huber loss with the knee `f_scale` (scipy's soft_l1). `lower`, `upper`, `mean` and
    `precision` (0 where there is no prior) have shape (N, 4), `scale` (N,).
    """

    lower: Floats
    upper: Floats
    mean: Floats
    precision: Floats
    scale: Floats
    f_scale: float | None

    def of(self, rows: np.ndarray) -> Target:
        """The targets of some of the curves."""
        lower, upper, mean = self.lower[rows], self.upper[rows], self.mean[rows]
        return Target(lower, upper, mean, self.precision[rows], self.scale[rows], self.f_scale)


def misfit(points: Points, target: Target, theta: Floats) -> Floats:
    """Sum of rho over the points of each curve, shape (N, M), for M parameter vectors a curve, theta (N, M, 4)."""
    (r, f, beta), e = np.exp(np.moveaxis(theta, -1, 0)[:E, ..., None]), theta[..., E, None]
    grown = f + np.exp(beta * points.center[:, None, None])
    fitted = np.log(r * grown / (f + np.exp(beta * points.x[:, None])) + e)
    return rho((fitted - points.y[:, None]) * points.seen[:, None], target.f_scale).sum(-1)


def rho(residual: Floats, f_scale: float | None) -> Floats:
    """Squared or pseudo-Huber loss of a residual."""
    if f_scale is None:
        return np.asarray(0.5 * residual**2)
    return np.asarray(f_scale**2 * (np.sqrt(1 + (residual / f_scale) ** 2) - 1))


def log_law(theta: Floats, x: Floats, center: Floats) -> Floats:
    """log L at log sizes x, shape (N, S), for theta (N, 4)."""
    (r, f, beta), e = np.exp(theta.T[:E, :, None]), theta[:, E, None]
    return np.asarray(np.log(r * (f + np.exp(beta * center[:, None])) / (f + np.exp(beta * x)) + e))


def log_law_jacobian(theta: Floats, x: Floats, center: Floats) -> tuple[Floats, Floats]:
    """log L, shape (N, S), and its derivative with respect to theta, shape (N, 4, S)."""
    (r, f, beta), e = np.exp(theta.T[:E, :, None]), theta[:, E, None]
    p, q = np.exp(beta * x), np.exp(beta * center[:, None])
    h, h0 = f + p, f + q
    reducible = r * h0 / h
    loss = reducible + e
    share = reducible / loss
    jacobian = np.empty((len(theta), 4, x.shape[1]))
    jacobian[:, R] = share
    jacobian[:, F] = share * f * (1 / h0 - 1 / h)
    jacobian[:, BETA] = share * beta * (q * center[:, None] / h0 - p * x / h)
    jacobian[:, E] = 1 / loss
    return np.log(loss), jacobian


def minimise(points: Points, target: Target, starts: int) -> tuple[Floats, Floats]:
    """The best parameters found for every curve, theta (N, 4), and the value of the target there, (N,)."""
    begin = grid_starts(points, target, starts)
    n = len(begin)
    rows = np.repeat(np.arange(n), begin.shape[1])
    theta, cost = levenberg_marquardt(points.of(rows), target.of(rows), begin.reshape(-1, 4))
    cost = cost.reshape(n, -1)
    best = cost.argmin(axis=1)
    return theta.reshape(n, -1, 4)[np.arange(n), best], cost[np.arange(n), best]


def grid_starts(points: Points, target: Target, starts: int) -> Floats:
    """Starting points (N, starts, 4): the deepest valleys over beta of the profile over (F, beta)."""
    beta = np.repeat(BETA_GRID, TRANSITION_GRID.size)
    transition = points.center[:, None] + np.tile(TRANSITION_GRID, BETA_GRID.size)
    log_f = np.clip(beta * transition, target.lower[:, F, None], target.upper[:, F, None])
    f = np.exp(log_f)[..., None]
    shape = (f + np.exp(beta * points.center[:, None])[..., None]) / (f + np.exp(beta[:, None] * points.x[:, None]))
    weight = points.seen * np.exp(-points.y)
    a, b = shape * weight[:, None], weight[:, None]
    aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
    ay, by = (a * points.seen[:, None]).sum(-1), (b * points.seen[:, None]).sum(-1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-300)
    r, e = (ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant
    r, e = np.where(e < 0, ay / aa, r), np.maximum(e, 0)
    r, e = np.maximum(r, 0), np.where(r < 0, by / bb, e)
    sse = points.seen.sum(1)[:, None] - 2 * (r * ay + e * by) + r * r * aa + 2 * r * e * ab + e * e * bb
    sse = sse.reshape(len(f), BETA_GRID.size, TRANSITION_GRID.size)
    at = sse.argmin(axis=2)
    valley = sse.min(axis=2)
    padded = np.pad(valley, ((0, 0), (1, 1)), constant_values=np.inf)
    bottom = (valley <= padded[:, :-2]) & (valley <= padded[:, 2:])
    order = np.argsort(np.where(bottom, valley, valley + valley.max(axis=1, keepdims=True)), axis=1)[:, :starts]
    cell = order * TRANSITION_GRID.size + np.take_along_axis(at, order, axis=1)
    chosen = [np.take_along_axis(values, cell, axis=1) for values in (r, log_f, np.broadcast_to(beta, r.shape), e)]
    theta = np.stack([np.log(np.maximum(chosen[0], 1e-9)), chosen[1], np.log(chosen[2])], axis=-1)
    theta = np.concatenate([theta, chosen[3][..., None]], axis=-1)
    return np.clip(theta, target.lower[:, None], target.upper[:, None])


def levenberg_marquardt(points: Points, target: Target, theta: Floats) -> tuple[Floats, Floats]:
    """Projected Levenberg-Marquardt on every row at once; converged rows stay as they are and leave the batch.

    So a row ends in the same place whatever else is in the batch.
    """
    theta = theta.copy()
    final = np.empty(len(theta))
    rows = np.arange(len(theta))
    going = np.ones(len(theta), dtype=bool)
    damping = np.full(len(theta), 1e-3)
    at = theta
    value, gradient, curvature = expand(points, target, at)
    for _ in range(ITERATIONS):
        outward = ((at <= target.lower) & (gradient > 0)) | ((at >= target.upper) & (gradient < 0))
        free = ~outward
        system = curvature * (free[:, :, None] & free[:, None, :])
        diagonal = np.einsum("nii->ni", system)
        diagonal += damping[:, None] * diagonal + np.where(free, 1e-12, 1.0)
        step = np.linalg.solve(system, np.where(free, -gradient, 0.0)[..., None])[..., 0]
        trial = np.clip(at + step, target.lower, target.upper)
        new_value, new_gradient, new_curvature = expand(points, target, trial)
        better = going & (new_value < value)
        small = np.abs(value - new_value) <= TOLERANCE * value + 1e-18
        at = np.where(better[:, None], trial, at)
        gradient = np.where(better[:, None], new_gradient, gradient)
        curvature = np.where(better[:, None, None], new_curvature, curvature)
        value = np.where(better, new_value, value)
        damping = np.where(better, np.maximum(damping / 5, 1e-9), damping * 4)
        going = going & ~(small | (damping > 1e8))
        theta[rows], final[rows] = at, value
        if not going.any():
            break
        if going.mean() < 0.8:
            rows, at, value, damping = rows[going], at[going], value[going], damping[going]
            gradient, curvature = gradient[going], curvature[going]
            points, target = points.of(going), target.of(going)
            going = going[going]
    return theta, final


def expand(points: Points, target: Target, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Value (N,), gradient (N, 4) and Gauss-Newton curvature (N, 4, 4) of the target."""
    fitted, jacobian = log_law_jacobian(theta, points.x, points.center)
    residual = (fitted - points.y) * points.seen
    off = theta - target.mean
    value = rho(residual, target.f_scale).sum(1) / target.scale**2 + 0.5 * (target.precision * off**2).sum(1)
    weight = points.seen / target.scale[:, None]
    residual = residual / target.scale[:, None]
    if target.f_scale is not None:
        bend = (1 + (residual * target.scale[:, None] / target.f_scale) ** 2) ** -0.25
        residual, weight = residual * bend, weight * bend
    jacobian *= weight[:, None]
    gradient = (jacobian @ residual[..., None])[..., 0] + target.precision * off
    curvature = jacobian @ jacobian.swapaxes(1, 2)
    np.einsum("nii->ni", curvature)[...] += target.precision
    return value, gradient, curvature
