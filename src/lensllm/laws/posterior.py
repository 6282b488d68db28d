"""Joint posterior samples of a law's parameters, for many curves at once.

Given (F, beta) and the noise variance the law is linear in (R, E), up to terms of the order of the noise squared
(relative residuals in the place of log residuals). So R and E are integrated out in closed form and only (log F, log
beta, log variance) are sampled: by importance from a t distribution around the fit, moved once to the mean and
covariance that it finds, then resampled (Rubin 1988). The prior is flat on R > 0 and on E >= 0, and flat within the
bounds on log F and log beta, unless the law has normal priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from lensllm.arrays import Floats
from lensllm.laws.fit import BETA, LOWER, UPPER, E, F, Points, R, Target

DEGREES = 4
PROPOSALS_PER_DRAW = (1, 2)
WIDEN = 1.3


@dataclass(frozen=True)
class Linear:
    """Conditional normal of (R, E) for every proposal, all arrays (N, M): means, the precision's first row, sd of E."""

    r: Floats
    e: Floats
    p11: Floats
    p12: Floats
    e_sd: Floats
    log_evidence: Floats


def resample(
    points: Points,
    target: Target,
    theta: Floats,
    covariance: Floats,
    noise_prior: tuple[float, float],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Posterior samples of theta, shape (draws, N, 4).

    Args:
        points: the scaled curves; `seen` may carry weights below 1.
        target: bounds, prior and, in `scale`, the fitted noise.
        theta: the fit, shape (N, 4).
        covariance: of theta at the fit, shape (N, 4, 4), zero where a parameter is not free.
        noise_prior: degrees and scale of the scaled inverse chi-squared prior of the noise variance.
        draws: number of samples.
        rng: source of randomness.
    """
    n = len(theta)
    center, spread = theta[:, [F, BETA]], covariance[:, [F, BETA]][:, :, [F, BETA]]
    known = np.einsum("nii->ni", spread) == 0
    for per_draw in PROPOSALS_PER_DRAW:
        m = per_draw * draws
        root = np.linalg.cholesky(spread + np.eye(2) * np.where(known, 1.0, 1e-12)[:, None])
        z = rng.standard_normal((n, m, 2)) * ~known[:, None]
        stretch = DEGREES / rng.chisquare(DEGREES, (n, m, 1))
        proposal = center[:, None] + np.sqrt(stretch) * (z @ root.swapaxes(1, 2))
        free = (~known).sum(1)[:, None]
        log_weight = 0.5 * (DEGREES + free) * np.log1p((stretch * z**2).sum(-1) / DEGREES)
        variance, log_noise = _variance(points, target, noise_prior, m, rng)
        low, high = target.lower[:, None, [F, BETA]], target.upper[:, None, [F, BETA]]
        inside = ((proposal >= low) & (proposal <= high)).all(-1)
        proposal = np.clip(proposal, low, high)
        linear = _linear(points, target, proposal, variance)
        off = (proposal - target.mean[:, None, [F, BETA]]) ** 2
        log_weight += linear.log_evidence + log_noise - 0.5 * (target.precision[:, None, [F, BETA]] * off).sum(-1)
        log_weight[~inside] = -1e300
        weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        center = np.where(known, center, (weight[..., None] * proposal).sum(1))
        off = (proposal - center[:, None]) * ~known[:, None]
        spread = WIDEN * (off * weight[..., None]).swapaxes(1, 2) @ off
    pick = _systematic(weight, draws, rng)
    r, e, p11, p12, e_sd = (
        np.take_along_axis(array, pick, 1) for array in (linear.r, linear.e, linear.p11, linear.p12, linear.e_sd)
    )
    below = ndtr(-e / e_sd)
    floor = np.maximum(e + e_sd * ndtri(np.clip(below + rng.random(e.shape) * (1 - below), 1e-15, 1 - 1e-15)), 0.0)
    reducible = r - p12 / p11 * (floor - e) + rng.standard_normal(e.shape) / np.sqrt(p11)
    f, beta = (np.take_along_axis(proposal[..., i], pick, 1) for i in range(2))
    return np.stack([np.log(np.clip(reducible, *np.exp([LOWER[R], UPPER[R]]))), f, beta, floor], axis=-1).swapaxes(0, 1)


def _variance(
    points: Points, target: Target, noise_prior: tuple[float, float], m: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Proposed noise variances, shape (N, m), and the log of their prior over their proposal density."""
    degrees, scale = noise_prior
    fitted = degrees + np.maximum(points.seen.sum(1) - 4, 1)[:, None]
    square = target.scale[:, None] ** 2
    variance = fitted * square / rng.chisquare(np.broadcast_to(fitted, (len(fitted), m)))
    log_ratio = 0.5 * ((fitted - degrees) * np.log(variance) + (fitted * square - degrees * scale**2) / variance)
    return variance, log_ratio


def _linear(points: Points, target: Target, proposal: Floats, variance: Floats) -> Linear:
    """Normal of (R, E) given (F, beta), and the evidence with both integrated out, E over E >= 0."""
    f, beta = np.exp(proposal[..., :1]), np.exp(proposal[..., 1:])
    weight = points.seen * np.exp(-points.y)
    a = (f + np.exp(beta * points.center[:, None, None])) / (f + np.exp(beta * points.x[:, None])) * weight[:, None]
    aa = np.einsum("nms,nms->nm", a, a)
    ab, ay = np.moveaxis(a @ np.stack([weight, points.seen], axis=-1), -1, 0)
    bb, by, yy = (np.einsum("ns,ns->n", *pair)[:, None] for pair in
                  ((weight, weight), (weight, points.seen), (points.seen, points.seen)))  # fmt: skip
    prior, floor = target.precision[:, E, None], target.mean[:, E, None]
    p11, p12, p22 = aa / variance, ab / variance, bb / variance + prior
    h1, h2 = ay / variance, by / variance + prior * floor
    determinant = np.maximum(p11 * p22 - p12**2, 1e-14 * p11 * p22)
    r, e = (h1 * p22 - h2 * p12) / determinant, (h2 * p11 - h1 * p12) / determinant
    e_sd = np.sqrt(p11 / determinant)
    misfit = yy / variance + prior * floor**2 - h1 * r - h2 * e
    evidence = -0.5 * (points.seen.sum(1)[:, None] * np.log(variance) + misfit + np.log(determinant))
    evidence += log_ndtr(e / e_sd)
    possible = (r > 0) & (r < np.exp(target.upper[:, R, None]))
    return Linear(r, e, p11, p12, e_sd, np.where(possible, evidence, -1e300))


def _systematic(weight: Floats, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Positions drawn with these weights by systematic resampling, in random order, shape (N, draws)."""
    cumulative = np.cumsum(weight, axis=1)
    levels = (rng.random((len(weight), 1)) + np.arange(draws)) / draws * cumulative[:, -1:]
    last = weight.shape[1] - 1
    return np.stack(
        [rng.permutation(np.searchsorted(*pair).clip(max=last)) for pair in zip(cumulative, levels, strict=True)]
    )
