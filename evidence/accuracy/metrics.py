"""How good a forecast was, once the final losses are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import pearsonr, spearmanr, t

from lensllm.arrays import Floats
from lensllm.forecast import Forecast

LEAST_PROBABILITY = 1e-4
LEVEL = 0.9
TEMPERATURES = (1e-3, 3.0)
"""Of log loss, between which one is looked for."""


def pear_corr(forecast: Forecast, truth: Floats) -> float:
    """Pearson correlation of forecast and true loss over the candidates, in percent (Lin et al. 2024)."""
    return 100 * float(pearsonr(forecast.mean, truth).statistic)


def rel_acc(forecast: Forecast, truth: Floats) -> float:
    """(worst - chosen) / (worst - best) in true loss, in percent (Lin et al. 2024)."""
    return 100 * float((truth.max() - truth[forecast.order[0]]) / np.ptp(truth))


def spearman(forecast: Forecast, truth: Floats) -> float:
    """Spearman rank correlation of forecast and true loss, in percent."""
    return 100 * float(spearmanr(forecast.mean, truth).statistic)


def top_1(forecast: Forecast, truth: Floats) -> float:
    """100 if the chosen candidate is the best, else 0."""
    return 100.0 * bool(truth[forecast.order[0]] == truth.min())


def regret(forecast: Forecast, truth: Floats) -> float:
    """True loss of the chosen candidate above the best, in the unit of the losses."""
    return float(truth[forecast.order[0]] - truth.min())


def centred_rmse(forecast: Forecast, truth: Floats) -> float:
    """Root mean square error of log loss once the error common to all candidates is taken out; NaN for a score."""
    if np.any(forecast.mean <= 0):
        return np.nan
    return float(np.std(np.log(forecast.mean) - np.log(truth)))


def brier(probabilities: Floats, truth: Floats) -> float:
    """Brier score of P(best): sum over candidates of (p - [is best])^2; 0 is perfect, 2 the worst."""
    return float(((probabilities - (truth == truth.min())) ** 2).sum())


def log_score(probabilities: Floats, truth: Floats) -> float:
    """-log of the probability given to the best candidate, not below 1e-4."""
    return -float(np.log(max(probabilities[truth.argmin()], LEAST_PROBABILITY)))


def chances(log_means: Floats, temperature: float) -> Floats:
    """P(best) of a forecast without uncertainty: softmax of minus the log losses over a temperature."""
    return np.asarray(softmax(-log_means / temperature))


def best_temperature(score: Callable[[float], float]) -> float:
    """The temperature with the lowest score."""
    found = minimize_scalar(lambda log: score(float(np.exp(log))), bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def fitted_temperature(cases: Sequence[tuple[Floats, Floats]]) -> float:
    """The temperature at which `chances` of these (log means, truth) have the lowest mean log score."""
    return best_temperature(lambda t: float(np.mean([log_score(chances(means, t), truth) for means, truth in cases])))


def mean_interval(values: Floats) -> list[float]:
    """90 % interval of the mean by Student's t over the values, tasks say; NaN with fewer than two."""
    if len(values) < 2:
        return [np.nan, np.nan]
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return [float(np.mean(values)) - half, float(np.mean(values)) + half]


def coverage(samples: Floats, truth: Floats, level: float) -> float:
    """Part of the candidates whose truth lies in the central interval that should hold `level` of them."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return float(np.mean((low <= truth) & (truth <= high)))


def r2(predicted: Floats, truth: Floats) -> float:
    """Coefficient of determination over all curves together."""
    return float(1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
