"""Selectors that look at probes alone."""

import numpy as np
import pandas as pd
import pytest

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors import GrowingSlopesKernel, KernelOnly, LogMe, NlpMetrics
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
