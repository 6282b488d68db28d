"""What every selector keeps to, whatever it does inside."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.laws import Prior
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret
from lensllm.selectors import (
    AcceptThenStop,
    GaussianProcess,
    GrowingSlopes,
    GrowingSlopesKernel,
    KernelOnly,
    LensLLMLawSelector,
    LogMe,
    ModelSize,
    NlpMetrics,
    PriorFitted,
    RectifiedLawSelector,
    ScoresBesideLosses,
    SlopeGrowth,
    SubTuning,
    VanillaLawSelector,
    ZeroShot,
)

SELECTORS = [
    PriorFitted(),
    PriorFitted(kind="fine_tuned"),
    GrowingSlopes(),
    GaussianProcess(draws=8000),
    ScoresBesideLosses(GaussianProcess(draws=8000)),
    SlopeGrowth(),
    AcceptThenStop(),
    RectifiedLawSelector(Prior()),
    VanillaLawSelector(),
    SubTuning(),
    ZeroShot(),
    ModelSize(),
    KernelOnly(),
    NlpMetrics(),
    LogMe(),
    LensLLMLawSelector(),
    GrowingSlopesKernel(),
]
FROM_FEATURES = ("model_size", "kernel_only", "nlp_metrics", "log_me", "growing_slopes_kernel")
each = pytest.mark.parametrize("selector", SELECTORS, ids=lambda s: s.name)


def some_curves(k=6, sizes=(0, 50, 100, 200, 400), seed=0):
    rng = np.random.default_rng(seed)
    d = np.maximum(np.array(sizes, float), 20)
    slope = rng.uniform(0.05, 0.3, (k, 1))
    losses = rng.uniform(3, 9, (k, 1)) * d ** (-slope) * np.exp(0.01 * rng.standard_normal((k, len(sizes))))
    names = tuple(f"m{i}" for i in range(k))
    return Curves(names, np.array(sizes, float), losses, some_features(names))


def some_features(names):
    k = np.arange(len(names))
    probes = {"kernel_8": 5.0 + k, "kernel_32": 4.0 + k, "pl_alpha": 2 + 0.1 * k, "log_me": -0.1 * k}
    probes |= {"squared_residual": 400.0 + k, "remaining_1": 0.9 - 0.01 * k, "remaining_10": 0.3 + 0.01 * k}
    probes |= {"zero_shot_probe_loss": 6.0 + k, "decay": 1.0 + 0.1 * k, "trace": 3.0**k, "effective_rank": 9.0 - k}
    return pd.DataFrame({"size": 10.0 ** (5 + k), **probes}, index=list(names))


@st.composite
def orders(draw):
    seed, k = draw(st.integers(0, 100)), draw(st.integers(2, 7))
    return some_curves(k, seed=seed), draw(st.permutations(range(k)))


@each
@settings(max_examples=10, deadline=None)
@given(orders())
def test_the_order_of_candidates_changes_nothing_to_the_bit(selector, drawn):
    curves, order = drawn
    turned = curves.of([curves.candidates[k] for k in order])
    straight, other = (selector.forecast(c, 6400, [3200, 12800]) for c in (curves, turned))
    np.testing.assert_array_equal(other.paths, straight.paths[:, :, order])
    np.testing.assert_array_equal(other.means, straight.means[:, order])
    np.testing.assert_array_equal(other.p_best, straight.p_best[order])
    np.testing.assert_array_equal(other.interval(), straight.interval()[order])
    assert other.ranking == straight.ranking
    np.testing.assert_array_equal(other.learned(range(len(order))), straight.learned(order))


@each
def test_the_draws_at_the_target_do_not_depend_on_other_sizes(selector):
    curves = some_curves()
    alone = selector.forecast(curves, 6400)
    for sizes in ([800], [800, 1600, 3200, 12800], 50 * 2.0 ** np.arange(0, 14, 0.5)):
        made = selector.forecast(curves, 6400, sizes)
        np.testing.assert_array_equal(made.samples, alone.samples)
        np.testing.assert_array_equal(made.paths[:, np.flatnonzero(made.sizes == 6400)[0]], alone.samples)
        np.testing.assert_array_equal(made.mean, alone.mean)
        near = made.at(sizes[0])
        np.testing.assert_array_equal(near.samples, made.paths[:, 0])
        np.testing.assert_array_equal(near.mean, made.means[0])


@each
def test_part_of_a_forecast_is_a_forecast_of_a_part(selector):
    made = selector.forecast(some_curves(), 6400, [800])
    few = made.of(["m4", "m1"])
    np.testing.assert_array_equal(few.paths, made.paths[:, :, [4, 1]])
    assert few.candidates == few.models == ("m4", "m1")


@each
def test_what_readings_tell_grows_up_to_all_of_the_variance(selector):
    """Nothing from sizes that were measured or a method without uncertainty; everything from the target itself."""
    made = selector.forecast(some_curves(), 6400, [200, 400, 800, 1600, 3200, 12800])
    learned = made.learned(range(6))
    assert (np.diff(learned, axis=0) >= -1e-12).all()
    assert (learned >= 0).all()
    assert made.learn("m1", 100) == 0
    if made.draws == 1:
        assert not learned.any()
    else:
        whole = np.array([made.learn(f"m{k}", 6400) for k in range(6)])
        own = made.errors.along_paths.own(np.arange(6), np.array([made.sizes.size - 2]))[:, 0]
        middle = np.median(np.abs(own - np.median(own, axis=0)), axis=0)
        np.testing.assert_allclose(np.sqrt(whole), 1.4826 * middle, rtol=0.07)
        assert made.learn("m1", 800) == learned[2, 1] < whole[1]


@each
def test_any_selector_can_serve_the_search(selector):
    curves = some_curves(sizes=(0, 50, 100, 200, 400, 800))
    shown = curves.showing(np.broadcast_to(np.arange(6) < 5, curves.losses.shape))
    costs = np.tile(curves.sizes[1:], (6, 1))
    decision = ExpectedRegret(p_best=1.1, regret=-1.0, selector=selector).decide(State(shown, costs), 2)
    names = {*curves.candidates, *(f"{name} (not fine-tuned)" for name in curves.candidates)}
    assert decision.choice in names
    assert set(decision.runs) <= set(curves.candidates)
    assert decision.runs or decision.stopped
    assert 0 <= decision.p_best <= 1


@each
def test_a_common_factor_on_the_losses_changes_no_ranking(selector):
    curves = some_curves(seed=1)
    scaled = Curves(curves.candidates, curves.sizes, 3.7 * curves.losses, curves.features)
    assert selector.forecast(curves, 6400).ranking == selector.forecast(scaled, 6400).ranking


@each
def test_one_candidate_works(selector):
    forecast = selector.forecast(some_curves(k=1), 6400)
    assert np.isfinite(forecast.mean).all()
    np.testing.assert_allclose(forecast.p_best, [1.0])


@each
def test_same_curves_same_forecast(selector):
    first, second = (selector.forecast(some_curves(), 6400) for _ in range(2))
    np.testing.assert_array_equal(first.samples, second.samples)


@each
def test_missing_and_nan_points_are_handled(selector):
    curves = some_curves(k=5)
    holes = curves.losses.copy()
    holes[0, 2:] = np.nan
    holes[1, 3] = np.nan
    holes[2, 1:] = np.nan
    holes[3] = np.nan
    forecast = selector.forecast(Curves(curves.candidates, curves.sizes, holes, curves.features), 6400)
    assert np.isfinite(forecast.mean[[0, 1, 4]]).all()
    assert np.isnan(forecast.mean[3]) or selector.name in FROM_FEATURES
    assert set(forecast.ranking) == set(curves.candidates)


@each
def test_nonsense_is_refused_in_one_sentence(selector):
    with pytest.raises(InputError, match="target_size"):
        selector.forecast(some_curves(), 0)
    with pytest.raises(InputError, match="no candidate"):
        selector.forecast(Curves((), np.array([100.0]), np.zeros((0, 1))), 6400)


@st.composite
def any_curves(draw):
    k = draw(st.integers(1, 5))
    sizes = sorted(draw(st.sets(st.integers(0, 10_000), min_size=1, max_size=6)))
    value = st.one_of(st.floats(1e-3, 50), st.just(np.nan), st.just(2.0), st.just(np.inf), st.just(0.0))
    losses = draw(st.lists(st.lists(value, min_size=len(sizes), max_size=len(sizes)), min_size=k, max_size=k))
    names = tuple(f"m{i}" for i in range(k))
    return Curves(names, np.array(sizes, float), np.array(losses), some_features(names))


@each
@settings(max_examples=40, deadline=None)
@given(curves=any_curves(), target=st.floats(1, 1e6))
def test_never_fails_and_forecasts_whatever_was_measured(selector, curves, target):
    forecast = selector.forecast(curves, target)
    measured = (np.isfinite(curves.losses) & (curves.losses > 0) & (curves.sizes > 0)).any(axis=1)
    if selector.name not in ("zero_shot", *FROM_FEATURES):
        np.testing.assert_array_equal(np.isfinite(forecast.mean), measured)
        assert (forecast.mean[measured] > 0).all()
        assert np.isfinite(forecast.samples[:, measured]).all()
