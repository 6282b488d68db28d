"""Selectors that look at probes alone."""

import numpy as np
import pandas as pd
import pytest

from evidence.accuracy.metrics import centred_rmse
from evidence.kernel.kernel_prior import Relation, kernel_features, learn
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors import GrowingSlopes, GrowingSlopesKernel, KernelOnly, KernelPrior, LogMe, NlpMetrics
from lensllm.selectors.growing_slopes_kernel import with_kernel_curve

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


SIZES = np.array([0.0, 50, 100, 200, 400, 800, 1600, 3200, 6400])


def task(seed, k=12, holds=True):
    """Candidates whose laws follow their kernel's decay and effective rank, or, with `holds` False, nothing."""
    random = np.random.default_rng(seed)
    names = tuple(f"m{i}" for i in range(k))
    size, trace, rank, decay = np.exp(random.standard_normal((4, k)))
    level = random.uniform(1, 2, k)
    zero_shot = level * np.exp(random.uniform(0, 0.2, k))
    probes = {"decay": decay, "size": size, "trace": trace, "effective_rank": rank, "zero_shot_probe_loss": zero_shot}
    features = pd.DataFrame({**probes, "kernel_32": level}, index=list(names))
    z = kernel_features(Curves(names, np.array([0.0]), level[:, None], features))
    if not holds:
        z = random.standard_normal(z.shape)
    f, beta = np.exp(3.0 + 1.5 * z[:, 0] + random.normal(0, 0.1, k)), np.exp(-1.0 + 0.5 * z[:, 3])
    shape = (f + 50**beta)[:, None] / (f[:, None] + np.maximum(SIZES, 1) ** beta[:, None])
    return Curves(names, SIZES, level[:, None] * (0.5 * shape + 0.5), features)


def test_a_relation_that_holds_is_learned_and_helps_where_laws_are_not_known():
    learned = learn([task(seed) for seed in range(4)])
    assert (learned.explained > 0.4).all()
    assert np.abs(learned.weights[:, 0]).argmax() == 0
    assert np.abs(learned.weights[:, 1]).argmax() == 3
    new = task(99)
    errors = []
    for prior in (Prior(least_points=1), learned.prior(kernel_features(new))):
        law = RectifiedLaw(prior).fit([50], new.at(50)[:, None])
        errors.append(np.std(np.log(law.predict([6400])[:, 0] / new.at(6400))))
    assert errors[1] < 0.6 * errors[0]
    seen, truth = new.up_to(50), new.at(6400)
    plain, informed = (s.forecast(seen, 6400) for s in (GrowingSlopes(), KernelPrior(learned)))
    assert centred_rmse(informed, truth) < centred_rmse(plain, truth)


def test_a_relation_that_knows_nothing_changes_nothing():
    """What was learned from noise explains nothing elsewhere; then the forecast is the default's, bit for bit."""
    learned = learn([task(seed, holds=False) for seed in range(4)])
    assert (learned.explained <= 0.02).all()
    nothing = Relation(learned.weights, np.minimum(learned.explained, 0.0))
    curves = task(5)
    for size in (50, 400):
        plain, informed = (s.forecast(curves.up_to(size), 6400) for s in (GrowingSlopes(), KernelPrior(nothing)))
        np.testing.assert_array_equal(informed.samples, plain.samples)
        np.testing.assert_array_equal(informed.mean, plain.mean)


def test_the_prior_is_moved_by_the_features_and_narrowed_by_what_they_explain():
    relation = Relation(np.array([[1.0, 0.2], [0, 0], [0, 0], [0, 0], [0, 0]]), np.array([0.75, -0.1]))
    unknown = [np.nan] * 5
    prior = relation.prior(np.array([[2.0, 0, 0, 0, 0], [-2.0, 1, 1, 1, 1], unknown]))
    general = Prior()
    np.testing.assert_allclose(prior.log_f[0] - general.log_f[0], [2.0, -2.0, 0.0])
    np.testing.assert_allclose(prior.log_f[1] / general.log_f[1], [0.5, 0.5, 1.0])
    np.testing.assert_allclose(prior.log_beta[0], general.log_beta[0])
    np.testing.assert_allclose(prior.log_beta[1], general.log_beta[1])


def test_too_little_to_learn_from_is_an_error():
    with pytest.raises(InputError, match="three or more candidates"):
        learn([task(0, k=2)])
    with pytest.raises(InputError, match="three or more candidates"):
        learn([])


def test_a_kernel_curve_stands_before_the_measured_points():
    losses = np.array([[4.0, 3.6], [2.0, 1.8], [6.0, np.nan]])
    features = FEATURES.assign(zero_shot_probe_loss=[2.0, 2.0, 6.0], kernel_4=1.0)
    made = with_kernel_curve(Curves(("a", "b", "c"), np.array([0.0, 16.0]), losses, features))
    np.testing.assert_array_equal(made.sizes, [0, 8, 16])
    np.testing.assert_allclose(
        made.losses, [[4.0, 4.0, 3.6], [2.0, np.nan, 1.8], [6.0, 3.0, np.nan]]
    )  # b: too far apart
    none = with_kernel_curve(Curves(("a", "b", "c"), np.array([0.0, 16.0]), losses * [1, 0.25], features))
    assert np.isnan(none.losses[:, 1]).all()  # too far apart for most
    alone = with_kernel_curve(Curves(("a", "b", "c"), np.array([0.0]), losses[:, :1], features))
    np.testing.assert_array_equal(alone.sizes, [0, 8, 32])
    forecast = GrowingSlopesKernel().forecast(Curves(("a", "b"), np.array([0.0]), losses[:2, :1], features), 6400)
    assert np.isfinite(forecast.samples).all()


def test_selectors_of_the_kernel_ask_for_it():
    bare = Curves(CURVES.candidates, CURVES.sizes, CURVES.losses, FEATURES[["kernel_8_se"]])
    with pytest.raises(InputError, match="growing_slopes_kernel needs the kernel curve"):
        GrowingSlopesKernel().forecast(bare, 6400)
    with pytest.raises(InputError, match="kernel_prior needs the kernel of each candidate: add a column 'decay'"):
        KernelPrior(Relation(np.zeros((5, 2)), np.ones(2))).forecast(bare, 6400)
