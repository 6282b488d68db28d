"""Growing slopes: exact on curves that obey the model, steady under outliers, gaps and uneven ladders."""

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.growth import Growth, extrapolate
from lensllm.selectors.log_curves import LogCurves, levels
from lensllm.selectors.slopes import Slopes

X = np.log2(50) + np.arange(7.0)


def straight(slopes, start, x=X):
    return np.asarray(start)[:, None] - np.asarray(slopes)[:, None] * (x - X[0])


def test_straight_lines_are_extended_as_far_as_they_were_seen():
    """Of what a slope has beyond the pool's mean, w^2 / (w^2 + 2) is kept after w doublings."""
    curves = LogCurves(X, straight([0.05, 0.15, 0.1, 0.1], [1.5, 1.5, 0.5, 2.5]))
    for points in (2, 3, 6):
        w = points - 1
        kept = w**2 / (w**2 + 2)
        seen = curves.up_to(points)
        beyond = seen.y[:, -1] - extrapolate(seen, seen.x[-1] + 1, 0.6)
        np.testing.assert_allclose(beyond[1] - beyond[0], kept * 0.1, rtol=0.05)
    np.testing.assert_allclose(extrapolate(curves.up_to(6), X[6], 0.6), curves.y[:, 6], atol=1.5e-2)


LEARNS = np.log([[3.0, 0.6, 0.2, 0.19, 0.18, 0.17, 0.16], [0.2, 0.19, 0.185, 0.18, 0.175, 0.17, 0.165]])
"""A model that learns the form of a task, and one that knew it."""


def test_a_model_learning_the_form_falls_on_to_the_pool_and_not_beyond():
    curves = LogCurves(X, LEARNS)
    early, flat = GrowingSlopes().log_losses(curves.up_to(2), X[6:])[:, 0]
    assert flat < early < flat + 0.005
    assert extrapolate(curves.up_to(2), X[6], 0.6)[0] < flat - 5


def test_those_held_at_the_pool_keep_the_order_of_their_last_losses():
    y = np.vstack([LEARNS[0] + 0.02, LEARNS[0] + 0.01, LEARNS[1], LEARNS[0]])[:, :3]
    ends = GrowingSlopes().log_losses(LogCurves(X[:3], y), X[6:])[:, 0]
    assert list(np.argsort(ends)) == [2, 3, 1, 0]
    assert np.ptp(ends) < 0.01


@pytest.mark.parametrize(("points", "held"), [(3, True), (5, True), (6, False)])
def test_it_is_held_at_the_pool_until_measured_over_three_doublings_more(points, held):
    """Its slopes since are the steeper ones, so that it would pass."""
    curves = LogCurves(X, LEARNS - 0.05 * np.outer([1, 0], np.maximum(X - X[2], 0))).up_to(points)
    learned, flat = GrowingSlopes().log_losses(curves, X[-1:] + 4)[:, 0]
    assert (learned >= flat) == held


def test_falls_while_learning_the_form_are_not_part_of_the_slope():
    """The slope is that of the three points after it: the same forecast whatever the height it came from."""
    at = X[-1] + 2
    steep, steeper = (LogCurves(X, LEARNS + np.array([[up, up, 0, 0, 0, 0, 0], [0] * 7])) for up in (0.0, 1.0))
    assert extrapolate(steep, at, 0.6)[0] == pytest.approx(extrapolate(steeper, at, 0.6)[0], abs=0.03)
    assert extrapolate(steep, at, 0.6)[0] == pytest.approx(LEARNS[0, -1] - 2 * 0.065, abs=0.05)


def test_a_leader_that_falls_steeply_is_followed_at_the_limit():
    """It learns nothing that the others knew before it, but 0.3 a doubling is not expected to last: 0.2 is."""
    y = straight([0.3, 0.05, 0.06], [0.5, 1.0, 1.1])
    curves = LogCurves(X, y)
    np.testing.assert_array_equal(Slopes.of(curves).after_format_learning().value, Slopes.of(curves).value)
    assert y[0, 4] - 2 * 0.25 < GrowingSlopes().log_losses(curves.up_to(5), X[6:])[0, 0] < y[0, 4] - 2 * 0.13


