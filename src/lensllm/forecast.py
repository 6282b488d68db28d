"""What a selector says: joint paths of the loss of every candidate over numbers of training examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError

Rows = NDArray[np.int_]

LARGEST_LOG = 300.0
"""Log errors are held within this, so that neither a sample nor its square over- or underflows (exp fails at 709)."""
MOST_DRAWN = 2000
"""P(best) is counted among so many candidates, the nearest to the best; with 100,000 all would take gigabytes."""
LEARN_DRAWS = 1000
"""Draws that correlations over sizes are read from: the share that readings explain is then known to 0.03."""
FURTHEST_OUT = 1.5
"""A draw whose errors are longer than so many times the expected length is scaled down to that, all its sizes alike,
where correlations are read: the scale of the error is itself drawn and has heavy tails."""
REFINEMENTS = 4
"""Of correlations: the first takes sizes for unrelated, a fifth would change explained shares by less than 0.002."""
NUGGET = 1e-6
"""Added to correlation matrices, so that sizes whose errors are one and the same can be in one."""
MEDIAN_TO_SD = 1 / float(ndtri(0.75))
"""Standard deviation of a normal over its median absolute deviation."""


class Errors(ABC):
    """Joint log errors of candidates over sizes, drawn where they are asked for.

    Attributes:
        draws: number of possible worlds.
        sd: typical size of each candidate's own error at each size, shape (S, K); 0 where the loss is known.
    """

    draws: int
    sd: Floats

    @abstractmethod
    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """Each candidate's own log errors, shape (draws, len(at), len(rows)), for positions of candidates and sizes.

        The first `draws` of them, or all. The same number for a draw, size and candidate, whatever else is asked for.
        """

    @abstractmethod
    def common(self, rows: Rows, at: Rows) -> Floats:
        """The log errors that one cause brings to all candidates, same shape."""


class DrawnErrors(Errors):
    """Log errors that are at hand as one array, shape (draws, S, K), all of them the candidates' own."""

    def __init__(self, own: Floats) -> None:
        self._own = own
        self.draws = len(own)
        middle = np.median(own, axis=0)
        self.sd = np.nan_to_num(MEDIAN_TO_SD * np.median(np.abs(own - middle), axis=0))

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """As drawn."""
        return self._own[:draws, at][:, :, rows]

    def common(self, rows: Rows, at: Rows) -> Floats:
        """None."""
        return np.zeros((self.draws, len(at), len(rows)))


