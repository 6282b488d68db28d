"""Fits against a second optimiser and against known parameters; posteriors against their promised coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from lensllm.errors import InputError
from lensllm.laws import LensLLMLaw, Prior, RectifiedLaw, VanillaLaw

SIZES = 200 * 2.0 ** np.arange(14)


def law_curve(b, f, beta, e, sizes=SIZES):
    return (
        np.asarray(b)[:, None] / (np.asarray(f)[:, None] + sizes ** np.asarray(beta)[:, None]) + np.asarray(e)[:, None]
    )


def prior_curves(n, seed, noise=0.01):
    """Curves drawn from the default prior, with multiplicative noise; floors kept where the prior puts its mass."""
    rng = np.random.default_rng(seed)
    prior = Prior()
    f = np.exp(rng.normal(*prior.log_f, 4 * n))
    beta = np.exp(rng.normal(*prior.log_beta, 4 * n))
    e = rng.normal(*prior.floor, 4 * n)
    kept = np.flatnonzero((e > 0) & (e < 0.95) & (beta < 2.5))[:n]
    f, beta, e = f[kept], beta[kept], e[kept]
    b = (1 - e) * (f + SIZES[-1] ** beta)
    clean = law_curve(b, f, beta, e)
    return {"B": b, "F": f, "beta": beta, "E": e}, clean, clean * np.exp(noise * rng.standard_normal(clean.shape))


def scipy_rmse(losses, fixed_f=None, loss="linear", f_scale=1.0, starts=30):
    """Lowest objective that scipy's least_squares finds from many random starts, in the same bounds."""
    rng = np.random.default_rng(0)
    x, y = np.log(SIZES), np.log(losses)
    level = y.mean()

    def residual(p):
        f = np.exp(p[1]) if fixed_f is None else fixed_f
        grown = f + np.exp(np.exp(p[2]) * x.mean())
        return np.log(np.exp(p[0]) * grown / (f + np.exp(np.exp(p[2]) * x)) + p[3]) - (y - level)

    low, high = [-20.7, -13.8, np.log(0.01), 0.0], [9.2, 46.0, np.log(3), 100.0]
    found = []
    for _ in range(starts):
        start = [rng.uniform(-3, 0), rng.uniform(-4, 9), np.log(rng.uniform(0.05, 1.2)), rng.uniform(0.01, 0.8)]
        fit = least_squares(residual, start, bounds=(low, high), loss=loss, f_scale=f_scale, xtol=1e-12, ftol=1e-12)
        found.append(np.sqrt(2 * fit.cost / len(SIZES)))
    return min(found)


@pytest.mark.parametrize("row", range(4))
def test_rectified_fit_is_at_least_as_good_as_scipys_from_many_starts(row):
    _, _, losses = prior_curves(8, seed=3)
    law = RectifiedLaw().fit(SIZES, losses)
    assert law.log_rmse_[row] <= scipy_rmse(losses[row]) * (1 + 1e-5)


def test_vanilla_and_fixed_f_fits_agree_with_scipys():
    _, _, losses = prior_curves(4, seed=4)
    assert VanillaLaw().fit(SIZES, losses[:1]).log_rmse_ == pytest.approx(scipy_rmse(losses[0], 0.0), rel=1e-5)
    assert LensLLMLaw(30, 30).fit(SIZES, losses[:1]).log_rmse_ == pytest.approx(scipy_rmse(losses[0], 30), rel=1e-5)


def test_robust_fit_is_scipys_soft_l1():
    _, _, losses = prior_curves(1, seed=5)
    losses[0, 5] *= 1.3
    law = RectifiedLaw(f_scale=0.01).fit(SIZES, losses)
    residual = (np.log(law.predict(SIZES)) - np.log(losses)) / 0.01
    ours = np.sqrt(0.01**2 * 2 * (np.sqrt(1 + residual**2) - 1).sum() / len(SIZES))
    assert ours <= scipy_rmse(losses[0], loss="soft_l1", f_scale=0.01) * (1 + 1e-5)


def test_robust_fit_shrugs_off_an_outlier():
    _, clean, _ = prior_curves(20, seed=6)
    spoilt = clean.copy()
    spoilt[:, 6] *= 1.5
    errors = [np.abs(np.log(RectifiedLaw(f_scale=s).fit(SIZES, spoilt).predict(SIZES) / clean)) for s in (None, 0.005)]
    assert np.median(errors[1]) < 0.1 * np.median(errors[0])


def test_noiseless_parameters_are_recovered():
    b, f, beta, e = [40.0, 300.0], [20.0, 90.0], [0.4, 0.6], [0.7, 1.2]
    law = RectifiedLaw().fit(SIZES, law_curve(b, f, beta, e))
    for name, true in {"B": b, "F": f, "beta": beta, "E": e}.items():
        np.testing.assert_allclose(law.params_[name], true, rtol=1e-3)
    np.testing.assert_allclose(law.predict([1e7]), law_curve(b, f, beta, e, np.array([1e7])), rtol=1e-4)


