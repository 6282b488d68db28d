"""The rule: on forecast, off, or not to be told yet."""

import math

import pytest

from lensllm.curve_sources import Evaluated, TrackedRun
from lensllm.watching import Expected, judge

EXPECTED = Expected("a", 400, 1.0, 0.9, 1.1, zero_shot=2.0, zero_shot_error=0.01, bytes_a_token=4.0, learning_rate=1e-3)


def logged(*losses, steps=100, **known):
    """A run with losses (nats a byte) at these steps."""
    evaluations = tuple(Evaluated(step, None, loss) for step, loss in losses)
    return TrackedRun("mine", "mine", "eval_loss", evaluations, steps=steps, **known)


@pytest.mark.parametrize("loss", [0.91, 1.0, 1.09, 1.11])
def test_an_end_within_the_interval_is_on_forecast(loss):
    verdict = judge(logged((100, loss)), EXPECTED, "byte")
    assert verdict.status == "on forecast"
    assert not verdict.causes


@pytest.mark.parametrize(("loss", "said"), [(1.3, "above the interval"), (0.7, "below the interval")])
def test_an_end_beyond_it_is_off(loss, said):
    verdict = judge(logged((100, loss)), EXPECTED, "byte")
    assert verdict.is_off
    assert said in verdict.sentence
    assert any("prompts" in cause for cause in verdict.causes) is (loss < 1)


def test_a_run_on_its_way_cannot_be_told_yet():
    verdict = judge(logged((0, 2.0), (25, 1.4), (50, 1.2)), EXPECTED, "byte")
    assert verdict.status == "cannot tell yet"
    assert "50% of the run" in verdict.basis


def test_a_run_that_has_stopped_falling_is_told_at_half():
    verdict = judge(logged((0, 2.0), (25, 1.62), (50, 1.6)), EXPECTED, "byte")
    assert verdict.is_off
    assert "hardly end below 1.570" in verdict.sentence
    early = judge(logged((0, 2.0), (20, 1.62), (40, 1.6)), EXPECTED, "byte")
    assert early.status == "cannot tell yet"


def test_a_run_that_is_too_good_is_told_at_once():
    assert judge(logged((10, 0.5)), EXPECTED, "byte").is_off


def test_another_loss_before_training_is_told_before_training():
    verdict = judge(logged((0, 1.5)), EXPECTED, "byte")
    assert verdict.is_off
    assert "before training" in verdict.sentence
    assert any("template" in cause for cause in verdict.causes)
    assert judge(logged((0, 2.1)), EXPECTED, "byte").status == "cannot tell yet"


def test_losses_a_token_are_taken_over_bytes():
    assert judge(logged((100, 4.0)), EXPECTED, "token").status == "on forecast"
    verdict = judge(logged((100, 1.0)), EXPECTED, "token")
    assert verdict.is_off
    assert "read in nats a byte, it would be within" in verdict.causes[0]


def test_a_run_that_diverged():
    assert "diverged" in judge(logged((30, math.inf)), EXPECTED, "byte").sentence


def test_another_learning_rate_is_said_first():
    verdict = judge(logged((100, 1.3), learning_rate=1e-4), EXPECTED, "byte")
    assert verdict.causes[0] == "its learning rate is 0.0001, and 0.001 was found to be best"
    assert not any(
        "was found" in cause for cause in judge(logged((100, 1.3), learning_rate=1.5e-3), EXPECTED, "byte").causes
    )


def test_a_log_that_does_not_say_how_far_it_is():
    verdict = judge(logged((100, 1.0), steps=None), EXPECTED, "byte")
    assert verdict.status == "cannot tell yet"
    assert "--steps" in verdict.sentence


def test_epochs_tell_how_far_it_is():
    run = TrackedRun("mine", "mine", "eval_loss", (Evaluated(7, 3.0, 1.0),), epochs=3.0)
    assert judge(run, EXPECTED, "byte").status == "on forecast"
