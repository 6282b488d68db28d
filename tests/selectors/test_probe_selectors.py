"""Selectors that look at probes alone."""

import numpy as np
import pandas as pd
import pytest

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors import KernelOnly, LogMe, NlpMetrics

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
