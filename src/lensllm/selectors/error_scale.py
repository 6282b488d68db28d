"""How large forecast errors are: a prior, and what the task's own past says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats

DOMINATES = 4.0
"""Of a candidate's mean square over the median one: twice the usual error."""
MORE_DEGREES = 1
"""Lighter tails than the posterior's own, so that the expected regret exists without any hindcast."""


@dataclass(frozen=True)
class ErrorScale:
    """Standard deviation of one part of the log forecast error, n doublings ahead: inflation * sd * n^exponent.

    Attributes:
        sd: per doubling, before anything is known of the task.
        degrees: how many hindcasts the prior is worth (scaled inverse chi-squared).
        exponent: growth with the number of doublings ahead.
        inflation: factor at which 90 % intervals hold 90 % of the truths (evidence/accuracy/calibration.py).
    """

    sd: float
    degrees: float
    exponent: float
    inflation: float = 1.0

    def draw(self, mean_square: float, count: float, draws: int, rng: np.random.Generator) -> Floats:
        """Posterior draws of the scale, shape (draws,), after `count` hindcasts with this mean square per doubling.

        With v degrees and squared scale s^2 of the prior, c hindcasts of mean square m and d = v + c + 1:
        inflation sqrt((v s^2 + c m) / (v + c) d / chi2_d).
        """
        square = (self.degrees * self.sd**2 + count * mean_square) / (self.degrees + count)
        tail = self.degrees + count + MORE_DEGREES
        return np.asarray(self.inflation * np.sqrt(square * tail / rng.chisquare(tail, draws)))


COMMON = ErrorScale(sd=0.0154, degrees=2.0, exponent=1.5, inflation=0.57)
"""From the published curves and the design tasks of our own together (`error_scales` in evidence/accuracy/own.json).
The exponent is that of a slope that drifts at random; two degrees, because tasks differ much in their scale."""
CANDIDATE = ErrorScale(sd=0.0392, degrees=2.0, exponent=1.1, inflation=0.51)
"""Of each candidate's own error, found in the same way; 1.1 is what its errors grow with on the published curves."""


@dataclass(frozen=True)
class Hindcast:
    """Mean squares per doubling of the common and the candidates' own errors of a task's past, from so many origins."""

    common: float
    candidate_error: float
    origins: int


def shared_square(squares: Floats) -> float:
    """Mean square of candidates' own errors that no single candidate sets, from `squares` (hindcasts, K), NaN unknown.

    Each candidate's mean square counts up to `DOMINATES` times the median of them all. Deviations from a middle that
    was taken from the same n candidates are n - 1 independent ones.
    """
    seen = np.isfinite(squares)
    count = seen.sum(axis=0)
    spare = float(np.maximum(seen.sum(axis=1) - 1, 0).sum())
    each = np.where(seen, squares, 0.0).sum(axis=0) / np.maximum(count, 1)
    known = count > 0
    if not known.any() or not spare:
        return 0.0
    limited = np.minimum(each, DOMINATES * np.median(each[known]))
    return float(limited @ count / spare)
