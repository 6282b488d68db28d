"""The paper's own algorithm."""

import numpy as np
import pandas as pd
import pytest

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors import LensLLMLawSelector

SIZES = np.array([50, 100, 200, 400, 800, 1600])
F = pd.DataFrame({"squared_residual": [40.0], "remaining_10": [0.25], "remaining_1": [0.75]}, index=["a"])


def curves(f=20.0, first=None):
    losses = 8 / (f + SIZES**0.5) + 1
    losses[0] = losses[0] if first is None else first
    return Curves(("a",), SIZES, [losses], F)


def test_with_t_fitted_it_finds_f_within_what_was_measured():
    truth = 8 / (20 + 6400**0.5) + 1
    assert LensLLMLawSelector().forecast(curves(), 6400).mean[0] == pytest.approx(truth, rel=1e-3)


def test_with_t_known_f_is_what_was_measured_then():
    at_10 = LensLLMLawSelector(t=10).forecast(curves(f=10.0), 6400).mean[0]
    assert at_10 == pytest.approx(8 / (10 + 6400**0.5) + 1, rel=1e-3)
    at_0 = LensLLMLawSelector(t=0).forecast(curves(f=10.0), 6400).mean[0]
    assert abs(at_0 - at_10) > 1e-3


def test_a_point_off_the_law_and_all_before_it_are_left_out():
    truth = 8 / (20 + 6400**0.5) + 1
    off = LensLLMLawSelector(gamma=4, tau=5).forecast(curves(first=3.0), 6400).mean[0]
    assert off == pytest.approx(truth, rel=1e-3)
    accepted = LensLLMLawSelector(gamma=6).forecast(curves(first=3.0), 6400).mean[0]
    assert abs(accepted - truth) > 0.01


def test_without_f_it_says_what_is_missing():
    with pytest.raises(InputError, match="needs F\\(Theta, t\\)"):
        LensLLMLawSelector().forecast(Curves(("a",), SIZES, [np.ones(6)]), 6400)
    with pytest.raises(InputError, match="at least 3"):
        LensLLMLawSelector(gamma=2)