def test_synthetic_bias_and_coverage():
    """Simulation-based calibration: truths drawn from the prior lie in the 50 and 90 % intervals that often."""
    truth, _, losses = prior_curves(500, seed=7)
    law = RectifiedLaw(prior=Prior()).fit(SIZES, losses)
    ok = law.status_ == "ok"
    assert ok.mean() > 0.95
    truth["next"] = law_curve(*truth.values(), np.array([8 * SIZES[-1]]))[:, 0]
    samples = law.sample_params() | {"next": law.sample([8 * SIZES[-1]])[..., 0]}
    for name, draws in samples.items():
        for level, slack in ((0.5, 0.07), (0.9, 0.05)):
            low, high = np.quantile(draws[:, ok], [(1 - level) / 2, (1 + level) / 2], axis=0)
            covered = np.mean((low < truth[name][ok]) & (truth[name][ok] < high))
            assert abs(covered - level) < slack, (name, level, covered)
    assert abs(np.median(np.log(law.predict([8 * SIZES[-1]])[ok, 0] / truth["next"][ok]))) < 0.006
    assert np.median(law.noise_[ok]) == pytest.approx(0.01, rel=0.1)


def test_covariance_matches_the_scatter_of_refits():
    rng = np.random.default_rng(8)
    losses = law_curve([40.0], [20.0], [0.4], [0.7]) * np.exp(0.005 * rng.standard_normal((400, len(SIZES))))
    law = RectifiedLaw().fit(SIZES, losses)
    scatter = np.cov(np.stack(list(law.params_.values())))
    np.testing.assert_allclose(np.median(law.covariance_, axis=0), scatter, rtol=0.4)


def test_samples_follow_the_covariance_when_the_curve_is_well_known():
    law = RectifiedLaw().fit(SIZES, law_curve([40.0], [20.0], [0.4], [0.7]) * (1 + 1e-3 * (-1) ** np.arange(14)))
    draws = law.sample_params(4000)
    spread = [np.std(draws[name][:, 0]) for name in law.params_]
    np.testing.assert_allclose(spread, np.sqrt(np.diag(law.covariance_[0])), rtol=0.35)


def test_f_stays_within_its_bounds():
    _, _, losses = prior_curves(20, seed=9)
    law = LensLLMLaw(F_max=5.0, F_min=2.0).fit(SIZES, losses)
    for values in (law.params_["F"], law.sample_params(64)["F"]):
        assert np.all((values >= 2 - 1e-9) & (values <= 5 + 1e-9))
    known = np.linspace(1, 20, 20)
    np.testing.assert_allclose(LensLLMLaw(known, known).fit(SIZES, losses).params_["F"], known)


def test_lensllm_law_with_the_true_f_known_is_surer_of_the_rest():
    truth, _, losses = prior_curves(200, seed=10)
    free = RectifiedLaw(prior=Prior()).fit(SIZES, losses).sample([1e8])[..., 0].std(0)
    known = LensLLMLaw(truth["F"], truth["F"], prior=Prior()).fit(SIZES, losses).sample([1e8])[..., 0].std(0)
    assert np.nanmedian(known / free) < 0.95


def test_zero_examples_tells_b_over_f():
    curve = law_curve([40.0], [20.0], [0.4], [0.7], np.r_[0, SIZES])
    law = RectifiedLaw().fit(np.r_[0, SIZES], curve)
    assert law.predict([0])[0, 0] == pytest.approx(40 / 20 + 0.7, rel=1e-6)


def test_says_when_a_curve_cannot_support_the_law():
    _, _, losses = prior_curves(1, seed=11)
    rising, constant, short = losses[0, ::-1], np.full(14, 2.0), np.r_[losses[0, :3], np.full(11, np.nan)]
    law = RectifiedLaw().fit(SIZES, np.stack([losses[0], rising, constant, short]))
    assert list(law.status_) == ["ok", "rising", "constant", "too few points"]
    assert np.isfinite(law.predict(SIZES)[0]).all()
    assert np.isnan(law.predict(SIZES)[1:]).all()
    assert np.isnan(law.sample(SIZES)[:, 1:]).all()


def test_a_curve_is_fitted_the_same_alone_and_in_a_batch():
    _, _, losses = prior_curves(30, seed=12)
    together = RectifiedLaw().fit(SIZES, losses).predict([1e7])[4]
    np.testing.assert_allclose(RectifiedLaw().fit(SIZES, losses[4]).predict([1e7])[0], together, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_a_factor_on_the_losses_is_a_factor_on_the_predictions(factor, seed):
    _, _, losses = prior_curves(3, seed=seed)
    one, other = (RectifiedLaw().fit(SIZES, c * losses).predict(SIZES) for c in (1, factor))
    np.testing.assert_allclose(factor * one, other, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.floats(1e-3, 1e3), st.just(np.nan)), min_size=4, max_size=8))
def test_any_positive_losses_give_finite_fits_or_a_reason(values):
    sizes = 50 * 2.0 ** np.arange(len(values))
    law = RectifiedLaw(prior=Prior()).fit(sizes, values)
    fitted = law.predict(sizes)
    assert np.isfinite(fitted).all() == (law.status_[0] == "ok")
    assert np.isfinite(law.sample([1e6], 16)).all() == (law.status_[0] == "ok")


