"""How good a forecast was, once the final losses are known."""

from __future__ import annotations

import numpy as np
from scipy.stats import pearsonr, spearmanr

from lensllm.arrays import Floats
from lensllm.forecast import Forecast

LEAST_PROBABILITY = 1e-4


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


def coverage(samples: Floats, truth: Floats, level: float) -> float:
    """Part of the candidates whose truth lies in the central interval that should hold `level` of them."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return float(np.mean((low <= truth) & (truth <= high)))


def r2(predicted: Floats, truth: Floats) -> float:
    """Coefficient of determination over all curves together."""
    return float(1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
