"""The default selector with prior information on every candidate's law from its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors.fitted_laws import FittedLaws
from lensllm.selectors.growing_slopes import GrowingSlopes, PointForecast
from lensllm.selectors.kernel_only import PREFIX, kernel_sizes

FEATURES = ("decay", "size", "trace", "effective_rank", "fall")
RIDGE = 0.3


@dataclass(frozen=True)
class Relation:
    """What kernels say of (log F, log beta), learned over candidates and tasks.

    Attributes:
        weights: shape (5, 2): by how much log F and log beta exceed the pool's mean for each standardised feature.
        explained: part of the variance of (log F, log beta) within a task that it explains on tasks (candidates, where
            there is one task only) that it was not learned on, shape (2,); not above 0 where it explains nothing.
    """

    weights: Floats
    explained: Floats

    def prior(self, features: Floats) -> Prior:
        """The prior of each candidate: the general one, moved by w^T z_i, its variance less the part explained.

        A relation that explains nothing leaves the general prior, and the law's least number of points, as they are.

        Args:
            features: z, shape (K, 5), NaN where not known; such a candidate keeps the general prior.
        """
        general = Prior()
        explained = np.clip(self.explained, 0.0, 1.0)
        if not explained.any():
            return general
        known = np.isfinite(features).all(axis=1, keepdims=True)
        moved = np.where(explained > 0, np.where(known, features, 0.0) @ self.weights, 0.0)
        narrower = np.where(known, np.sqrt(1 - explained), 1.0)
        log_f, log_beta = (
            (center + move, deviation * part)
            for (center, deviation), move, part in zip(
                (general.log_f, general.log_beta), moved.T, narrower.T, strict=True
            )
        )
        return Prior(log_f=log_f, log_beta=log_beta, least_points=1)


class KernelPrior(GrowingSlopes):
    """The default forecast, its law fitted with a prior of each candidate's own, and so from one point on.

    The law is L(D) = B / (F + D^beta) + E (Zeng et al. 2025, equation 10, F fitted). The prior means of log F and log
    beta come from a ridge regression on five features of the candidate, standardised over the pool: the decay of the
    kernel's spectrum, the logs of the size, of the kernel's mean squared gradient norm (`trace`) and of its effective
    rank, and the fall of the kernel curve (log loss before training minus log loss at the largest d). The prior
    variance is what the regression leaves unexplained on other tasks. What that brings: docs/kernel.md.

    Args:
        relation: learned over candidates and tasks (`learn`).
        **options: of `GrowingSlopes`.

    Raises:
        InputError: if the curves lack a feature.
    """

    name = "kernel_prior"

    def __init__(self, relation: Relation, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.relation = relation

    def point_forecast(self, curves: Curves, target_size: float, sizes: Sequence[float] | Floats = ()) -> PointForecast:
        """The default's, its laws drawn towards what the kernels let expect."""
        self._laws = FittedLaws(self.relation.prior(kernel_features(curves)))
        return super().point_forecast(curves, target_size, sizes)


def kernel_features(curves: Curves) -> Floats:
    """The features standardised over the pool, shape (K, 5); NaN where a candidate has none, 0 where all are equal.

    Raises:
        InputError: if a column is missing.
    """
    table, sizes = curves.features, kernel_sizes(curves)
    needed = ("decay", "trace", "effective_rank", "zero_shot_probe_loss", "size")
    missing = [name for name in needed if name not in table] + ([] if sizes else [f"{PREFIX}32"])
    if missing:
        raise InputError(f"kernel_prior needs the kernel of each candidate: add a column {missing[0]!r}")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: np.log(table[name].to_numpy(float)) for name in needed[1:]}
        values["fall"] = values["zero_shot_probe_loss"] - np.log(table[f"{PREFIX}{sizes[-1]}"].to_numpy(float))
    values["decay"] = table["decay"].to_numpy(float)
    return np.stack([_standardised(values[name]) for name in FEATURES], axis=1)


def _standardised(values: Floats) -> Floats:
    known = np.isfinite(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0:
        return np.where(known, 0.0, np.nan)
    return np.where(known, (values - values[known].mean()) / values[known].std(), np.nan)


def learn(tasks: Sequence[Curves]) -> Relation:
    """The relation that whole curves show.

    Every candidate of every task is a row: (log F, log beta) of its law, maximum a posteriori with the general prior
    and all sizes, against its features, both relative to the task's mean; the ridge is 0.3 times the number of rows.
    What it explains is measured by leaving out one task at a time, or one candidate where there is one task only.

    Raises:
        InputError: if a task lacks a feature or fewer than three candidates have a law and all features.
    """
    features, answers, groups = [], [], []
    for number, curves in enumerate(tasks):
        tuned = curves.sizes > 0
        law = RectifiedLaw(prior=Prior()).fit(curves.sizes[tuned], curves.losses[:, tuned])
        y = np.log(np.stack([law.params_["F"], law.params_["beta"]], axis=1))
        x = kernel_features(curves)
        known = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        if known.any():
            features.append(x[known] - x[known].mean(axis=0))
            answers.append(y[known] - y[known].mean(axis=0))
            groups.append(np.full(known.sum(), number))
    if sum(map(len, groups)) < 3:
        raise InputError("kernel_prior needs three or more candidates with a whole curve and a kernel to learn from")
    x, y, group = np.concatenate(features), np.concatenate(answers), np.concatenate(groups)
    left_out = group if len(groups) > 1 else np.arange(len(x))
    error = np.empty_like(y)
    for one in np.unique(left_out):
        out = left_out == one
        error[out] = y[out] - x[out] @ _ridge(x[~out], y[~out])
    return Relation(_ridge(x, y), 1 - (error**2).sum(axis=0) / np.maximum((y**2).sum(axis=0), 1e-12))


def _ridge(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y))
