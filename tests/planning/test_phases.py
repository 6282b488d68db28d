import dataclasses
import json
import math

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.planning.phases import local_slopes, phases, transition_by_residuals

SIZES = 50.0 * 2 ** np.arange(10)


def curve(f, beta, noise=0.0, sizes=SIZES, floor=0.3):
    """A rectified law that starts at 2."""
    losses = (2 - floor) * f / (f + sizes**beta) + floor
    return losses * np.exp(noise * np.random.default_rng(0).standard_normal(sizes.size))


def phase_of(losses, sizes=SIZES):
    return phases(Curves(("m",), sizes, np.asarray(losses)[None]))[0]


@pytest.mark.parametrize("transition", [200.0, 1600.0, 6400.0])
def test_the_law_finds_the_transition_that_a_curve_was_made_with(transition):
    found = phase_of(curve(transition**0.8, 0.8, 0.002))
    assert found.by_law.low <= transition <= found.by_law.high
    assert found.by_law.size == pytest.approx(transition, rel=0.5)
    assert found.phase == "power"
    assert found.p_power > 0.8
    assert found.more_sizes == 0
    assert found.advice == "in the power phase"


def test_a_curve_far_before_its_transition_is_in_the_pre_power_phase():
    transition = 1.5e5
    found = phase_of(curve(transition**0.8, 0.8, 0.0005))
    assert found.phase == "pre-power"
    assert 1 <= found.more_sizes <= 12
    assert f"measure {found.more_sizes} more size" in found.advice
    assert found.advice.startswith("still in the pre-power phase")
    assert "more than 6 doublings from its end" in dataclasses.replace(found, more_sizes=7).advice


def test_the_phase_changes_once_as_the_curve_is_seen_further():
    losses = curve(800.0**0.9, 0.9, 0.001)
    chances = [phase_of(losses[:count], SIZES[:count]).p_power for count in (4, 6, 8, 10)]
    assert chances[0] < 0.5 < chances[-1]


def test_scaling_the_losses_changes_nothing():
    losses = curve(400.0**0.7, 0.7, 0.003)
    assert phase_of(losses).by_law.size == pytest.approx(phase_of(7 * losses).by_law.size, rel=1e-3)


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        ([2.0, 1.9, 1.8], "3 sizes, 4 needed"),
        ([1.0, 1.1, 1.2, 1.3], "the losses do not fall"),
        ([1, 1, 1, 1], "do not fall"),
    ],
)
def test_what_cannot_be_told_is_unknown(losses, why):
    found = phase_of(losses, SIZES[: len(losses)])
    assert found.phase == "unknown"
    assert math.isnan(found.p_power)
    assert why in found.advice
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["by_law"]["size"] is None


def test_missing_points_and_zero_shot_are_left_out():
    losses = curve(400.0**0.8, 0.8)
    sizes = np.concatenate([[0.0], SIZES])
    both = np.array([[9.0, *losses], [9.0, np.nan, *losses[1:]]])
    full, less = phases(Curves(("a", "b"), sizes, both))
    assert (full.sizes, less.sizes) == (10, 9)
    assert full.by_law.size == pytest.approx(phase_of(losses).by_law.size, rel=0.01)
    assert less.last == SIZES[-1]


def test_the_residual_test_lies_between_two_sizes():
    bent = np.where(SIZES < 800, 2.0, 2.0 * (SIZES / 800) ** -0.3) * (1 + 1e-3 * (np.arange(10) % 3))
    found = transition_by_residuals(SIZES, bent)
    assert found.low < found.size < found.high
    assert (found.low, found.high) == (400.0, 800.0)
    straight = transition_by_residuals(SIZES, 2 * SIZES**-0.2 * np.exp(0.01 * (-1.0) ** np.arange(10)))
    assert (straight.low, straight.high) == (0.0, 50.0)
    assert math.isnan(transition_by_residuals(SIZES[:3], bent[:3]).size)


def test_slopes_of_a_power_law():
    middle, slope = local_slopes(SIZES, 3 * SIZES**-0.25)
    np.testing.assert_allclose(slope, 0.25)
    np.testing.assert_allclose(middle, np.sqrt(SIZES[1:] * SIZES[:-1]))
