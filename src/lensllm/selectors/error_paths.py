"""Forecast errors as paths over sizes: how wrong a forecast is at one size tells how wrong it is at the others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import hyp2f1

from lensllm.arrays import Floats
from lensllm.forecast import Errors, Rows, stream
from lensllm.selectors.error_scale import ErrorScale, Hindcast

NO_SLOPE_SD = 0.03
"""Per doubling, of the slope of a candidate that has none yet: the spread of slopes within a pool is about that."""
READING_SD = 0.005
"""Of the log loss that a forecast starts from: between seeds it is 0.003 on texts to 0.03 on labels, and the hindcasts
that the other scales come from start from readings, too."""
HALF = 0.5
"""Mean square of min(v, 0) of a standard normal v."""
NUGGET = 1e-12
"""Relative, added to covariances: sizes that are nearly the same are told apart no further than that."""
REMEMBERED = 2_500
"""Candidates whose normal draws are kept, 24 kB each: those of a decision are wanted again by the next."""
COMMON_STREAM, SCALE_STREAM, PATH_STREAM, TARGET_STREAM = range(4)


def path_covariance(s: Floats, t: Floats, hurst: float) -> Floats:
    """Covariance at s and t of X(n) = sqrt(2H) int_0^n (n - u)^(H - 1/2) dB(u), a Riemann-Liouville path.

    With s <= t it is 2H / (H + 1/2) t^(H - 1/2) s^(H + 1/2) F(1/2 - H, 1; H + 3/2; s / t), F the hypergeometric
    function. The variance at n is n^(2H), and given the path up to s the variance left at t is (t - s)^(2H).

    Example:
        >>> path_covariance(np.array([1.0, 4.0]), np.array([2.0, 4.0]), 0.5).tolist()  # Brownian motion: min(s, t)
        [1.0, 4.0]
    """
    low, high = np.minimum(s, t), np.maximum(s, t)
    ratio = np.divide(low, high, out=np.zeros_like(high), where=high > 0)
    powers = high ** (2 * hurst) * ratio ** (hurst + 0.5)
    return np.asarray(2 * hurst / (hurst + 0.5) * powers * hyp2f1(0.5 - hurst, 1.0, hurst + 1.5, ratio))


@lru_cache(maxsize=512)
def _root(doublings: tuple[float, ...], hurst: float) -> Floats:
    """Cholesky root of the path's covariance at these numbers of doublings above 0, in this order."""
    n = np.array(doublings)
    scale = n**hurst
    correlation = path_covariance(n[:, None], n[None], hurst) / (scale[:, None] * scale)
    return np.asarray(scale[:, None] * np.linalg.cholesky(correlation + NUGGET * np.eye(n.size)))


@lru_cache(maxsize=REMEMBERED)
def _target_normals(seed: int, name: str, draws: int) -> NDArray[np.float32]:
    """Standard normals of a candidate: its path at the target; reading and slope; a fall that goes on; (3, draws)."""
    return stream(seed, TARGET_STREAM, name).standard_normal((3, draws), dtype=np.float32)


class Paths:
    """Riemann-Liouville paths of candidates over the doublings beyond what was measured, and other normals of theirs.

    Draws are keyed by the seed and the candidate's name; a path is drawn at the target first and elsewhere given that,
    so that no draw at the target depends on other sizes.

    Args:
        seed: of all draws.
        names: of candidates, K of them.
        ahead: doublings at each size, shape (S, K), 0 or more.
        target: position of the target among the sizes.
        hurst: H of the paths, whose standard deviation at n doublings is n^H.
        draws: number of possible worlds.
    """

    def __init__(self, seed: int, names: tuple[str, ...], ahead: Floats, target: int, hurst: float, draws: int) -> None:
        self.seed, self.names, self.ahead, self.target = seed, names, ahead, target
        self.hurst, self.draws = hurst, draws

    def normals(self, rows: Rows, count: int) -> Floats:
        """Three standard normals a draw of each of these candidates, shape (3, count, len(rows))."""
        every = [_target_normals(self.seed, self.names[k], self.draws)[:, :count] for k in rows]
        return np.stack(every, axis=-1)

    def at(self, rows: Rows, at: Rows, at_target: Floats) -> Floats:
        """X at these sizes, shape (draws, len(at), len(rows)), given the normals at the target (draws, len(rows))."""
        if len(at) == 1 and at[0] == self.target:
            return np.asarray((at_target * self.ahead[self.target, rows] ** self.hurst)[:, None])
        return self._everywhere(rows, at_target)[:, at]

    def _everywhere(self, rows: Rows, at_target: Floats) -> Floats:
        """X at every size, shape (draws, S, len(rows))."""
        draws = len(at_target)
        paths = np.zeros((draws, len(self.ahead), len(rows)))
        groups, of = np.unique(self.ahead[:, rows], axis=1, return_inverse=True)
        for group, ahead in enumerate(groups.T):
            mine = np.flatnonzero(of.ravel() == group)
            sizes = np.flatnonzero(ahead > 0)
            first = sizes == self.target
            order = np.concatenate([sizes[first], sizes[~first]])
            normals = np.empty((draws, order.size, mine.size))
            for column, k in enumerate(rows[mine]):
                rest = stream(self.seed, PATH_STREAM, self.names[k])
                normals[:, int(first.any()) :, column] = rest.standard_normal((draws, int((~first).sum())))
            if first.any():
                normals[:, 0] = at_target[:, mine]
            if order.size:
                paths[:, order[:, None], mine] = _times(_root(tuple(ahead[order]), self.hurst), normals)
                paths[:, self.target, mine] = at_target[:, mine] * ahead[self.target] ** self.hurst
        return paths


