"""Errors as paths: marginals as stated, the law of what is left, and what readings tell."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from lensllm.curves import Curves
from lensllm.forecast import DrawnErrors, Forecast
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.error_paths import NO_SLOPE_SD, READING_SD, GrowingErrors, path_covariance
from lensllm.selectors.error_scale import CANDIDATE, COMMON, Hindcast

SIZES = 50 * 2.0 ** np.arange(8)


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.8, 1.1, 1.5])
@pytest.mark.parametrize(("s", "t"), [(1, 7), (3, 5), (2, 2), (0.5, 9)])
def test_the_covariance_is_that_of_the_integral(hurst, s, t):
    expected, _ = quad(lambda u: 2 * hurst * ((s - u) * (t - u)) ** (hurst - 0.5), 0, s, limit=200)
    found = path_covariance(np.array([float(t)]), np.array([float(s)]), hurst)
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert path_covariance(np.array([0.0]), np.array([2.0]), hurst)[0] == 0


def test_given_the_path_so_far_what_is_left_has_the_law_of_a_new_forecast():
    """Conditioned on 400 points up to s the variance at t is (t - s)^2H, which makes the error law its own heir."""
    hurst, s, t = 1.1, 3.0, 7.0
    at = np.append(np.linspace(s / 400, s, 400), t)
    sigma = path_covariance(at[:, None], at[None], hurst)
    left = sigma[-1, -1] - sigma[-1, :-1] @ np.linalg.solve(sigma[:-1, :-1] + 1e-10 * np.eye(400), sigma[:-1, -1])
    assert left == pytest.approx((t - s) ** (2 * hurst), rel=0.01)


def errors(sloped=True, origins=0, draws=2000, target=6, seed=0):
    ahead = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 2], [1, 2, 0, 3], [2, 3, 0, 4], [3, 4, 1, 5], [4, 5, 2, 6]])
    hindcast = Hindcast(0.01**2, 0.02**2, origins)
    names = ("a", "b", "c", "d")
    return ahead, GrowingErrors(
        names, ahead * 1.0, target, np.full(4, sloped), hindcast, COMMON, CANDIDATE, draws, seed
    )


@pytest.mark.parametrize("sloped", [True, False])
def test_marginals_are_the_stated_ones_at_every_size(sloped):
    """Own and common errors against draws of their definition: one normal times the scale, for each n."""
    ahead, made = errors(sloped, origins=3, draws=20_000, seed=5)
    rows, at = np.arange(4), np.arange(7)
    own, common = made.own(rows, at), made.common(rows, at)
    rng = np.random.default_rng(9)
    scale = CANDIDATE.draw(0.02**2, 3 * 3 / 4, 200_000, rng)
    common_scale = COMMON.draw(0.01**2, 3, 200_000, rng)
    for s in at:
        for k in rows:
            n = ahead[s, k]
            if n == 0:
                assert not own[:, s, k].any()
                assert not common[:, s, k].any()
                continue
            sd = np.sqrt((scale * n**1.1) ** 2 + (0 if sloped else NO_SLOPE_SD * n) ** 2 + READING_SD**2)
            assert kstest(own[:, s, k], sd * rng.standard_normal(200_000)).pvalue > 1e-4
            assert kstest(common[:, s, k], common_scale * n**1.5 * rng.standard_normal(200_000)).pvalue > 1e-4


def test_paths_are_related_over_sizes_as_stated_and_not_over_candidates():
    ahead, made = errors(draws=40_000)
    z = made.own(np.arange(4), np.arange(7)) / made._scale[:, None, None]
    for k in (0, 1, 3):
        sizes = np.flatnonzero(ahead[:, k])
        n = ahead[sizes, k].astype(float)
        expected = path_covariance(n[:, None], n[None], 1.1)
        reading = READING_SD**2 * np.mean(made._scale**-2)
        np.testing.assert_allclose(np.cov(z[:, sizes, k].T), expected + reading, rtol=0.05, atol=0.03)
    across = np.corrcoef(z[:, -1].T)[~np.eye(4, dtype=bool)]
    assert np.abs(across).max() < 0.02


def test_the_common_error_is_one_draw_for_all_candidates_and_sizes():
    ahead, made = errors()
    common = made.common(np.arange(4), np.arange(7))
    slope = common[:, 6] / ahead[6] ** 1.5
    np.testing.assert_allclose(slope, np.broadcast_to(slope[:, :1], slope.shape))
    np.testing.assert_allclose(common[:, 4, 1], slope[:, 0] * 3**1.5)


def test_where_a_candidate_was_measured_its_loss_is_known():
    curves = Curves(("a", "b"), SIZES[:5], [[2.0, 1.9, 1.8, 1.7, 1.6], [2.1, 2.0, 1.95, np.nan, np.nan]])
    made = GrowingSlopes().forecast(curves, 400, [100, 150, 800])
    np.testing.assert_array_equal(made.samples[:, 0], np.full(2000, made.mean[0]))
    assert made.mean[0] == pytest.approx(1.7)
    assert made.samples[:, 1].std() > 0
    between = made.at(150)
    np.testing.assert_array_equal(between.samples, np.tile(between.mean, (2000, 1)))
    assert np.log(between.mean[0]) == pytest.approx(np.interp(np.log2(1.5), [0, 1], np.log([1.9, 1.8])))


def test_what_readings_tell_is_the_gaussian_answer():
    """c' Sigma^-1 c with the covariance written down, times the median scale, under heavy tails of the scale."""
    _, made = errors(origins=0)
    means = np.ones((7, 4))
    forecast = Forecast(("a", "b", "c", "d"), SIZES[6], SIZES[:7], means, made)
    scale = np.median(made._scale)
    for k, last in ((0, 2), (1, 1), (3, 0)):
        for upto in range(last + 1, 6):
            n, t = np.arange(1.0, upto - last + 1), 6.0 - last
            still = READING_SD**2 / scale**2
            sigma = path_covariance(n[:, None], n[None], 1.1) + still
            c = path_covariance(n, np.full_like(n, t), 1.1) + still
            expected = c @ np.linalg.solve(sigma, c) * scale**2
            whole = (t**2.2 + still) * scale**2
            assert forecast.learn("abcd"[k], SIZES[upto]) / whole == pytest.approx(expected / whole, abs=0.08)
            assert forecast.learn("abcd"[k], SIZES[6]) == pytest.approx(whole, rel=0.01)


def test_what_readings_tell_of_normals_at_hand():
    """Any selector: own errors (1, r) of sd 0.1 and 0.2 with r = 0.6 leave 1 - 0.36 of the variance."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2000, 2))
    own = np.stack([0.1 * z[:, 0], 0.2 * (0.6 * z[:, 0] + 0.8 * z[:, 1])], axis=1)[:, :, None]
    forecast = Forecast(("a",), 800, np.array([400.0, 800]), np.ones((2, 1)), DrawnErrors(own))
    assert forecast.learn("a", 400) == pytest.approx(0.36 * 0.04, rel=0.15)
    assert forecast.learn("a", 800) == pytest.approx(0.04, rel=0.05)