STEEP = [0.55, 0.6, 0.5]


@pytest.mark.parametrize("points", [3, 4, 6])
def test_a_pool_that_falls_steeply_together_is_expected_to_go_on(points):
    """As templated answers are learned: not held at 0.2 a doubling, and no jump at the last point is taken back."""
    curves = LogCurves(X, straight(STEEP, [1.0, 1.2, 1.5]))
    ahead = extrapolate(curves.up_to(points), X[points], 0.6)
    np.testing.assert_allclose(curves.up_to(points).y[:, -1] - ahead, 0.55, atol=0.1)


def test_a_pool_whose_steep_falls_end_is_not():
    """Of falls of 0.8 and 0.4 a doubling the next would be 0.2, which is the limit of any."""
    y = np.array([1.0, 1.2, 1.5])[:, None] - np.array([0.0, 0.8, 1.2])
    ahead = extrapolate(LogCurves(X[:3], y), X[3], 0.6)
    np.testing.assert_allclose(y[:, -1] - ahead, 0.2, atol=0.05)


def test_a_size_that_nobody_was_measured_at_does_not_end_a_steep_fall():
    y = straight(STEEP, [1.0, 1.2, 1.5])
    y[:, 4] = np.nan
    assert Slopes.of(LogCurves(X, y)).steepest == pytest.approx(0.55)


def test_one_steep_candidate_changes_nothing_for_the_pool():
    slopes = [0.55, 0.1, 0.1, 0.1]
    assert Slopes.of(LogCurves(X, straight(slopes, [0.5, 1, 1.1, 1.2]))).steepest == 0.2
    assert Slopes.of(LogCurves(X[:2], straight([0.5] * 4, [0.5, 1, 1.1, 1.2], X[:2]))).steepest == 0.2


def test_all_falling_alike_learn_nothing_from_each_other():
    y = straight([0.5, 0.5, 0.45], [1.0, 1.5, 1.6])
    assert not np.isnan(Slopes.of(LogCurves(X, y)).after_format_learning().value).any()


def test_the_way_back_from_a_single_high_reading_is_no_learning_of_form():
    y = straight([0.05, 0.06, 0.07], [2.2, 1.1, 1.2])
    y[0, 3] += 0.6
    slopes = Slopes.of(LogCurves(X, y))
    np.testing.assert_array_equal(slopes.after_format_learning().value, slopes.value)
    y[0, 4:] -= 0.8
    np.testing.assert_array_equal(
        np.isfinite(Slopes.of(LogCurves(X, y)).after_format_learning().value[0]), [False] * 4 + [True] * 2
    )


def test_a_leader_that_is_measured_no_further_makes_nobody_a_learner():
    y = straight([0.05, 0.06, 0.07], [0.2, 1.5, 1.6])
    y[0, 4:] = np.nan
    y[2, 5:] = np.nan
    slopes = Slopes.of(LogCurves(X, y))
    np.testing.assert_array_equal(slopes.after_format_learning().value, slopes.value)


def test_a_learner_is_told_from_those_measured_as_far():
    y = straight([0.05, 0.3, 0.05], [0.2, 2.5, 0.7])
    y[0, 6] = np.nan
    np.testing.assert_allclose(Slopes.of(LogCurves(X, y)).after_format_learning().doublings, [5, 0, 6], atol=1e-9)


def test_hindcasts_leave_out_a_candidate_while_it_learns_the_form():
    y = straight([0.01, 0.01, 0.01, 0.0], [0.4, 0.41, 0.42, 0.5])
    y[3, :2] = np.nan
    y[3, 2] = 1.5
    past = GrowingSlopes().point_forecast(Curves(tuple("abcd"), 2**X, np.exp(y)), 2 ** (X[-1] + 3)).hindcast
    assert past.origins == 4
    assert np.sqrt(past.candidate_error) < 0.02  # 0.03 with it


