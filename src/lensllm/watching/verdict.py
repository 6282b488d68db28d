"""The rule by which a run is on its forecast, off it, or not to be told yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lensllm.curve_sources import Evaluated, TrackedRun
from lensllm.watching.expected import Expected

Unit = Literal["token", "byte"]

SLACK = 0.02
"""Part of a loss by which it may miss an end of the interval: trainers average over batches and not over tokens, and
another set of examples is measured."""
UNTRAINED = 0.1
"""Part of the loss before training by which it may differ from the measured one, beside three standard errors."""
REMAINING = 1.5
"""A run falls no further than so many times what it fell since half of where it is, once that is half of all or more:
`python -m evidence watch` (docs/trackers.md)."""
HALF = 0.5
RATES = 2.0
"""Learning rates that are so many times apart are not the same."""
HIGHER = (
    "a chat template other than the one that was measured",
    "a mask that counts other tokens in the loss",
    "a learning rate that does not suit the model",
    "adapters in fewer layers, or weights that stay as they are",
)
LOWER = (
    "prompts that count in the loss, as they are easier than completions",
    "evaluation examples that are in the training data",
    "a loss in nats a byte that is read as one in nats a token",
)


@dataclass(frozen=True)
class Verdict:
    """What is said of a run.

    Attributes:
        status: `on forecast`, `off` or `cannot tell yet`.
        sentence: why.
        basis: what was compared with what.
        causes: where it is off, what usually causes that; what is known of this run comes first.

    >>> Verdict("off", "its loss is not finite: it diverged", "step 10").is_off
    True
    """

    status: Literal["on forecast", "off", "cannot tell yet"]
    sentence: str
    basis: str
    causes: tuple[str, ...] = ()

    @property
    def is_off(self) -> bool:
        """Whether it is off its interval."""
        return self.status == "off"


def judge(run: TrackedRun, expected: Expected, unit: Unit) -> Verdict:
    """Whether a run is on its forecast.

    At the end its loss is held against the 90 % interval of the forecast. Before training, the loss of the model as it
    came is held against the one that was measured. In between, a loss that is below the interval already is off; from
    half of the run on, so is one that would end above it even if it fell once more `REMAINING` times as far as it did
    since half of where it is. Anything else cannot be told yet.

    Args:
        run: its evaluations as they were logged.
        expected: of the selection.
        unit: of the logged losses, in nats.

    >>> expected = Expected("a", 400, 1.0, 0.9, 1.1, zero_shot=2.0, bytes_a_token=4.0)
    >>> run = TrackedRun("a", "a", "eval_loss", (Evaluated(0, 0, 8.0), Evaluated(50, 1, 4.0)), steps=50)
    >>> judge(run, expected, "token").status, judge(run, expected, "byte").status
    ('on forecast', 'off')
    """
    scale = 1.0 if unit == "byte" else 1 / expected.bytes_a_token
    losses = [(run.progress(one), one.loss * scale) for one in run.evaluations]
    done, last = losses[-1]
    basis = _basis(run.evaluations[-1], done, expected, unit)
    found = _off(run, losses, expected)
    if found:
        return Verdict("off", found[0], basis, _causes(run, expected, scale, found[1]))
    within = expected.low * (1 - SLACK) <= last <= expected.high * (1 + SLACK)
    interval = f"{expected.low:.3f} to {expected.high:.3f}"
    if done is not None and done >= 1.0:
        return Verdict("on forecast", f"it ended at {last:.3f} nats a byte, within {interval}", basis)
    said = f"it is at {last:.3f} nats a byte, and the forecast for its end is {interval}"
    if done is None:
        return Verdict("cannot tell yet", f"{said}: nothing tells how far it is (--steps)", basis)
    return Verdict("cannot tell yet", f"{said}{': it is there already' if within else ''}", basis)


def _off(run: TrackedRun, losses: list[tuple[float | None, float]], expected: Expected) -> tuple[str, int] | None:
    """Why a run is off, and to which side (1 is too high, -1 too low, 0 before training); None where it is not."""
    done, last = losses[-1]
    interval = f"{expected.low:.3f} to {expected.high:.3f}"
    if not math.isfinite(last):
        return "its loss is not finite: it diverged", 1
    if run.evaluations[0].step == 0 and _is_another(losses[0][1], expected):
        return (
            f"before training it has a loss of {losses[0][1]:.3f} nats a byte, and {expected.zero_shot:.3f} was "
            "measured: it is not the same loss of the same model",
            0,
        )
    if last < expected.low * (1 - SLACK):
        return f"its loss of {last:.3f} nats a byte is below the interval {interval}", -1
    if done is not None and done >= 1.0 and last > expected.high * (1 + SLACK):
        return f"it ended at {last:.3f} nats a byte, above the interval {interval}", 1
    floor = _lowest_end(losses) if done is not None and HALF <= done < 1.0 else None
    if floor is not None and floor > expected.high * (1 + SLACK):
        return (
            f"at {done:.0%} of the run it has a loss of {last:.3f} nats a byte and will hardly end below {floor:.3f}, "
            f"which is above the interval {interval}",
            1,
        )
    return None


def _is_another(first: float, expected: Expected) -> bool:
    """Whether the loss before training is another than that of the model as it came; not where that is unknown."""
    if not math.isfinite(expected.zero_shot):
        return False
    error = 3 * expected.zero_shot_error if expected.zero_shot_error > 0 else 0.0
    return abs(first - expected.zero_shot) > UNTRAINED * expected.zero_shot + error


def _lowest_end(losses: list[tuple[float | None, float]]) -> float | None:
    """Where it ends if it falls once more `REMAINING` times as far as since half of where it is; None if unknown."""
    done, last = losses[-1]
    assert done is not None
    before = [loss for at, loss in losses if at is not None and 0 < at <= done / 2]
    if not before:
        return None
    return last - REMAINING * max(before[-1] - last, 0.0)


def _causes(run: TrackedRun, expected: Expected, scale: float, side: int) -> tuple[str, ...]:
    """What is known of this run, then what is usual."""
    known, last = [], run.evaluations[-1].loss
    rate, found = run.learning_rate, expected.learning_rate
    if rate and math.isfinite(found) and max(rate / found, found / rate) > RATES:
        known.append(f"its learning rate is {rate:.2g}, and {found:.2g} was found to be best")
    other = last / expected.bytes_a_token if scale == 1.0 else last
    if expected.low <= other <= expected.high:
        known.append(f"read in nats a {'token' if scale == 1.0 else 'byte'}, it would be within the interval (--unit)")
    if side < 0:
        return (*known, *LOWER)
    return (*known, *HIGHER[:2], LOWER[0]) if side == 0 else (*known, *HIGHER)


def _basis(last: Evaluated, done: float | None, expected: Expected, unit: Unit) -> str:
    """What was compared with what."""
    far = "an unknown part" if done is None else f"{done:.0%}"
    converted = (
        "" if unit == "byte" else f", {last.loss:.4g} nats a token over {expected.bytes_a_token:.2f} bytes a token"
    )
    return (
        f"step {last.step:,}, {far} of the run{converted}; {expected.candidate} on {expected.examples:,} examples is "
        f"forecast to reach {expected.forecast:.3f} nats a byte on the test examples of the selection"
    )
