"""Each curve's law is fitted once and stays what a fresh fit would be."""

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors.error_scale import ErrorScale
from lensllm.selectors.fitted_laws import FittedLaws
from lensllm.selectors.growing_slopes import GrowingSlopes

SIZES = np.array([50.0, 100, 200, 400, 800, 1600])
X = np.log2(SIZES)


@pytest.fixture
def losses():
    rng = np.random.default_rng(0)
    b, f, beta = rng.uniform(8, 20, (3, 6, 1)) / np.array([1, 4, 50])[:, None, None]
    losses = b / (f + SIZES**beta) + 0.5
    losses[1, 3:] = np.nan
    losses[2, 2] = np.nan
    losses[3, 1:] = np.nan
    return losses


def test_the_kept_fit_is_the_fit(losses):
    laws = FittedLaws()
    at = np.log2([3200.0, 12800.0])
    expected = np.log(RectifiedLaw(prior=Prior(), starts=1).fit(SIZES, losses).predict(2**at))
    for _ in range(2):
        np.testing.assert_allclose(laws.log_losses(X, np.log(losses), at), expected, atol=1e-6)
    assert np.isnan(expected[3]).all()


def test_only_what_changed_is_fitted_anew(losses, monkeypatch):
    laws = FittedLaws()
    laws.log_losses(X[:5], np.log(losses[:, :5]), X[5:])
    fitted = []
    fit = RectifiedLaw.fit
    monkeypatch.setattr(RectifiedLaw, "fit", lambda self, x, y: (fitted.append(len(y)), fit(self, x, y))[1])
    laws.log_losses(X, np.log(losses), X[5:] + 1)
    assert sorted(fitted) == [1, 3]  # one lacks a size, so that it is fitted by itself


def test_a_fit_is_the_same_to_the_bit_whatever_it_is_made_with(losses):
    together, alone, at = FittedLaws(), FittedLaws(), np.log2([3200.0])
    all_of_them = together.log_losses(X, np.log(losses), at)
    each = [alone.log_losses(X, np.log(losses[[k]]), at)[0] for k in range(len(losses))]
    np.testing.assert_array_equal(all_of_them, each)
    grown = FittedLaws()
    grown.log_losses(X[:5], np.log(losses[:, :5]), at)
    np.testing.assert_array_equal(grown.log_losses(X, np.log(losses), at), all_of_them)


def test_selectors_that_share_their_laws_fit_them_once(losses, monkeypatch):
    curves, laws = Curves(tuple("abcdef"), SIZES, losses), FittedLaws()
    first = GrowingSlopes(laws=laws).forecast(curves, 6400)
    monkeypatch.setattr(RectifiedLaw, "fit", lambda *_: pytest.fail("fitted again"))
    again = GrowingSlopes(laws=laws, common=ErrorScale(0.01, 2, 1.5)).forecast(curves, 6400)
    np.testing.assert_array_equal(again.mean, first.mean)


def test_a_point_at_another_size_is_another_curve():
    laws = FittedLaws()
    y = np.log([[2.0, 1.8, 1.7, 1.65]])
    near, far = (laws.log_losses(x, y, np.array([14.0])) for x in (X[:4], X[:4] + 2))
    assert abs(near - far) > 1e-3


def test_each_candidate_keeps_to_its_own_prior(losses):
    """Two candidates with the same points and other priors have other laws, fitted anew or not."""
    y = np.log(losses[[0, 0]])[:, :2]
    prior = Prior(log_f=(np.array([0.0, 8.0]), 0.5), least_points=1)
    laws = FittedLaws(prior)
    expected = np.log(RectifiedLaw(prior=prior, starts=1).fit(SIZES[:2], np.exp(y)).predict(SIZES[5:]))
    for _ in range(2):
        np.testing.assert_allclose(laws.log_losses(X[:2], y, X[5:]), expected, atol=1e-6)
    assert abs(expected[0] - expected[1]) > 1e-3
    with_less = np.log(losses[[0, 0]])[:, :2]
    with_less[0, 1] = np.nan
    np.testing.assert_allclose(laws.log_losses(X[:2], with_less, X[5:])[1], expected[1], atol=1e-6)