def test_parallel_curves_with_growing_slopes_are_followed():
    """All slopes 0.04 + 0.01 t: nearly what is expected, and seen in five points."""
    fall = 0.04 * (X - X[0]) + 0.005 * (X - X[0]) ** 2
    y = np.array([[1.5], [1.7], [1.9]]) - fall
    curves = LogCurves(X, y)
    np.testing.assert_allclose(extrapolate(curves.up_to(5), X[6], 0.6), y[:, 6], atol=3e-3)


def test_slopes_are_expected_to_grow_before_their_growth_is_seen():
    """From two points: by 0.25 m (1 - m / 0.2) a doubling, from the middle of the two to half way."""
    y = straight([0.05, 0.05], [1.5, 1.6])
    beyond = y[:, 1] - extrapolate(LogCurves(X[:2], y[:, :2]), X[4], 0.6)
    np.testing.assert_allclose(beyond, 3 * (0.05 + 2 * 0.25 * 0.05 * 0.75), rtol=1e-6)


@pytest.mark.parametrize("slope", [0.2, -0.01])
def test_slopes_at_the_limit_and_rising_losses_are_not_expected_to_grow(slope):
    y = straight([slope, slope], [1.5, 1.6])
    beyond = y[:, 1] - extrapolate(LogCurves(X[:2], y[:, :2]), X[4], 0.6)
    np.testing.assert_allclose(beyond, 3 * slope, rtol=1e-6)


def test_slopes_that_are_seen_to_shrink_are_followed():
    fall = 0.1 * (X - X[0]) - 0.005 * (X - X[0]) ** 2
    y = np.array([[1.5], [1.7], [1.9]]) - fall
    slope = (y[:, 5] - extrapolate(LogCurves(X[:6], y[:, :6]), X[6], 0.6)).mean()
    assert slope < 0.061  # 0.045 is true, 0.065 the mean so far, 0.072 what was expected


def test_a_gradient_seen_in_few_sizes_is_drawn_to_the_expected_one():
    """Slopes of 0.06, 0.05, 0.04: none from two, 2 parts of -0.01 to 5 of what is expected from three."""
    fall = np.array([0.0, 0.06, 0.11, 0.15])
    curves = LogCurves(X[:4], np.array([[1.5], [1.7]]) - fall)
    for points, seen in ((3, 0.0), (4, 2 * -0.01)):
        few = curves.up_to(points)
        growth = Growth.fit(few, Slopes.of(few), 0.6)
        expected = 0.25 * growth.mean * (1 - growth.mean / 0.2)
        assert growth.mean_gradient == pytest.approx((seen + 5 * expected) / (7 if seen else 5))


def test_a_size_that_one_candidate_has_reached_bends_the_others_little():
    """0.1 of log loss, were it worth as much as the sizes that all have reached."""
    y = straight([0.02] + [0.05] * 7, np.linspace(1.0, 2.0, 8))
    without = extrapolate(LogCurves(X[:4], y[:, :4]), X[6], 0.6)
    y[1:, 4:] = np.nan
    assert np.abs(extrapolate(LogCurves(X, y), X[6], 0.6) - without)[1:].max() < 0.065


def test_coupling_of_slope_to_level_is_found():
    level = np.linspace(-0.5, 0.5, 30)
    y = 2 + level[:, None] * np.exp(-0.1 * np.arange(7.0))
    curves = LogCurves(X, y)
    growth = Growth.fit(curves, Slopes.of(curves), 0.6)
    assert growth.mean == pytest.approx(0, abs=1e-9)
    assert growth.coupling == pytest.approx(1 - np.exp(-0.1), rel=0.2)


def test_levels_do_not_drop_when_the_worst_candidates_leave():
    y = np.array([[1.0, 0.9, 0.8], [2.0, 1.9, 1.8], [3.0, np.nan, np.nan]])
    column, deviation = levels(y)
    np.testing.assert_allclose(column, [2.0, 1.9, 1.8], atol=1e-6)
    np.testing.assert_allclose(deviation[:, 0], [-1, 0, 1], atol=1e-6)


def test_slopes_span_gaps():
    slopes = Slopes.of(LogCurves(X[:3], np.array([[3.0, np.nan, 2.0]])))
    np.testing.assert_array_equal(slopes.value, [[np.nan, 0.5]])
    np.testing.assert_array_equal(slopes.width, [[np.nan, 2.0]])


