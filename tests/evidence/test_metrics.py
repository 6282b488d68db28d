"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from evidence.accuracy import metrics
from lensllm.forecast import Forecast

TRUTH = np.array([1.0, 2.0, 3.0])


def said(*mean):
    return Forecast.from_samples(("a", "b", "c"), 100, mean, [mean])


@pytest.mark.parametrize(
    ("metric", "mean", "value"),
    [
        (metrics.pear_corr, (2, 4, 6), 100),
        (metrics.pear_corr, (6, 4, 2), -100),
        (metrics.spearman, (1, 10, 100), 100),
        (metrics.rel_acc, (5, 4, 6), 50),
        (metrics.rel_acc, (1, 2, 3), 100),
        (metrics.top_1, (5, 4, 6), 0),
        (metrics.regret, (5, 4, 6), 1.0),
    ],
)
def test_metric(metric, mean, value):
    assert metric(said(*mean), TRUTH) == pytest.approx(value)


def test_scores_of_p_best():
    sure, wrong, even = np.eye(3)[0], np.eye(3)[1], np.full(3, 1 / 3)
    assert [metrics.brier(p, TRUTH) for p in (sure, wrong, even)] == pytest.approx([0, 2, 2 / 3])
    assert [metrics.log_score(p, TRUTH) for p in (sure, even)] == pytest.approx([0, np.log(3)])
    assert metrics.log_score(wrong, TRUTH) == pytest.approx(-np.log(metrics.LEAST_PROBABILITY))


def test_coverage_of_the_right_distribution_is_its_level():
    rng = np.random.default_rng(0)
    samples, truth = rng.standard_normal((2000, 3000)), rng.standard_normal(3000)
    assert metrics.coverage(samples, truth, 0.8) == pytest.approx(0.8, abs=0.02)


def test_centred_rmse_does_not_see_a_common_shift():
    assert metrics.centred_rmse(said(*5 * TRUTH), TRUTH) == pytest.approx(0, abs=1e-12)