@pytest.mark.parametrize(
    ("sizes", "losses", "message"),
    [([1, 2], [1.0], "one loss a size"), ([-1, 2], [1.0, 1.0], "0 or more"), ([1, 2], [1.0, 0.0], "above 0")],
)
def test_bad_input_is_told(sizes, losses, message):
    with pytest.raises(InputError, match=message):
        RectifiedLaw().fit(sizes, losses)


def test_bad_kernel_bounds_are_told():
    with pytest.raises(InputError, match="F_min <= F_max"):
        LensLLMLaw(F_max=1.0, F_min=2.0)


TIMES = np.array([0.0, 1.0, 10.0, 100.0, 1000.0])


def measured_f(start):
    """F(t) of kernels with two modes, as equation (9) has it."""
    start = np.asarray(start, float)[:, None]
    return start * (0.7 * np.exp(-0.5 * TIMES) + 0.3 * np.exp(-0.002 * TIMES))


def test_with_the_training_time_known_f_is_what_was_measured():
    f = measured_f([400.0, 90.0])
    for column, t in enumerate(TIMES):
        law = LensLLMLaw.measured(TIMES, f, t=t)
        truth = law_curve([9.0, 5.0], f[:, column], [0.5, 0.4], [1.0, 2.0])
        fitted = law.fit(SIZES, truth)
        np.testing.assert_allclose(fitted.params_["F"], f[:, column], rtol=1e-9)
        np.testing.assert_allclose(fitted.predict(SIZES), truth, rtol=1e-5)
        np.testing.assert_allclose(fitted.training_times(TIMES, f), t, rtol=1e-6, atol=1e-9)


def test_with_the_training_time_unknown_it_is_found():
    """Curves made with F between two measured times: the fit finds F, and the time lies between those."""
    f = measured_f([400.0, 90.0])
    true_f = np.sqrt(f[:, 2] * f[:, 3])
    losses = law_curve([900.0, 500.0], true_f, [0.8, 0.7], [1.0, 2.0])
    law = LensLLMLaw.measured(TIMES, f).fit(SIZES, losses)
    np.testing.assert_allclose(law.params_["F"], true_f, rtol=0.02)
    times = law.training_times(TIMES, f)
    assert ((times > 10) & (times < 100)).all()


def test_f_stays_between_its_first_and_last_value():
    """The data ask for an F far above F(0); the kernel does not allow it."""
    losses = law_curve([9000.0], [5000.0], [0.8], [1.0])
    law = LensLLMLaw.measured(TIMES, measured_f([400.0])).fit(SIZES, losses)
    assert law.params_["F"][0] == pytest.approx(400.0)
    assert law.training_times(TIMES, measured_f([400.0]))[0] == pytest.approx(0.0, abs=1e-6)
    flat = LensLLMLaw.measured(TIMES, measured_f([4000.0])).fit(SIZES, law_curve([9.0], [0.01], [0.3], [1.0]))
    assert flat.params_["F"][0] == pytest.approx(measured_f([4000.0])[0, -1])


@pytest.mark.parametrize(
    ("times", "losses", "t", "message"),
    [
        ([0, 1], [[2.0, 3.0]], None, "fall with t"),
        ([0, 1], [[2.0, 0.0]], None, "above 0"),
        ([1, 0], [[2.0, 1.0]], None, "ascending times"),
        ([0, 1, 2], [[2.0, 1.0]], None, "one F a time"),
        ([0, 1], [[2.0, 1.0]], 5.0, "between 0 and 1"),
    ],
)
def test_a_kernel_loss_that_is_none_is_told(times, losses, t, message):
    with pytest.raises(InputError, match=message):
        LensLLMLaw.measured(times, losses, t)


def test_each_curve_may_have_a_prior_of_its_own_and_few_points_are_enough_then():
    _, _, losses = prior_curves(3, seed=8)
    centers = np.array([0.0, 2.5, 5.0])
    for points in (1, 2, 6):
        sizes, seen = SIZES[:points], losses[:, :points]
        together = RectifiedLaw(Prior(log_f=(centers, 1.0), least_points=1)).fit(sizes, seen)
        assert (together.status_ == "ok").all()
        for row, center in enumerate(centers):
            alone = RectifiedLaw(Prior(log_f=(center, 1.0), least_points=1)).fit(sizes, seen[row])
            np.testing.assert_allclose(together.predict(SIZES)[row], alone.predict(SIZES)[0], rtol=1e-6)
        if points == 1:
            np.testing.assert_allclose(np.log(together.params_["F"]), centers, atol=1e-4)
            np.testing.assert_allclose(np.log(together.params_["beta"]), Prior().log_beta[0], atol=1e-4)
            np.testing.assert_allclose(together.params_["E"], Prior().floor[0] * losses[:, 0], rtol=1e-4)
            np.testing.assert_allclose(together.predict(sizes), seen, rtol=1e-5)
            assert np.isfinite(together.sample(SIZES, draws=64)).all()
    assert (RectifiedLaw(Prior()).fit(SIZES[:3], losses[:, :3]).status_ == "too few points").all()
