"""The learned prior on the law: what it learns, and that it keeps to what every selector keeps to."""

import numpy as np
import pandas as pd
import pytest

from evidence.accuracy.metrics import centred_rmse
from evidence.kernel.kernel_prior import KernelPrior, Relation, kernel_features, learn
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors import GrowingSlopes

RELATION = Relation(np.array([[0.5, 0.2], [-0.3, 0.1], [0.2, 0.0], [0.1, -0.2], [0.4, 0.1]]), np.array([0.3, 0.2]))
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


def test_the_kernel_of_every_candidate_is_asked_for():
    bare = Curves(("a",), np.array([0.0]), np.ones((1, 1)), pd.DataFrame({"kernel_8": [1.0]}, index=["a"]))
    with pytest.raises(InputError, match="kernel_prior needs the kernel of each candidate: add a column 'decay'"):
        KernelPrior(RELATION).forecast(bare, 6400)


def test_order_of_candidates_does_not_matter():
    curves = task(1, k=6).up_to(400)
    forward = KernelPrior(RELATION).forecast(curves, 6400)
    backward = KernelPrior(RELATION).forecast(curves.of(curves.candidates[::-1]), 6400)
    np.testing.assert_allclose(forward.mean, backward.mean[::-1], rtol=1e-5)
    np.testing.assert_allclose(forward.p_best, backward.p_best[::-1], atol=0.06)


def test_a_common_factor_on_the_losses_changes_no_ranking():
    curves = task(2, k=6).up_to(400)
    scaled = Curves(curves.candidates, curves.sizes, 3.7 * curves.losses, curves.features)
    assert KernelPrior(RELATION).forecast(curves, 6400).ranking == KernelPrior(RELATION).forecast(scaled, 6400).ranking


def test_missing_points_and_a_single_candidate_are_handled():
    curves = task(3, k=5).up_to(400)
    holes = curves.losses.copy()
    holes[0, 2:] = holes[1, 3] = holes[2, 1:] = holes[3] = np.nan
    forecast = KernelPrior(RELATION).forecast(Curves(curves.candidates, curves.sizes, holes, curves.features), 6400)
    assert np.isfinite(forecast.mean).tolist() == [True, True, False, False, True]
    alone = KernelPrior(RELATION).forecast(curves.of(["m0"]), 6400)
    np.testing.assert_allclose(alone.p_best, [1.0])