@dataclass(frozen=True)
class Forecast:
    """Joint paths of the losses of K candidates over S numbers of training examples, one of which is the target.

    A draw is one possible world. In it the loss of candidate k at size s is

        L[s, k] = means[s, k] exp(own[s, k] + common[s, k]).

    The own errors make the ranking. The common one moves all candidates (measured as far) alike, so it changes loss
    intervals and comparisons with a loss that is known, such as that of a model which is not fine-tuned. What is said
    without a size (`mean`, `samples`, `p_best`, ...) is said of the target. Draws are made where they are needed and
    are the same each time. Candidates that are equal are ordered by name.

    Attributes:
        candidates: names, K of them.
        target_size: number of training examples the forecast is for, one of `sizes`.
        sizes: ascending, shape (S,).
        means: the point forecasts, shape (S, K), same unit as the losses; NaN where nothing can be said.
        errors: of them; None for a method without uncertainty, which has one draw.
        rows: position of each candidate in `errors`, -1 for a loss that is known, shape (K,).
        models: model of each candidate, shape (K,); its name unless said otherwise.
        methods: how each is tuned: "full", or "none" for a model that is used as it is, shape (K,).

    Example:
        >>> sure = Forecast.from_samples(("a", "b"), 800, [1.0, 1.2], [[0.9, 1.1], [1.1, 1.2], [1.2, 1.1]])
        >>> sure.best, sure.p_best.round(2).tolist(), sure.expected_regret.round(2).tolist()
        ('a', [0.67, 0.33], [0.03, 0.1])
    """

    candidates: tuple[str, ...]
    target_size: float
    sizes: Floats
    means: Floats
    errors: Errors | None = None
    rows: Rows = field(default_factory=lambda: np.zeros(0, dtype=int))
    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        k = len(self.candidates)
        object.__setattr__(self, "sizes", np.atleast_1d(np.asarray(self.sizes, dtype=float)))
        object.__setattr__(self, "means", np.asarray(self.means, dtype=float))
        if self.means.shape != (self.sizes.size, k):
            raise ValueError(f"expected means of shape {(self.sizes.size, k)} (sizes x candidates), {self.means.shape}")
        if not np.any(self.sizes == self.target_size):
            raise ValueError(f"the target size {self.target_size:g} is not among the sizes {self.sizes}")
        if not self.rows.size:
            object.__setattr__(self, "rows", np.full(k, -1) if self.errors is None else np.arange(k))
        object.__setattr__(self, "models", self.models or self.candidates)
        object.__setattr__(self, "methods", self.methods or ("full",) * k)

    @classmethod
    def from_samples(cls, candidates: Sequence[str], target_size: float, mean: object, samples: object) -> Forecast:
        """A forecast at one size from samples at hand, all errors the candidates' own.

        Args:
            candidates: names, K of them.
            target_size: number of training examples.
            mean: point forecasts, shape (K,).
            samples: shape (draws, K), of the same sign as the mean.

        Raises:
            ValueError: if the shapes do not agree.
        """
        means, drawn = np.asarray(mean, dtype=float), np.atleast_2d(np.asarray(samples, dtype=float))
        k = len(candidates)
        if means.shape != (k,) or drawn.shape[1:] != (k,):
            raise ValueError(f"expected {k} forecasts, got mean {means.shape} and samples {drawn.shape}")
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.log(drawn / means)
        own = np.where(drawn == means, 0.0, own)
        return cls(tuple(candidates), target_size, np.array([target_size]), means[None], DrawnErrors(own[:, None]))

    @cached_property
    def _target(self) -> Rows:
        """Position of the target among the sizes, shape (1,)."""
        return np.flatnonzero(self.sizes == self.target_size)[:1]

    @property
    def draws(self) -> int:
        """Number of possible worlds."""
        return 1 if self.errors is None else self.errors.draws

    @property
    def mean(self) -> Floats:
        """The point forecast that ranks the candidates, shape (K,)."""
        return np.asarray(self.means[self._target[0]])

    @cached_property
    def samples(self) -> Floats:
        """Joint samples of the losses at the target, shape (draws, K); NaN columns where `mean` is NaN."""
        return self._losses(np.arange(len(self.candidates)), self._target)[:, 0]

    @cached_property
    def paths(self) -> Floats:
        """Joint samples of the losses at every size, shape (draws, S, K)."""
        return self._losses(np.arange(len(self.candidates)), np.arange(self.sizes.size))

    @property
    def own_errors(self) -> Floats:
        """Each candidate's own log errors, shape (draws, S, K)."""
        return self._drawn(np.arange(len(self.candidates)), np.arange(self.sizes.size), common=False)

    @property
    def common_errors(self) -> Floats:
        """The log errors common to all candidates, shape (draws, S, K)."""
        return self._drawn(np.arange(len(self.candidates)), np.arange(self.sizes.size), own=False)

    def at(self, size: float) -> Forecast:
        """The same worlds, the target another of the sizes.

        Raises:
            InputError: if the forecast was not made for that size.
        """
        near = self.sizes[np.isclose(self.sizes, size, rtol=1e-9)]
        if not near.size:
            raise InputError(f"no forecast was made at {size:g} examples: ask the selector for it among `sizes`")
        return replace(self, target_size=float(near[0]))

    def of(self, candidates: Sequence[str]) -> Forecast:
        """The same worlds with these candidates alone, in this order."""
        place = {name: k for k, name in enumerate(self.candidates)}
        at = np.array([place[name] for name in candidates], dtype=int)
        models, methods = (tuple(names[k] for k in at) for names in (self.models, self.methods))
        return replace(
            self,
            candidates=tuple(candidates),
            means=self.means[:, at],
            rows=self.rows[at],
            models=models,
            methods=methods,
        )

    @cached_property
    def order(self) -> Rows:
        """Positions of the candidates from best to worst; those without a forecast last, equal ones by name."""
        return np.lexsort((np.array(self.candidates), np.where(np.isnan(self.mean), np.inf, self.mean)))

    @property
    def ranking(self) -> tuple[str, ...]:
        """Candidates from best to worst."""
        return tuple(self.candidates[i] for i in self.order)

    @property
    def best(self) -> str:
        """The candidate with the lowest point forecast."""
        return self.ranking[0]

    def interval(self, level: float = 0.9) -> Floats:
        """Central interval of the loss at the target that holds it with probability `level`, shape (K, 2)."""
        tail = (1 - level) / 2
        return np.quantile(self.samples, [tail, 1 - tail], axis=0).T

    @cached_property
    def contenders(self) -> Rows:
        """Positions of those among whom P(best) is counted, ascending: all, or the 2,000 that are nearest to the best.

        Near by the difference of the log means over the sum of the typical own errors; all others get 0.
        """
        if len(self.candidates) <= MOST_DRAWN:
            return np.arange(len(self.candidates))
        sd = np.where(self.rows >= 0, self._sd[self._target[0]], 0.0)
        first = self.order[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.log(self.mean / self.mean[first]) / (sd + sd[first])
        far = np.where(np.isnan(far), np.where(self.mean == self.mean[first], 0.0, np.inf), far)
        return np.sort(np.lexsort((np.array(self.candidates), far))[:MOST_DRAWN])

    @cached_property
    def contending_samples(self) -> Floats:
        """`samples` of the contenders alone, shape (draws, len(contenders))."""
        if len(self.candidates) <= MOST_DRAWN:
            return self.samples
        return self._losses(self.contenders, self._target)[:, 0]

    @cached_property
    def p_best(self) -> Floats:
        """Probability that each candidate has the lowest loss at the target, shape (K,); sums to 1, ties shared."""
        filled = np.where(np.isnan(self.contending_samples), np.inf, self.contending_samples)
        least = filled == filled.min(axis=1, keepdims=True)
        chances = np.zeros(len(self.candidates))
        ties = least.sum(axis=1)
        chances[self.contenders] = (least / ties[:, None]).mean(axis=0) if (ties > 1).any() else least.mean(axis=0)
        return chances

    @property
    def expected_regret(self) -> Floats:
        """Expected loss above the best candidate's if this one were chosen, shape (K,)."""
        least = np.nanmin(self.contending_samples, axis=1, keepdims=True)
        return np.asarray((self.samples - least).mean(axis=0))

    def learn(self, candidate: str, to_size: float) -> float:
        """What readings would tell of a candidate's log loss at the target, the common error taken out.

        The variance of its own error there that readings at all `sizes` up to `to_size` beyond those it was measured
        at would take away: c' Sigma^-1 c, with Sigma the covariance of its own errors at those sizes and c theirs with
        the one at the target. 0 for a method without uncertainty.
        """
        upto = np.searchsorted(self.sizes, to_size * (1 + 1e-9), side="right") - 1
        if upto < 0:
            return 0.0
        return float(self.learned([self.candidates.index(candidate)])[upto, 0])

    def learned(self, rows: Sequence[int] | Rows) -> Floats:
        """`learn` for all sizes and these positions of candidates at once, shape (S, len(rows)).

        With L the Cholesky root of the correlations over ascending sizes, readings at the first j sizes explain the
        share sum_(i <= j) L[target, i]^2 of the variance at the target.
        """
        rows, s, t = np.asarray(rows, dtype=int), self.sizes.size, int(self._target[0])
        known = self.rows[rows] >= 0
        told = np.zeros((s, len(rows)))
        if self.errors is None or not known.any():
            return told
        sizes, of = np.arange(t + 1), self.rows[rows[known]]
        sd = self.errors.sd[:, of][sizes]
        drawn = self.errors.own(of, sizes, LEARN_DRAWS)
        root = np.linalg.cholesky(_correlations(drawn, sd))
        share = np.cumsum(root[:, t] ** 2, axis=1).T
        variance = np.where(np.isfinite(self.means[t, rows[known]]), sd[t] ** 2, 0.0)
        told[: t + 1, known] = np.minimum(share, 1.0) * variance
        told[t:, known] = variance
        return told

    @property
    def _sd(self) -> Floats:
        return np.zeros_like(self.means) if self.errors is None else self.errors.sd[:, self.rows]

    def _drawn(self, rows: Rows, at: Rows, own: bool = True, common: bool = True) -> Floats:
        """Sum of the log errors asked for, shape (draws, len(at), len(rows)); 0 for losses that are known."""
        total = np.zeros((self.draws, len(at), len(rows)))
        known = self.rows[rows] >= 0
        if self.errors is None or not known.any():
            return total
        of = self.rows[rows][known]
        drawn = self.errors.own(of, at) if own else 0.0
        total[:, :, known] = drawn + self.errors.common(of, at) if common else drawn
        return total

    def _losses(self, rows: Rows, at: Rows) -> Floats:
        errors = self._drawn(rows, at)
        np.clip(errors, -LARGEST_LOG, LARGEST_LOG, out=errors)
        return np.asarray(self.means[np.ix_(at, rows)] * np.exp(errors, out=errors))


def with_zero_shot(forecast: Forecast, curves: Curves) -> Forecast:
    """The forecast with one candidate more: the best of the models that were measured before any fine-tuning.

    Its loss is known, the same at every size. The forecast itself where no such loss was measured.

    Example:
        >>> curves = Curves(("a", "b"), [0, 50], [[2.0, 1.5], [1.4, 1.3]])
        >>> tuned = Forecast(curves.candidates, 800, [800], [[1.1, 1.2]])
        >>> all_of_them = with_zero_shot(tuned, curves)
        >>> all_of_them.candidates[-1], all_of_them.models[-1], all_of_them.methods[-1], float(all_of_them.mean[-1])
        ('b (not fine-tuned)', 'b', 'none', 1.4)
    """
    zero_shot = curves.at(0) if 0 in curves.sizes else np.full(len(curves.candidates), np.nan)
    if not np.isfinite(zero_shot).any():
        return forecast
    best = int(np.lexsort((np.array(curves.candidates), np.where(np.isfinite(zero_shot), zero_shot, np.inf)))[0])
    model = curves.candidates[best]
    return replace(
        forecast,
        candidates=(*forecast.candidates, f"{model} (not fine-tuned)"),
        means=np.column_stack([forecast.means, np.full(forecast.sizes.size, zero_shot[best])]),
        rows=np.append(forecast.rows, -1),
        models=(*forecast.models, model),
        methods=(*forecast.methods, "none"),
    )


def _correlations(drawn: Floats, sd: Floats) -> Floats:
    """Correlations over sizes of errors (draws, S, K) of these standard deviations (S, K), shape (K, S, S).

    Maronna's estimate: with d the Mahalanobis length of a draw under the correlations, those beyond `FURTHEST_OUT` of
    what is expected are scaled down to it, the correlations are taken anew, and so on. It is that of the normals behind
    errors whose scale is drawn. Sizes without an error are related to none.
    """
    errs = sd.T > 0
    z = np.ascontiguousarray(np.nan_to_num(drawn).transpose(2, 1, 0))
    z /= np.where(errs, sd.T, 1.0)[:, :, None]
    count = np.maximum(errs.sum(axis=1), 1)[:, None]
    found = np.broadcast_to(np.eye(sd.shape[0]), (len(z), sd.shape[0], sd.shape[0]))
    for _ in range(REFINEMENTS):
        length = np.sqrt((z * (np.linalg.inv(found) @ z)).sum(axis=1) / count)
        near = z * np.minimum(1.0, FURTHEST_OUT / np.maximum(length, 1e-300))[:, None]
        found = near @ near.swapaxes(1, 2)
        size = np.sqrt(np.einsum("kss->ks", found))
        size = np.where(size > 0, size, 1.0)
        found /= size[:, :, None] * size[:, None]
        np.einsum("kss->ks", found)[...] = 1 + NUGGET
    return found
