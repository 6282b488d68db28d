"""What a forecast says of its samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import DrawnErrors, Forecast, with_zero_shot

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


def test_against_a_known_loss_the_common_error_counts():
    """Tuned alone P(best) is 1/2 each whatever is common to them; the known loss is beaten in one world of two."""
    own = np.zeros((2, 1, 2))
    own[:, 0, 1] = [1e-6, -1e-6]

    class Common(DrawnErrors):
        def common(self, rows, at):
            return np.broadcast_to(np.array([-0.1, 0.1])[:, None, None], (2, len(at), len(rows)))

    tuned = Forecast(("a", "b"), 100, np.array([100.0]), np.ones((1, 2)), Common(own))
    assert tuned.p_best.tolist() == [0.5, 0.5]
    curves = Curves(("a", "b"), [0, 50], [[1.0, 1.2], [1.3, 1.2]])
    joint = with_zero_shot(tuned, curves)
    assert joint.candidates == ("a", "b", "a (not fine-tuned)")
    assert (joint.models, joint.methods) == (("a", "b", "a"), ("full", "full", "none"))
    assert joint.p_best.tolist() == [0.5, 0, 0.5]
    np.testing.assert_allclose(joint.common_errors[:, 0], [[-0.1, -0.1, 0], [0.1, 0.1, 0]])
    np.testing.assert_array_equal(joint.own_errors[:, 0, :2], own[:, 0])


def test_without_a_zero_shot_loss_nothing_is_added():
    tuned = normal()
    assert with_zero_shot(tuned, Curves(NAMES, [50], np.ones((3, 1)))) is tuned


def test_equal_candidates_are_ordered_by_name():
    assert Forecast(("b", "c", "a"), 100, [100], np.ones((1, 3))).ranking == ("a", "b", "c")


def test_only_sizes_that_were_asked_for_are_known():
    forecast = Forecast(("a",), 100, [50, 100], [[1.0], [0.9]])
    assert forecast.at(50).mean.tolist() == [1.0]
    with pytest.raises(InputError, match="no forecast was made at 70 examples"):
        forecast.at(70)


def test_with_very_many_candidates_those_near_the_best_are_counted(monkeypatch):
    """The 40 nearest of 60: the same as all of them, where no other one ever wins."""
    rng = np.random.default_rng(0)
    mean = np.linspace(1.0, 3.0, 60)
    samples = mean * np.exp(0.05 * rng.standard_normal((500, 60)))
    names = tuple(f"m{k}" for k in range(60))
    whole = Forecast.from_samples(names, 100, mean, samples)
    monkeypatch.setattr("lensllm.forecast.MOST_DRAWN", 40)
    few = Forecast.from_samples(names, 100, mean, samples)
    assert few.contenders.tolist() == list(range(40))
    np.testing.assert_array_equal(few.p_best, whole.p_best)
    np.testing.assert_allclose(few.expected_regret, whole.expected_regret)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected 3 forecasts"):
        Forecast.from_samples(NAMES, 100, np.ones(2), np.ones((5, 3)))
