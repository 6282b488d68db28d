"""What a selector says: joint paths of the loss of every candidate over numbers of training examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.notebook import table
from lensllm.picture import Line, colours, picture

Rows = NDArray[np.int_]

NONE = np.zeros(0)
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


SHARED = 0.5
"""Of the variance of a test set's error: what moves all candidates alike, as they see the same test examples
(docs/decisions.md)."""
STANDARD_ERRORS = 3.0
"""By so many a measured loss has to be lower than another to be taken for lower: one chance in a thousand."""
UNKNOWN_ERROR = 0.005
"""Of the log loss, where no standard error is known: the difference between two seeds on a text."""
LEVEL_STREAM = 4
"""Of random numbers, after those of `selectors.error_paths`."""


def stream(seed: int, kind: int, name: str = "") -> np.random.Generator:
    """The random numbers of one purpose and candidate, whoever else there is."""
    return np.random.default_rng([seed, kind, int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")])


@lru_cache(maxsize=2_500)
def _level_normals(name: str, draws: int) -> NDArray[np.float32]:
    """Standard normals of the error of a candidate's test loss; of what is common to all where the name is empty."""
    return stream(0, LEVEL_STREAM, name).standard_normal(draws, dtype=np.float32)


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

    @property
    def along_paths(self) -> Errors:
        """Those that tell how an error at one size goes with that at another: these, unless said."""
        return self


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

        L[s, k] = means[s, k] exp(own[s, k] + common[s, k] + test_error[k] (u_k + u) / sqrt(2)),

    u_k and u standard normals of the candidate and of all, as half of what a test set errs is in its examples.
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
        test_error: standard error of each candidate's test loss, as a part of the loss, shape (K,); 0 if unknown.
        dominated: candidates that another beats for certain and that are never the best, shape (K,).
        ceiling: no loss is forecast above it: what a uniform guess has; infinite where the unit is not known.

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
    test_error: Floats = field(default_factory=lambda: np.zeros(0))
    dominated: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    ceiling: float = float("inf")

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
        for name in ("test_error", "dominated"):
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.zeros(k, dtype=getattr(self, name).dtype))
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

    def _repr_html_(self) -> str:
        """Best first; the line goes through all sizes up to the target."""
        shown, ends = self.sizes <= self.target_size, self.interval()
        lines = [
            Line(self.candidates[k], NONE, NONE, self.sizes[shown], self.means[shown, k], tuple(ends[k]))
            for k in self.order
        ]
        rows = [
            [
                self.candidates[k],
                f"{self.mean[k]:.3f}",
                f"{ends[k, 0]:.3f} to {ends[k, 1]:.3f}",
                f"{self.p_best[k]:.0%}",
            ]
            for k in self.order
        ]
        said = f"<p>Forecast at {self.target_size:,.0f} training examples</p>"
        columns = ["candidate", "forecast", "90 % interval", "P(best)"]
        return said + picture(lines, "loss") + table(columns, rows, colours(len(rows)))

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
            test_error=self.test_error[at],
            dominated=self.dominated[at],
        )

    @cached_property
    def order(self) -> Rows:
        """Positions of the candidates from best to worst; those without a forecast last, equal ones by name.

        One that is dominated comes behind its own model.
        """
        key = np.where(np.isnan(self.mean), np.inf, self.mean)
        tuned = {self.models[k]: key[k] for k in np.flatnonzero(~self.dominated)}
        for k in np.flatnonzero(self.dominated):
            key[k] = max(key[k], tuned.get(self.models[k], np.inf))
        return np.lexsort((np.array(self.candidates), self.dominated, key))

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
        sd = np.hypot(np.where(self.rows >= 0, self._sd[self._target[0]], 0.0), self.test_error)
        first = self.order[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.log(self.mean / self.mean[first]) / (sd + sd[first])
        far = np.where(np.isnan(far), np.where(self.mean == self.mean[first], 0.0, np.inf), far)
        return np.sort(np.lexsort((np.array(self.candidates), far))[:MOST_DRAWN])

    @cached_property
    def contending_samples(self) -> Floats:
        """`samples` of the contenders alone, shape (draws, len(contenders)); NaN for those that are dominated."""
        few = len(self.candidates) <= MOST_DRAWN
        losses = self.samples if few else self._losses(self.contenders, self._target)[:, 0]
        beaten = self.dominated[self.contenders]
        return np.where(beaten, np.nan, losses) if beaten.any() else losses

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
        return np.asarray(np.maximum(self.samples - least, 0.0).mean(axis=0))

    def learn(self, candidate: str, to_size: float) -> float:
        """What readings would tell of a candidate's log loss at the target, the common error taken out.

        The variance of its own error there that readings at all `sizes` up to `to_size` beyond those it was measured
        at would take away: c' Sigma^-1 c, with Sigma the covariance of its own errors at those sizes and c theirs with
        the one at the target. 0 for a method without uncertainty. Of `Errors.along_paths`.
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
        sizes, of, errors = np.arange(t + 1), self.rows[rows[known]], self.errors.along_paths
        sd = errors.sd[:, of][sizes]
        drawn = errors.own(of, sizes, LEARN_DRAWS)
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
        if self.errors is None:
            return total
        if self.test_error[rows].any():
            total += self._test_errors(rows, own, common)[:, None]
        if not known.any():
            return total
        of = self.rows[rows][known]
        drawn = self.errors.own(of, at) if own else 0.0
        total[:, :, known] += drawn + self.errors.common(of, at) if common else drawn
        return total

    def _test_errors(self, rows: Rows, own: bool, common: bool) -> Floats:
        """Log errors of the test losses, the same at every size, shape (draws, len(rows))."""
        drawn = np.zeros((self.draws, len(rows)))
        if own:
            normals = [_level_normals(self.candidates[k], self.draws) for k in rows]
            drawn += np.sqrt(1 - SHARED) * np.stack(normals, axis=1)
        if common:
            drawn += np.sqrt(SHARED) * _level_normals("", self.draws)[:, None]
        return drawn * self.test_error[rows]

    def _losses(self, rows: Rows, at: Rows) -> Floats:
        errors = self._drawn(rows, at)
        np.clip(errors, -LARGEST_LOG, LARGEST_LOG, out=errors)
        means = self.means[np.ix_(at, rows)]
        losses = np.asarray(means * np.exp(errors, out=errors))
        return np.minimum(losses, np.maximum(self.ceiling, means)) if self.ceiling < np.inf else losses


def with_zero_shot(forecast: Forecast, curves: Curves) -> Forecast:
    """The forecast with one candidate more: the best of the models that were measured before any fine-tuning.

    Its loss is known but for the error of the test set, the same at every size. It is dominated where the same model
    was measured at some size with a loss lower by three standard errors: that can be used instead, whatever more data
    bring. The forecast itself where no such loss was measured.

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
    same = [row for row, name in enumerate(curves.models) if name == curves.models[best]]
    return replace(
        forecast,
        candidates=(*forecast.candidates, f"{curves.models[best]} (not fine-tuned)"),
        means=np.column_stack([forecast.means, np.full(forecast.sizes.size, zero_shot[best])]),
        rows=np.append(forecast.rows, -1),
        models=(*forecast.models, model),
        methods=(*forecast.methods, "none"),
        test_error=np.append(forecast.test_error, _relative_error(curves)[best, 0]),
        dominated=np.append(forecast.dominated, any(_was_beaten(curves, best, row) for row in same)),
    )


def _relative_error(curves: Curves) -> Floats:
    """Standard errors over losses, shape (K, S); 0 where unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(curves.standard_errors / curves.losses, nan=0.0, posinf=0.0, neginf=0.0)


def _was_beaten(curves: Curves, zero_shot: int, row: int) -> bool:
    """Whether a candidate was measured fine-tuned three standard errors below the loss of a model before it."""
    relative = _relative_error(curves)
    errors = np.where(relative > 0, relative, UNKNOWN_ERROR) * curves.losses
    lower = curves.losses[zero_shot, 0] - curves.losses[row]
    return bool(np.any((curves.sizes > 0) & (lower > STANDARD_ERRORS * np.hypot(errors[row], errors[zero_shot, 0]))))


def bounded(forecast: Forecast, curves: Curves) -> Forecast:
    """The forecast with what its curves know of their unit and of their test set; candidates as in the curves.

    Points beyond what was measured are not above the ceiling, and the relative standard error of a candidate's last
    measured loss is an error of its whole path. A method without uncertainty is left as it is: it may give scores.
    """
    if forecast.errors is None:
        return forecast
    tuned = np.isfinite(curves.losses) & (curves.losses > 0) & (curves.sizes > 0)
    last = np.where(tuned, np.arange(len(curves.sizes)), -1).max(axis=1, initial=-1)
    rows = np.arange(len(last))
    with_points = last >= 0
    error, reached = np.zeros(len(last)), np.zeros(len(last))
    error[with_points] = _relative_error(curves)[rows[with_points], last[with_points]]
    reached[with_points] = curves.sizes[last[with_points]]
    beyond = forecast.sizes[:, None] > reached
    means = np.where(beyond, np.minimum(forecast.means, curves.ceiling), forecast.means)
    return replace(forecast, means=means, test_error=error, ceiling=curves.ceiling)


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
