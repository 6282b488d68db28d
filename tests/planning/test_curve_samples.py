import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.planning import CurveSamples
from lensllm.selectors import GrowingSlopes

SIZES = np.array([0.0, 50, 100, 200, 400, 800])


def pool(rng, k=6, floor=0.5, noise=0.003):
    """Rectified laws with known parameters, and what was measured of them."""
    f, beta = np.exp(rng.normal(2.5, 3.0, k)).clip(1e-6, 1e6), np.exp(rng.normal(-1.3, 0.6, k)).clip(0.03, 1.5)
    last, share = rng.uniform(1.0, 2.0, k), np.full(k, floor) * rng.uniform(0.5, 1.5, k)
    floors = last * share
    scale = (last - floors) * (f + 800**beta)

    def loss(d):
        return floors + scale / (f + d**beta)

    def needed(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x > floors, np.maximum(scale / (x - floors) - f, 0) ** (1 / beta), np.inf)

    losses = np.stack([loss(size) for size in SIZES], axis=1) * np.exp(noise * rng.standard_normal((k, SIZES.size)))
    return Curves(tuple(f"m{i}" for i in range(k)), SIZES, losses), loss, needed


@pytest.fixture(scope="module")
def curves():
    return pool(np.random.default_rng(1))[0]


def test_at_the_data_at_hand_the_samples_are_the_forecasts_own(curves):
    """Its joint samples, to the bit, whatever the paths do before and beyond."""
    samples = CurveSamples.draw(curves, 6400, GrowingSlopes(draws=400, seed=3))
    forecast = GrowingSlopes(draws=400, seed=3).forecast(curves, 6400)
    np.testing.assert_array_equal(samples.points, forecast.mean)
    np.testing.assert_array_equal(samples.at(6400), forecast.samples)


def test_beyond_the_data_at_hand_three_in_four_follow_the_forecast_down_to_a_floor(curves):
    samples = CurveSamples.draw(curves, 1600, GrowingSlopes(draws=400, seed=3))
    forecast = GrowingSlopes(draws=400, seed=3).forecast(curves, 1600, samples.sizes)
    between = [forecast.at(size).samples for size in samples.sizes[(samples.sizes >= 1600) & (samples.sizes < 3300)]]
    same = np.isclose(samples.at(3200), np.min(between, axis=0), rtol=1e-12)
    assert 0.5 < same.mean() < 0.76


def test_the_anchor_at_the_data_at_hand_biases_what_a_doubling_brings_little(curves):
    """The lowest loss so far is taken over a path that is smooth: the median moves by a tenth of its spread at most."""
    forecast = GrowingSlopes().forecast(curves, 6400, 6400 * 2.0 ** (np.arange(1, 3) / 2))
    free = np.log(forecast.paths[:, 1:] / forecast.paths[:, :1])
    kept = np.minimum(free.min(axis=1), 0)
    assert np.all(np.abs(np.median(kept, axis=0) - np.median(free[:, -1], axis=0)) < 0.1 * free[:, -1].std(axis=0))


def test_the_order_of_candidates_changes_no_curve(curves):
    turned = CurveSamples.draw(curves.of(curves.candidates[::-1]), 6400, GrowingSlopes(draws=100))
    straight = CurveSamples.draw(curves, 6400, GrowingSlopes(draws=100))
    np.testing.assert_array_equal(turned.losses[:, :, ::-1], straight.losses)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(100, 20000))
def test_no_curve_rises_and_more_loss_never_needs_more(seed, size):
    curves, *_ = pool(np.random.default_rng(seed), k=3)
    samples = CurveSamples.draw(curves, size, GrowingSlopes(draws=50))
    assert np.all(np.diff(samples.losses, axis=0) <= 1e-12 * samples.losses[:-1])
    strict, lax = samples.needed(0.8), samples.needed(0.9)
    assert np.all(lax <= strict)
    assert np.all((lax == 0) | (lax >= samples.sizes[0]))


