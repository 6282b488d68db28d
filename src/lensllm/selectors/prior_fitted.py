"""The default selector: growing slopes and the law for the means, a network fitted to a prior for what is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.prior.kinds import KIND_INPUTS
from lensllm.selectors.base import Selector
from lensllm.selectors.error_paths import GrowingErrors
from lensllm.selectors.growing_slopes import GrowingSlopes
from lensllm.selectors.growth import floor_at_pool_median, not_above_last
from lensllm.selectors.log_curves import LogCurves
from lensllm.selectors.prior_errors import PriorErrors
from lensllm.selectors.prior_prediction import predict_pool
from lensllm.selectors.slopes import Slopes


class PriorFitted(Selector):
    """Growing slopes, and beside them a network that was fitted to nothing but simulated pools of curves.

    What all candidates do together is forecast by `GrowingSlopes`. What each does beside the others is 3/4 its and
    1/4 the networks', and how wrong that can be the networks say alone (`PriorErrors`): they read from how rough, how
    far apart and how short the curves are what the slopes' own past cannot tell. The prior is in `lensllm.prior`.
    With a single measured candidate there is nothing beside which it does something: the slopes' forecast then.

    Args:
        slopes: makes the means; `GrowingSlopes` if None.
        own_weight: of the networks in what each candidate does beside the others; the slopes have the rest.
        common_weight: of the networks in what all do.
        kind: of the pool, one of `lensllm.prior.KIND_INPUTS`; empty where it is not known.

    Raises:
        ValueError: if the kind is unknown.

    >>> curves = Curves(("small", "large"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.65, 1.49, 1.35]])
    >>> forecast = PriorFitted().forecast(curves, 1600)
    >>> forecast.best, forecast.mean.round(2).tolist(), forecast.p_best.round(1).tolist()
    ('large', [1.14, 1.08], [0.0, 1.0])
    """

    name = "prior_fitted"

    def __init__(
        self,
        slopes: GrowingSlopes | None = None,
        own_weight: float = 0.25,
        common_weight: float = 0.0,
        kind: str = "",
    ) -> None:
        self.slopes = slopes or GrowingSlopes()
        self.own_weight = own_weight
        self.common_weight = common_weight
        if kind and kind not in KIND_INPUTS:
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KIND_INPUTS)}")
        self.kind = KIND_INPUTS.index(kind) if kind else -1

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """The slopes' forecast drawn to the network's, with the network's errors."""
        point = self.slopes.point_forecast(curves, target_size, sizes)
        logs = LogCurves.of(curves)
        if np.isfinite(logs.y).any(axis=1).sum() < 2:
            return self.slopes.with_errors(point)
        prediction = predict_pool(curves, point.sizes, self.kind)
        move = np.where(prediction.known, point.log_means - prediction.last, 0.0)
        common = np.median(move[:, prediction.known], axis=1, keepdims=True)
        all_do = prediction.common - common * prediction.further
        drawn = self.own_weight * (prediction.own - (move - common)) + self.common_weight * all_do
        means = point.log_means + np.where(prediction.further > 0, drawn, 0.0)
        x, slopes = np.log2(point.sizes), Slopes.of(logs)
        means = floor_at_pool_median(not_above_last(means.T, logs, x, slopes), logs, x, slopes).T
        made = self.slopes.with_errors(replace(point, log_means=means))
        assert isinstance(made.errors, GrowingErrors)
        places = (-self.common_weight * all_do, (1 - self.common_weight) * all_do)
        return replace(made, errors=PriorErrors(made.errors, point, prediction, places, self.slopes.seed))
