"""The error scales of the default selector: how they are found, and how they do on a task they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evidence.accuracy.metrics import coverage
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.selectors.error_scale import CANDIDATE, COMMON, ErrorScale
from lensllm.selectors.growing_slopes import HINDCAST_POINTS, GrowingSlopes, PointForecast
from lensllm.selectors.log_curves import LogCurves

LEVEL = 0.9
DRAWS = 600
STEPS = 12
RANGE = (0.2, 3.0)


@dataclass(frozen=True)
class Case:
    """One setting of one task: the point forecast and the true final log losses."""

    task: str
    point: PointForecast
    truth: Floats


@dataclass(frozen=True)
class PastErrors:
    """Root mean squares per doubling of a task's common and own errors, over every origin and horizon."""

    common: float
    own: float


def past_errors(curves: Curves, selector: GrowingSlopes) -> PastErrors:
    """Forecast every size from every smaller one that has three points and compare."""
    logs = LogCurves.of(curves)
    common, own = [], []
    for columns in range(HINDCAST_POINTS, logs.x.size):
        errors = selector.log_losses(logs.up_to(columns), logs.x[columns:]) - logs.y[:, columns:]
        ahead = logs.x[columns:] - logs.x[columns - 1]
        common += list(errors.mean(axis=0) / ahead**selector.common.exponent)
        own += list(errors.std(axis=0, ddof=1) / ahead**selector.candidate_error.exponent)
    return PastErrors(float(np.sqrt(np.mean(np.square(common)))), float(np.sqrt(np.mean(np.square(own)))))


def scales(
    tasks: Sequence[str],
    past: dict[str, PastErrors],
    inflation: tuple[float, float] = (1.0, 1.0),
) -> tuple[ErrorScale, ErrorScale]:
    """Common and own scale from these tasks: root mean square over the tasks."""
    common = float(np.sqrt(np.mean([past[task].common ** 2 for task in tasks])))
    own = float(np.sqrt(np.mean([past[task].own ** 2 for task in tasks])))
    return replace(COMMON, sd=common, inflation=inflation[0]), replace(CANDIDATE, sd=own, inflation=inflation[1])


def calibrate(
    tasks: Sequence[str], past: dict[str, PastErrors], cases: Sequence[Case]
) -> tuple[ErrorScale, ErrorScale]:
    """Scales whose 90 % intervals hold 90 % of the truths of these tasks, each forecast without its own past errors.

    First the own error is inflated until the deviations from the pool's mean are covered, then the common error until
    the losses are.
    """
    own = _solve(lambda s: _covered(tasks, past, cases, (1.0, s), centred=True))
    common = _solve(lambda s: _covered(tasks, past, cases, (s, own), centred=False))
    return scales(tasks, past, (common, own))


def _covered(
    tasks: Sequence[str],
    past: dict[str, PastErrors],
    cases: Sequence[Case],
    inflation: tuple[float, float],
    centred: bool,
) -> float:
    by_task = []
    for task in tasks:
        covered = []
        common, own = scales([other for other in tasks if other != task] or tasks, past, inflation)
        selector = GrowingSlopes(common=common, candidate_error=own, draws=DRAWS)
        for case in cases:
            if case.task == task:
                samples, truth = np.log(selector.with_errors(case.point).samples), case.truth
                if centred:
                    samples, truth = samples - samples.mean(axis=1, keepdims=True), truth - truth.mean()
                covered.append(coverage(samples, truth, LEVEL))
        by_task.append(np.mean(covered))
    return float(np.mean(by_task))


def _solve(covered: Callable[[float], float]) -> float:
    """The inflation at which the coverage reaches the level, by bisection of its logarithm."""
    low, high = np.log(RANGE[0]), np.log(RANGE[1])
    for _ in range(STEPS):
        middle = (low + high) / 2
        if covered(float(np.exp(middle))) < LEVEL:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