def test_an_unbelievable_last_jump_is_taken_back_over_a_doubling():
    """A slope of 0.1 goes on beside it; a jump of 0.5 is a rise of 0.4 a doubling, and 0.2 is believed of it."""
    rng = np.random.default_rng(0)
    clean = straight(np.full(12, 0.1), np.linspace(1, 2, 12)) + 0.002 * rng.standard_normal((12, 7))
    spoilt = clean.copy()
    spoilt[3, -1] += 0.5
    for ahead, least, most in ((0.01, 0.97, 1.02), (1.0, 0.3, 0.85)):
        moved = extrapolate(LogCurves(X, spoilt), X[-1] + ahead, 0.6) - extrapolate(
            LogCurves(X, clean), X[-1] + ahead, 0.6
        )
        assert least < moved[3] / 0.5 < most
        np.testing.assert_allclose(np.delete(moved, 3), 0, atol=0.03)


def test_what_was_measured_is_read_off():
    curves = LogCurves(X, straight([0.1, 0.2], [1.0, 2.0]))
    np.testing.assert_allclose(extrapolate(curves, X[3], 0.6), curves.y[:, 3])


def law_curves(sizes, k=8, noise=0.003, seed=0):
    rng = np.random.default_rng(seed)
    b, f, beta, e = rng.uniform(8, 20, k), rng.uniform(2, 8, k), rng.uniform(0.2, 0.4, k), rng.uniform(0.3, 0.9, k)
    clean = b[:, None] / (f[:, None] + np.asarray(sizes, float) ** beta[:, None]) + e[:, None]
    names = tuple(f"m{i}" for i in range(k))
    return Curves(names, np.array(sizes, float), clean * np.exp(noise * rng.standard_normal(clean.shape)))


@pytest.mark.parametrize("sizes", [(0, 50, 100, 200, 400), (30, 100, 250, 700, 1500), (200, 400, 800, 1600, 3200)])
def test_the_default_ranks_curves_of_the_law_on_any_ladder(sizes):
    everything = law_curves([*sizes, 6400])
    forecast = GrowingSlopes().forecast(everything.up_to(sizes[-1]), 6400)
    truth = everything.at(6400)
    assert np.corrcoef(forecast.mean, truth)[0, 1] > 0.85
    low, high = forecast.interval(0.9).T
    assert np.mean((low <= truth) & (truth <= high)) > 0.6


def test_intervals_widen_with_distance_and_with_less_known():
    curves = law_curves((50, 100, 200, 400, 800))
    width = [np.ptp(np.log(GrowingSlopes().forecast(curves, n).interval()), axis=1).mean() for n in (1600, 6400, 25600)]
    assert width[0] < width[1] < width[2]
    thin = Curves(curves.candidates, curves.sizes, curves.losses.copy())
    thin.losses[0, 1:] = np.nan
    intervals = np.log(GrowingSlopes().forecast(thin, 6400).interval())
    assert np.ptp(intervals[0]) > 1.3 * np.ptp(intervals[1])


def test_a_noisy_task_gets_wider_intervals_than_a_clean_one():
    clean, noisy = (law_curves((50, 100, 200, 400, 800, 1600), noise=noise) for noise in (0.001, 0.05))
    width = [np.ptp(np.log(GrowingSlopes().forecast(c, 6400).interval()), axis=1).mean() for c in (clean, noisy)]
    assert width[1] > 1.5 * width[0]


def test_dropped_candidates_do_not_disturb_the_survivors():
    curves = law_curves((50, 100, 200, 400, 800))
    halved = curves.losses.copy()
    worst = np.argsort(curves.at(200))[4:]
    halved[worst, 3:] = np.nan
    whole = GrowingSlopes().forecast(curves, 6400)
    thinned = GrowingSlopes().forecast(Curves(curves.candidates, curves.sizes, halved), 6400)
    kept = np.argsort(curves.at(200))[:4]
    np.testing.assert_allclose(np.log(thinned.mean[kept]), np.log(whole.mean[kept]), atol=0.06)
