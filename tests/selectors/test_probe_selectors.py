"""Selectors that look at probes alone."""

import numpy as np
import pandas as pd
import pytest

from lensllm.benchmark.metrics import centred_rmse
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors import KernelOnly, KernelPrior, LensLLM, LensLLMKernel, LogMe, NlpMetrics
from lensllm.selectors.kernel_prior import kernel_features, learn
from lensllm.selectors.lensllm_kernel import with_kernel_curve

FEATURES = pd.DataFrame(
    {
        "kernel_8": [2.0, 1.0, 3.0],
        "kernel_8_se": [0.1, 0.1, 0.1],
        "kernel_32": [1.5, 1.6, np.nan],
        "pl_alpha": [3.0, 2.0, 4.0],
        "e_tpl_lambda": [1.0, 2.0, 0.5],
        "log_me": [-0.5, -0.6, -0.1],
    },
    index=["a", "b", "c"],
)
CURVES = Curves(("a", "b", "c"), np.array([0.0]), np.ones((3, 1)), FEATURES)


@pytest.mark.parametrize(
    ("selector", "forecast"),
    [
        (KernelOnly(), [1.5, 1.6, np.nan]),
        (KernelOnly(8), [2.0, 1.0, 3.0]),
        (NlpMetrics(), [3.0, 2.0, 4.0]),
        (NlpMetrics("e_tpl_lambda"), [1.0, 2.0, 0.5]),
        (LogMe(), [0.5, 0.6, 0.1]),
    ],
)
def test_the_probe_is_the_forecast(selector, forecast):
    np.testing.assert_array_equal(selector.forecast(CURVES, 6400).mean, forecast)


@pytest.mark.parametrize("selector", [KernelOnly(), KernelOnly(16), NlpMetrics(), LogMe()])
def test_a_probe_that_was_not_made_is_asked_for(selector):
    features = FEATURES[["kernel_8"]] if getattr(selector, "d", None) else FEATURES[[]]
    bare = Curves(CURVES.candidates, CURVES.sizes, CURVES.losses, features)
    with pytest.raises(InputError, match=f"{selector.name} needs"):
        selector.forecast(bare, 6400)


SIZES = np.array([0.0, 50, 100, 200, 400, 6400])


def task(seed, k=12, relation=(0.3, 0.0, 0.2, 0.0)):
    """Candidates whose slopes follow their features as `relation` says, from levels that say nothing."""
    random = np.random.default_rng(seed)
    names = tuple(f"m{i}" for i in range(k))
    size, trace, rank = np.exp(random.standard_normal((3, k)))
    fall = random.uniform(0, 0.2, k)
    level = random.uniform(1, 2, k)
    features = pd.DataFrame(
        {"size": size, "trace": trace, "effective_rank": rank, "zero_shot": level, "kernel_32": level * np.exp(-fall)},
        index=list(names),
    )
    z = kernel_features(Curves(names, np.array([0.0]), level[:, None], features))
    slope = 0.05 * (1 + z @ relation)
    losses = level[:, None] * (np.maximum(SIZES, 25) / 25) ** (-slope[:, None] / np.log(2))
    return Curves(names, SIZES, losses, features)


def test_a_relation_that_holds_is_learned_and_helps_where_slopes_are_not_known():
    tasks = [task(seed) for seed in range(4)]
    learned = learn(tasks, 6400)
    np.testing.assert_allclose(learned, [0.3 / 1.3, 0, 0.2 / 1.3, 0], atol=0.02)
    new = task(99)
    seen, truth = new.up_to(50), new.at(6400)
    plain = centred_rmse(LensLLM().forecast(seen, 6400), truth)
    informed = centred_rmse(KernelPrior(learned).forecast(seen, 6400), truth)
    assert informed < 0.5 * plain


def test_the_prior_moves_no_mean_and_fades_with_rungs():
    curves = task(5)
    moved = []
    for size in (50, 100, 200, 400):
        plain, informed = (
            np.log(s.forecast(curves.up_to(size), 6400).mean) for s in (LensLLM(), KernelPrior([1, 0, 0, 0]))
        )
        assert np.mean(informed) == pytest.approx(np.mean(plain), abs=1e-6)
        moved.append(np.std(informed - plain) / np.log2(6400 / size))
    assert moved == sorted(moved, reverse=True)
    np.testing.assert_allclose(KernelPrior([1, 0, 0, 0]).forecast(curves, 6400).mean, curves.at(6400))


def test_a_kernel_curve_stands_before_the_measured_points():
    losses = np.array([[4.0, 3.6], [2.0, 1.8], [6.0, np.nan]])
    features = FEATURES.assign(zero_shot=[2.0, 2.0, 6.0], kernel_4=1.0)
    made = with_kernel_curve(Curves(("a", "b", "c"), np.array([0.0, 16.0]), losses, features))
    np.testing.assert_array_equal(made.sizes, [0, 8, 16])
    np.testing.assert_allclose(
        made.losses, [[4.0, 4.0, 3.6], [2.0, np.nan, 1.8], [6.0, 3.0, np.nan]]
    )  # b: too far apart
    alone = with_kernel_curve(Curves(("a", "b", "c"), np.array([0.0]), losses[:, :1], features))
    np.testing.assert_array_equal(alone.sizes, [0, 8, 32])
    forecast = LensLLMKernel().forecast(Curves(("a", "b"), np.array([0.0]), losses[:2, :1], features), 6400)
    assert np.isfinite(forecast.samples).all()


def test_selectors_of_the_kernel_ask_for_it():
    bare = Curves(CURVES.candidates, CURVES.sizes, CURVES.losses, FEATURES[["kernel_8_se"]])
    with pytest.raises(InputError, match="lensllm_kernel needs the kernel curve"):
        LensLLMKernel().forecast(bare, 6400)
    with pytest.raises(InputError, match="kernel_prior needs the kernel of each candidate: add a column 'trace'"):
        KernelPrior([1, 0, 0, 0]).forecast(bare, 6400)


def test_what_was_measured_of_a_slope_counts_as_often_as_it_was_measured():
    """A prior that expects equal slopes takes a quarter of the differences away after three measured slopes."""
    curves = task(7)
    seen = curves.up_to(400)
    forecasts = [np.log(s.forecast(seen, 6400).mean) for s in (LensLLM(), KernelPrior([0, 0, 0, 0]))]
    plain, drawn = (np.log(curves.at(400)) - forecast for forecast in forecasts)
    np.testing.assert_allclose(drawn - drawn.mean(), 0.75 * (plain - plain.mean()), rtol=1e-6)