def test_needed_inverts_the_sampled_curves(curves):
    samples = CurveSamples.draw(curves, 6400, GrowingSlopes(draws=50))
    goal = samples.losses[20][:, :1]
    assert np.all(samples.needed(goal)[:, 0] <= samples.sizes[20] * (1 + 1e-9))
    half_way = np.sqrt(samples.losses[10] * samples.losses[11])
    between = samples.needed(half_way[:, :1])[:, 0]
    falls = samples.losses[10][:, 0] > samples.losses[11][:, 0] * 1.0001
    np.testing.assert_allclose(between[falls], np.sqrt(samples.sizes[10] * samples.sizes[11]), rtol=1e-6)


def test_a_candidate_that_is_there_as_it_came_needs_nothing(curves):
    samples = CurveSamples.draw(curves, 6400, GrowingSlopes(draws=50))
    assert np.all(samples.needed(float(curves.at(0)[2]))[:, 2] == 0)


def test_intervals_and_never_agree_with_laws_whose_answer_is_known():
    """Coverage over pools of laws; the whole measurement is `python -m evidence plan`."""
    rng = np.random.default_rng(0)
    inside, never, was = [], [], []
    for _ in range(12):
        curves, loss, needed = pool(rng)
        samples = CurveSamples.draw(curves, 6400, GrowingSlopes(draws=300))
        goal = loss(6400.0)
        low, high = np.quantile(samples.needed(goal), [0.05, 0.95], axis=0, method="inverted_cdf")
        inside += ((low <= 6400) & (high >= 6400)).tolist()
        for part in (0.9, 0.7, 0.5, 0.3):
            goal = part * curves.at(800)
            never += np.isinf(samples.needed(goal)).mean(axis=0).tolist()
            was += (needed(goal) > samples.sizes[-1]).tolist()
    assert np.mean(inside) >= 0.7
    never, was = np.array(never), np.array(was)
    assert was[never > 0.9].mean() > 0.8
    assert was[never < 0.1].mean() < 0.2
    assert abs(never.mean() - was.mean()) < 0.12


def test_a_floor_is_felt():
    """Two pools that fall alike so far: the one with the floor is more often never done."""
    never = {}
    for floor in (0.0, 0.9):
        made = [pool(np.random.default_rng(seed), floor=floor, noise=0.001) for seed in range(4)]
        never[floor] = np.mean(
            [
                np.isinf(CurveSamples.draw(c, 6400, GrowingSlopes(draws=200)).needed(0.6 * c.at(800))).mean()
                for c, *_ in made
            ]
        )
    assert never[0.9] > never[0.0] + 0.25


def test_a_steep_curve_stops_at_its_floor():
    """Two points that halve the loss would be at nothing after ten more doublings."""
    curves = Curves(("steep",), np.array([50.0, 100]), np.array([[2.0, 1.0]]))
    ends = CurveSamples.draw(curves, 200, GrowingSlopes(draws=300)).losses[-1, :, 0]
    assert 0.05 < np.median(ends) < 0.6


def test_short_curves_and_missing_ones():
    losses = np.array([[2.0, 1.5, np.nan], [2.0, np.nan, np.nan], [2.1, 1.6, 1.55]])
    curves = Curves(("two", "untuned", "three"), np.array([0.0, 50, 100]), losses)
    samples = CurveSamples.draw(curves, 800, GrowingSlopes(draws=40))
    needed = samples.needed(1.4)
    assert np.isnan(needed[:, 1]).all()
    assert np.isfinite(samples.losses[:, :, [0, 2]]).all()
    assert (needed[:, [0, 2]] > 50).all()


def test_without_a_measured_point_there_is_nothing_to_plan_from():
    with pytest.raises(InputError, match="nothing was measured after fine-tuning"):
        CurveSamples.draw(Curves(("a",), np.array([0.0]), np.array([[2.0]])), 800)
