"""What a forecast says of its samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.forecast import Forecast

NAMES = ("a", "b", "c")


def normal(shift=0.0, draws=4000):
    rng = np.random.default_rng(0)
    mean = np.array([1.0, 1.1, 2.0])
    return Forecast.from_samples(NAMES, 100, mean, (mean + 0.1 * rng.standard_normal((draws, 3))) * np.exp(shift))


def test_ranking_best_and_intervals():
    forecast = normal()
    assert (forecast.ranking, forecast.best) == (NAMES, "a")
    np.testing.assert_allclose(forecast.interval(0.9)[0], [1 - 0.164, 1 + 0.164], atol=0.02)
    assert forecast.expected_regret.argmin() == 0


def test_p_best_of_two_normals():
    """P(a < b) = Phi(0.1 / (0.1 sqrt 2)) = 0.760."""
    assert normal().p_best[:2] == pytest.approx([0.760, 0.240], abs=0.02)


def test_an_error_common_to_all_moves_intervals_but_no_choice():
    common = np.random.default_rng(1).standard_normal((4000, 1))
    still, moved = normal(), normal(common)
    np.testing.assert_allclose(still.p_best, moved.p_best, atol=1e-3)
    assert np.ptp(moved.interval()[0]) > 3 * np.ptp(still.interval()[0])


def test_a_candidate_without_forecast_is_last_and_never_best():
    mean = np.array([np.nan, 2.0, 1.0])
    forecast = Forecast.from_samples(NAMES, 100, mean, np.array([mean, mean + 0.1]))
    assert forecast.ranking == ("c", "b", "a")
    assert forecast.p_best[0] == 0
    assert np.isnan(forecast.interval()[0]).all()
    np.testing.assert_allclose(forecast.expected_regret[1:], [1, 0])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.5, 1.0, 2.0, np.nan]), min_size=3, max_size=3), min_size=1, max_size=8))
def test_p_best_is_a_distribution_ties_shared(samples):
    samples = np.array(samples)
    forecast = Forecast.from_samples(NAMES, 100, samples[0], samples)
    assert forecast.p_best.sum() == pytest.approx(1)
    assert (forecast.p_best >= 0).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected 3 forecasts"):
        Forecast.from_samples(NAMES, 100, np.ones(2), np.ones((5, 3)))
