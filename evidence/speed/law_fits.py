"""Time of a law's fit: one curve after another by BFGS against all curves at once."""

from __future__ import annotations

import time

import numpy as np
from scipy.optimize import minimize

from lensllm.arrays import Floats
from lensllm.laws import RectifiedLaw

BFGS_STARTS = 10
BFGS_CURVES = 3
MANY = (1_000, 10_000)


def bfgs_rectified(sizes: Floats, losses: Floats, seed: int = 0) -> Floats:
    """The rectified law the plain way: BFGS from random starts on the mean squared log residual, one curve.

    Lin et al. 2024 fit log L(D) by BFGS with repeated starts and keep the best; parameters (log B, log D_l, log beta,
    log E).
    """
    rng = np.random.default_rng(seed)
    x, y = np.log(sizes), np.log(losses)

    def objective(p: Floats) -> float:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            fitted = np.log(np.exp(p[0]) / (np.exp(p[1]) + np.exp(np.exp(p[2]) * x)) + np.exp(p[3]))
        value = float(np.mean((fitted - y) ** 2))
        return value if np.isfinite(value) else 1e6

    fits = [
        minimize(objective, [rng.uniform(0, 6), rng.uniform(0, 6), rng.uniform(-2, 0), rng.uniform(-2, 0)])
        for _ in range(BFGS_STARTS)
    ]
    return np.asarray(min(fits, key=lambda fit: fit.fun).x)


def speed(sizes: Floats, losses: Floats) -> dict[str, float]:
    """CPU seconds a curve, fit by BFGS and fit with posterior in one batch, their ratio, and seconds for many curves.

    Args:
        sizes: shape (S,).
        losses: shape (N, S); BFGS gets three curves spread over them, the batch all.
    """
    rows = np.linspace(0, len(losses) - 1, BFGS_CURVES).astype(int)
    begin = time.process_time()
    for row in rows:
        bfgs_rectified(sizes, losses[row])
    bfgs = (time.process_time() - begin) / len(rows)
    batch = min(_fit_and_sample(sizes, losses) for _ in range(3)) / len(losses)
    result = {"bfgs_seconds": bfgs, "batch_seconds": batch, "ratio": bfgs / batch}
    rng = np.random.default_rng(0)
    for many in MANY:
        copies = losses[rng.integers(0, len(losses), many)] * np.exp(0.002 * rng.standard_normal((many, sizes.size)))
        begin = time.process_time()
        np.argsort(RectifiedLaw().fit(sizes, copies).predict([2 * sizes[-1]])[:, 0])
        result[f"fit_and_rank_{many}_seconds"] = time.process_time() - begin
    return result


def _fit_and_sample(sizes: Floats, losses: Floats) -> float:
    begin = time.process_time()
    RectifiedLaw().fit(sizes, losses).sample_params(256)
    return time.process_time() - begin