class GrowingErrors(Errors):
    """The errors of the default forecast, n doublings beyond a candidate's last measured size:

        common[n]    = c z n^1.5                                   one z a draw for all candidates
        candidate[n] = o X(n) + 0.03 n w (without a slope) + 0.005 w      X a path with H = 1.1; 0 where n = 0
                       + e n min(v, 0)                             e how much faster than is believed it still falls

    The scales c and o of a draw come from `ErrorScale.draw`.

    Args:
        candidates: names, K of them.
        doublings_ahead: n at each size, shape (S, K).
        target: position of the target among the sizes.
        sloped: which candidates have a slope, shape (K,).
        hindcast: of the task.
        common: prior of the common scale.
        candidate_error: prior of the candidates' own scale.
        draws: number of possible worlds.
        seed: of all draws.
        steepness: e, shape (K,); 0 if None. A fall that has not flattened may go on, so this error is downwards only.
    """

    def __init__(
        self,
        candidates: tuple[str, ...],
        doublings_ahead: Floats,
        target: int,
        sloped: np.ndarray,
        hindcast: Hindcast,
        common: ErrorScale,
        candidate_error: ErrorScale,
        draws: int,
        seed: int,
        steepness: Floats | None = None,
    ) -> None:
        self.draws = draws
        self._ahead = np.nan_to_num(doublings_ahead)
        self._common_exponent = common.exponent
        self._paths = Paths(seed, candidates, self._ahead, target, candidate_error.exponent, draws)
        rng, count = stream(seed, SCALE_STREAM), hindcast.origins
        rivals = max(int(np.isfinite(doublings_ahead[target]).sum()), 1)
        self._common_scale = common.draw(hindcast.common, count, draws, rng)
        self._scale = candidate_error.draw(hindcast.candidate_error, count * (1 - 1 / rivals), draws, rng)
        self._common_z = stream(seed, COMMON_STREAM).standard_normal(draws)
        self._slope_sd = np.where(sloped, 0.0, NO_SLOPE_SD)
        self._falling = self._ahead * (np.zeros(len(candidates)) if steepness is None else steepness)
        still = np.hypot(self._still(np.arange(len(candidates))), np.sqrt(HALF) * self._falling)
        self.sd = np.hypot(np.median(self._scale) * self._ahead**candidate_error.exponent, still)

    def _still(self, rows: Rows) -> Floats:
        """Standard deviation of what one normal a draw brings to all sizes of a candidate, shape (S, len(rows)).

        Reading and slope add as independent ones would at every size.
        """
        ahead = self._ahead[:, rows]
        return np.where(ahead > 0, np.hypot(self._slope_sd[rows] * ahead, READING_SD), 0.0)

    def common(self, rows: Rows, at: Rows) -> Floats:
        """One normal a draw times its scale and n^1.5."""
        grown = self._ahead[np.ix_(at, rows)] ** self._common_exponent
        return np.asarray((self._common_scale * self._common_z)[:, None, None] * grown)

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """Path times scale, the errors of reading and slope, and falls that go on."""
        count = min(draws or self.draws, self.draws)
        if not len(rows):
            return np.zeros((count, len(at), 0))
        normals = self._paths.normals(rows, count)
        path = self._paths.at(rows, at, normals[0])
        drawn = self._scale[:count, None, None] * path + self._still(rows)[at] * normals[1][:, None]
        falling = self._falling[np.ix_(at, rows)]
        return np.asarray(drawn + falling * np.minimum(normals[2], 0.0)[:, None] if falling.any() else drawn)


def _times(root: Floats, normals: Floats) -> Floats:
    """A lower triangular matrix (S, S) times normals (draws, S, K), shape (draws, S, K).

    Summed size by size: a matrix product rounds otherwise for other numbers of candidates.
    """
    total = np.zeros_like(normals)
    for column in range(len(root)):
        total[:, column:] += root[column:, column][:, None] * normals[:, column][:, None]
    return total
