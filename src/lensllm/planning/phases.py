"""The two phases of fine-tuning (Zeng et al. 2025) and where a curve passes from one to the other.

In the pre-power phase the log-log slope still grows with the number of examples D; in the power phase the loss above
its floor falls along a straight line. Two ways to tell, from losses alone:

- the law's local slope. Of L(D) = B / (F + D^beta) + E, the part that can be reduced, L - E, has the local slope
  s(D) = - d log(L - E) / d log D = beta D^beta / (F + D^beta), which grows to beta. The transition is the D at which
  it is half of that: D* = F^(1 / beta).
- the residual test of Accept-then-Stop: going back from the largest size, the first point off the line through the
  later ones belongs to the pre-power phase; the transition lies between it and its neighbour.

A third way needs the curvature: where the power term of the bound begins to dominate (`lensllm.theory.bound.Decay`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors.accept_then_stop import AcceptThenStop
from lensllm.selectors.base import fine_tuned

PhaseName = Literal["pre-power", "power", "unclear", "unknown"]

LEAST_SIZES = 4
SURE = 0.8
FAR = 6
LEVEL = 0.9
DRAWS = 512


@dataclass(frozen=True)
class Transition:
    """Numbers of examples: where the power phase begins, and its 90 % interval; NaN where nothing can be said."""

    size: float
    low: float
    high: float


NOWHERE = Transition(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Phase:
    """Where one candidate stands at its last measured size.

    Attributes:
        candidate: its name.
        sizes: how many sizes above 0 were measured.
        last: the largest of them.
        phase: "power" or "pre-power" where the law gives it a probability of 80 % or more, else "unclear"; "unknown"
            with fewer than four sizes, or where the losses do not fall.
        p_power: probability of the power phase, NaN if unknown.
        by_law: the transition of the law's local slope, with its posterior's 90 % interval.
        by_residuals: that of the residual test, between two neighbouring sizes.
        more_sizes: doublings from the last size to the law's transition, 0 in the power phase.
    """

    candidate: str
    sizes: int
    last: float
    phase: PhaseName
    p_power: float
    by_law: Transition
    by_residuals: Transition
    more_sizes: int

    @property
    def advice(self) -> str:
        """What it means for a forecast."""
        if self.phase == "unknown":
            fault = (
                f"{self.sizes} sizes, {LEAST_SIZES} needed" if self.sizes < LEAST_SIZES else "the losses do not fall"
            )
            return f"phase unknown: {fault}"
        if self.phase == "power":
            return "in the power phase"
        what = "still in the pre-power phase" if self.phase == "pre-power" else "perhaps still in the pre-power phase"
        if self.more_sizes > FAR:
            return f"{what}, more than {FAR} doublings from its end: trust a forecast only near what was measured"
        sizes = "size" if self.more_sizes == 1 else "sizes"
        return f"{what}: measure {self.more_sizes} more {sizes} before trusting this"

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON knows, the advice included; what is not a number or infinite as None."""

        def known(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: known(inner) for name, inner in value.items()}
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return {**known(asdict(self)), "advice": self.advice}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Phase:
        """The phase that `to_dict` gave.

        Raises:
            LookupError, TypeError, ValueError: if something is missing or has a value of another type.
        """

        def number(value: Any) -> float:
            return math.nan if value is None else float(value)

        def transition(of: Mapping[str, Any]) -> Transition:
            return Transition(number(of["size"]), number(of["low"]), number(of["high"]))

        candidate, phase, p_power = str(fields["candidate"]), fields["phase"], number(fields["p_power"])
        if phase not in get_args(PhaseName):
            raise ValueError(f"no phase {phase!r}")
        last, more = float(fields["last"]), int(fields["more_sizes"])
        by_law, by_residuals = transition(fields["by_law"]), transition(fields["by_residuals"])
        return cls(candidate, int(fields["sizes"]), last, phase, p_power, by_law, by_residuals, more)


def phases(curves: Curves) -> tuple[Phase, ...]:
    """The phase of every candidate at its last measured size.

    The law is the rectified one, maximum a posteriori, fitted to the fine-tuned losses (D = 0 is left out, as what is
    learned at first is often the format of the task). Doublings are counted to the median transition.
    """
    tuned = curves.sizes > 0
    sizes, losses = curves.sizes[tuned], curves.losses[:, tuned]
    losses = np.where(losses > 0, losses, np.nan)
    law = RectifiedLaw(prior=Prior()).fit(sizes, losses)
    drawn = law.sample_params(DRAWS)
    log_transition = np.log(drawn["F"]) / drawn["beta"]
    return tuple(
        _phase(curves.of([name]), law.status_[k] == "ok", log_transition[:, k])
        for k, name in enumerate(curves.candidates)
    )


def _phase(curve: Curves, fitted: bool, log_transition: Floats) -> Phase:
    name, (sizes, losses) = curve.candidates[0], fine_tuned(curve)
    last = float(sizes[-1]) if sizes.size else math.nan
    by_residuals = transition_by_residuals(sizes, losses)
    if not fitted or sizes.size < LEAST_SIZES:
        return Phase(name, sizes.size, last, "unknown", math.nan, NOWHERE, by_residuals, 0)
    p_power = float((log_transition < math.log(last)).mean())
    low, middle, high = np.quantile(log_transition, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    by_law = Transition(*(math.exp(min(value, 700.0)) for value in (middle, low, high)))
    phase: PhaseName = "power" if p_power >= SURE else "pre-power" if p_power <= 1 - SURE else "unclear"
    more = 0 if phase == "power" else max(1, math.ceil((middle - math.log(last)) / math.log(2)))
    return Phase(name, sizes.size, last, phase, p_power, by_law, by_residuals, more)


def transition_by_residuals(sizes: Floats, losses: Floats) -> Transition:
    """Between the first point that Accept-then-Stop (k = 3, delta = 5) rejects and its neighbour.

    From 0 to the smallest size if it rejects none, which then all belong to the power phase; unknown with fewer than
    four sizes, because three are always accepted.
    """
    if sizes.size < LEAST_SIZES:
        return NOWHERE
    rejected = AcceptThenStop().first_rejected(np.log(sizes), np.log(losses))
    if rejected is None:
        return Transition(float(sizes[0]), 0.0, float(sizes[0]))
    low, high = float(sizes[rejected]), float(sizes[rejected + 1])
    return Transition(math.sqrt(low * high), low, high)


def local_slopes(sizes: Floats, losses: Floats) -> tuple[Floats, Floats]:
    """Geometric middle of neighbouring sizes and the fall of the log loss over that of log D, shapes (points - 1,)."""
    x, y = np.log(sizes), np.log(losses)
    return np.exp((x[1:] + x[:-1]) / 2), -np.diff(y) / np.diff(x)
