"""The published curves: reference numbers reproduced, and what the default selector promises kept."""

import numpy as np
import pytest

from evidence.accuracy import calibration, published
from evidence.accuracy.published_page import budgets_figure, coverage_figure, tables
from evidence.speed.law_fits import bfgs_rectified
from lensllm.laws import RectifiedLaw
from lensllm.selectors import AcceptThenStop, GrowingSlopes, ModelSize, SlopeGrowth, SubTuning, ZeroShot


@pytest.fixture(scope="module")
def data():
    return published.load()


def means(data, selector):
    made = {
        (task, b): selector.forecast(data[task].up_to(published.TARGET / b), published.TARGET)
        for task in published.TASKS
        for b in published.BUDGETS
    }
    table = published.score(made, {task: data[task].at(published.TARGET) for task in published.TASKS})
    return published.summary(table)


def test_the_curves_are_all_there(data):
    assert {task: curves.losses.shape for task, curves in data.items()} == dict.fromkeys(published.TASKS, (30, 15))


@pytest.mark.parametrize(
    ("selector", "pearcorr", "rel_acc"),
    [
        (AcceptThenStop(), 80.39, 95.46),
        (AcceptThenStop(5, 1.5), 78.58, 96.73),
        (SubTuning(), 59.28, 85.38),
        (ZeroShot(), -17.61, 80.32),
        (ModelSize(), 3.12, 51.10),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_baselines_reproduce_the_published_numbers(data, selector, pearcorr, rel_acc):
    """ModelSize is printed with the sign of the size, -3.12; a forecast falls as the size grows."""
    result = means(data, selector)
    assert result["pearcorr"]["mean"] == pytest.approx(pearcorr, abs=0.05)
    assert result["rel_acc"]["mean"] == pytest.approx(rel_acc, abs=0.05)


def test_accept_then_stop_reproduces_printed_settings(data):
    """Table 2 of Lin et al. 2024, PearCorr at a budget of 1/8 and 1/512."""
    printed = {("flan", 8): 90.9, ("wmt19", 8): 98.9, ("gigaword", 512): 91.0, ("flan", 512): 45.6}
    for (task, b), value in printed.items():
        forecast = AcceptThenStop().forecast(data[task].up_to(published.TARGET / b), published.TARGET)
        assert 100 * np.corrcoef(forecast.mean, data[task].at(published.TARGET))[0, 1] == pytest.approx(value, abs=0.06)


@pytest.fixture(scope="module")
def ours(data):
    return means(data, GrowingSlopes(draws=10))


def test_the_default_ranks_better_than_every_baseline_on_every_task(data, ours):
    assert ours["pearcorr"]["mean"] > 83.8
    assert ours["rel_acc"]["mean"] > 96
    ats, slopes = (means(data, selector) for selector in (AcceptThenStop(), SlopeGrowth()))
    assert ours["pearcorr"]["mean"] > slopes["pearcorr"]["mean"]
    for task in published.TASKS:
        assert ours["pearcorr"]["by_task"][task] > ats["pearcorr"]["by_task"][task]


@pytest.fixture(scope="module")
def calibrated(data):
    return published.calibration(data)


def test_interval_coverage_on_the_task_left_out(calibrated):
    assert 0.85 < calibrated["coverage"]["90%"]["mean"] < 0.95
    assert calibrated["coverage"]["90%"]["worst"] >= 0.8


def test_p_best_has_a_better_log_score_than_guessing_in_every_task(calibrated):
    for task in published.TASKS:
        scores = calibrated["by_task"][task]["log_score"]
        assert scores["p_best"] < scores["uniform"]


def test_one_doubling_r2_of_the_reference_method(data):
    """0.9919 of 90 curves and 0.9972 of 28: the values of the last-3-point slope that the field reports against."""
    found = published.one_doubling({task: data[task] for task in published.TASKS})["819200"]["last_3_slope"]
    assert (found["r2_90"], found["r2_28"]) == pytest.approx((0.9919, 0.9972), abs=6e-5)


def test_law_fits_better_than_a_straight_power_law_in_sample(data):
    laws = published.in_sample(data)
    assert laws["rectified"]["log_rmse"] < 0.008 < 0.03 < laws["vanilla"]["log_rmse"]


def test_the_bfgs_reference_never_beats_the_batched_fit(data):
    sizes, losses = data["flan"].sizes[1:], data["flan"].losses[3, 1:]
    b, d, beta, e = np.exp(bfgs_rectified(sizes, losses))
    plain = np.sqrt(np.mean((np.log(b / (d + sizes**beta) + e) - np.log(losses)) ** 2))
    assert RectifiedLaw().fit(sizes, losses).log_rmse_[0] <= plain * (1 + 1e-6)


def test_calibration_widens_when_errors_are_larger():
    past = {name: calibration.PastErrors(0.01, 0.02) for name in ("a", "b")}
    common, own = calibration.scales(["a", "b"], past)
    assert (common.sd, own.sd) == pytest.approx((0.01, 0.02))


def test_figures_and_tables_show_what_was_measured(data, calibrated):
    methods = {name: means(data, ZeroShot()) for name in published.selectors()}
    assert len(budgets_figure(methods).data) == 16
    assert len(coverage_figure(calibrated).data) == 4
    result = {
        "methods": methods,
        "leave_one_task_out": {
            "growing_slopes": methods["growing_slopes"] | {"chosen": {t: {"k": 1} for t in published.TASKS}}
        },
        "against_accept_then_stop": {},
        "law_weights": {"law_weight=0.5": {"pearcorr": 80.0, "rel_acc": 90.0, "centred_rmse": 0.1}},
        "calibration": calibrated,
        "one_doubling": {"819200": {"x": {"r2_90": 0.5, "r2_28": 0.25}}},
        "in_sample": {"vanilla": {"log_rmse": 0.03, "r2": 0.97}},
        "ablation": {"gamma=3,tau=1": {"pearcorr": 1.0, "rel_acc": 2.0}},
        "speed": {"bfgs_seconds": 0.1, "batch_seconds": 0.001, "ratio": 100, "fit_and_rank_1000_seconds": 1.0},
    }
    text = tables(result)
    assert "| x | 0.5000 | 0.2500 |" in text
    assert f"{methods['growing_slopes']['pearcorr']['mean']:.2f}" in text
