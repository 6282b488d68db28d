"""Errors of the default forecast: what a network fitted to the prior says, and what the slopes' own past says."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lensllm.arrays import Floats
from lensllm.forecast import MEDIAN_TO_SD, Errors, Rows, stream
from lensllm.prior.network import DEGREES
from lensllm.selectors.error_paths import REMEMBERED, GrowingErrors, Paths
from lensllm.selectors.error_scale import CANDIDATE
from lensllm.selectors.growing_slopes import PointForecast
from lensllm.selectors.prior_prediction import PriorPrediction

HURST = CANDIDATE.exponent
"""Of the paths that errors follow between sizes: as the slopes' own errors grow."""
HALF = 0.5
HALVINGS = 14
"""Of the range in which a median lies: it is then known to a part in 16,000 of that."""
TAIL_STREAM, POOL_STREAM = 5, 6
"""Of random numbers, after those of `error_paths` and `lensllm.forecast`."""


@lru_cache(maxsize=REMEMBERED)
def _tails(seed: int, name: str, draws: int) -> NDArray[np.float32]:
    """`_heavy` of a candidate."""
    return _heavy(stream(seed, TAIL_STREAM, name), draws).astype(np.float32)


def _heavy(rng: np.random.Generator, draws: int) -> Floats:
    """What makes normals Student's t of 4 degrees: sqrt(4 / chi2_4), shape (draws,)."""
    return np.asarray(np.sqrt(DEGREES / rng.chisquare(DEGREES, draws)))


def _typical(weight: Floats, place: Floats, scale: Floats) -> Floats:
    """Median absolute deviation of mixtures of Student's t of 4 degrees from their medians, shape (S, K).

    With u = x / sqrt(4 + x^2) such a t is below x with probability 1/2 + u (3 - u^2) / 4.
    """

    def below(x: Floats) -> Floats:
        t = np.divide(x[:, :, None] - place, scale, out=np.zeros_like(place), where=scale > 0)
        u = t / np.sqrt(4 + t**2)
        return np.asarray(0.5 + (weight * u * (3 - u**2) / 4).sum(axis=2))

    reach = (np.abs(place) + 2 * scale).max(axis=2)
    middle = _crossing(below, -reach, reach)
    return _crossing(lambda x: below(middle + x) - below(middle - x), np.zeros_like(reach), 2 * reach)


def _crossing(rising: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Where rising functions reach 1/2, by bisection."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        under = rising(middle) < HALF
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return high


class PriorErrors(Errors):
    """Each candidate's own error is a mixture of three Student's t at every size; half of the worlds share another.

    At n doublings beyond what was measured of candidate k, in a draw with standard normals u and z(n) of its own, where
    z(n) = X(n) / n^1.1 is a path (`error_paths.path_covariance`) and t = sqrt(4 / chi2_4):

        own[n, k] = place_c + scale_c z(n) t,     c the part that u falls in

    In every other draw the common error is the slopes' (`GrowingErrors`), in the rest

        common[n, k] = place + scale z t          one z and t a draw for all candidates.

    Args:
        grown: errors of the slopes.
        point: what they are errors of, sizes and candidates.
        prediction: what the networks say.
        places: of the common error beside the point forecast, of the slopes' worlds and of the network's, both (S, K).
        seed: of all draws.
    """

    def __init__(
        self,
        grown: GrowingErrors,
        point: PointForecast,
        prediction: PriorPrediction,
        places: tuple[Floats, Floats],
        seed: int,
    ) -> None:
        self.draws = grown.draws
        self._grown, self._prediction, self._places = grown, prediction, places
        self._names, self._seed = point.candidates, seed
        ahead = np.where(prediction.further > 0, np.nan_to_num(point.doublings_ahead), 0.0)
        target = int(np.flatnonzero(point.sizes == point.target_size)[0])
        self._paths = Paths(seed, point.candidates, ahead, target, HURST, self.draws)
        self._edges = ndtri(np.clip(np.cumsum(prediction.weight, axis=2)[:, :, :-1], 0.0, 1.0))
        rng = stream(seed, POOL_STREAM)
        self._shared = rng.standard_normal(self.draws) * _heavy(rng, self.draws)
        self.sd = np.where(
            prediction.known, MEDIAN_TO_SD * _typical(prediction.weight, prediction.place, prediction.scale), grown.sd
        )

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """The part that u falls in, moved along its path."""
        count = min(draws or self.draws, self.draws)
        drawn = np.zeros((count, len(at), len(rows)))
        said = self._prediction.known[rows]
        if not said.all():
            drawn[:, :, ~said] = self._grown.own(rows[~said], at, draws)
        if not said.any():
            return drawn
        mine = rows[said]
        normals = self._paths.normals(mine, count)
        tails = np.stack([_tails(self._seed, self._names[k], self.draws)[:count] for k in mine], axis=-1)
        ahead = self._paths.ahead[np.ix_(at, mine)]
        spread = np.divide(1.0, ahead**HURST, out=np.zeros_like(ahead), where=ahead > 0)
        t = self._paths.at(mine, at, normals[0]) * spread * tails[:, None]
        edges = self._edges[np.ix_(at, mine)]
        found = np.zeros_like(t)
        for part in range(self._prediction.weight.shape[2]):
            low = edges[:, :, part - 1] if part else np.full(ahead.shape, -np.inf)
            high = edges[:, :, part] if part < edges.shape[2] else np.full(ahead.shape, np.inf)
            inside = (normals[1][:, None] > low) & (normals[1][:, None] <= high)
            place, scale = (v[np.ix_(at, mine)][:, :, part] for v in (self._prediction.place, self._prediction.scale))
            np.copyto(found, place + scale * t, where=inside)
        drawn[:, :, said] = found
        return drawn

    @property
    def along_paths(self) -> Errors:
        """The slopes': the networks say how wrong each size can be, not how one goes with another."""
        return self._grown

    def common(self, rows: Rows, at: Rows) -> Floats:
        """The slopes' in every other draw, the network's in the rest."""
        both = self._grown.common(rows, at)
        said = np.flatnonzero(self._prediction.known[rows])
        of = np.ix_(at, rows[said])
        slopes, network = self._places[0][of], self._places[1][of]
        both[::2, :, said] += slopes
        both[1::2, :, said] = network + self._prediction.common_scale[of] * self._shared[1::2, None, None]
        return both
