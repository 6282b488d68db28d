"""How many examples are needed for a loss, and what twice the data would bring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import with_zero_shot
from lensllm.planning.curve_samples import HORIZON, CurveSamples
from lensllm.planning.pareto import Cost, Offer, offers
from lensllm.selectors import Selector

LEVEL = 0.9
"""Of the intervals that are shown."""
ANY = "any of them"


@dataclass(frozen=True)
class Need:
    """Training examples that a candidate needs for the target loss.

    Attributes:
        candidate: its name, or "any of them" for the one that needs the fewest, whichever that is.
        examples: median over the samples; infinite if in more than half of them no amount is enough.
        interval: 90 % interval of the same, either end possibly infinite.
        p_never: probability that no amount is enough, up to 2^10 times the data at hand.

    >>> curves = Curves(("a", "b"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.74, 1.68, 1.63]])
    >>> for need in plan(curves, 1600, target_loss=1.1).needs:
    ...     print(need.candidate, rounded(need.examples), round(need.p_never, 1))
    a 3,600 0.1
    b no amount 0.7
    any of them 3,600 0.1
    """

    candidate: str
    examples: float
    interval: tuple[float, float]
    p_never: float


@dataclass(frozen=True)
class Doubling:
    """What twice the data at hand would bring to a candidate.

    Attributes:
        candidate: its name.
        loss: point forecast at the data at hand.
        doubled_loss: at twice as much.
        gain: 1 - doubled_loss / loss.
        gain_interval: 90 % interval of the gain.
        training_flops: of fine-tuning on the data at hand, None if not known; twice the data cost twice as much.

    >>> curves = Curves(("a", "b"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.74, 1.68, 1.63]])
    >>> for row in plan(curves, 1600, target_loss=1.1).doublings:
    ...     print(f"{row.candidate}: {row.loss:.2f} -> {row.doubled_loss:.2f}, {row.gain:.0%} less")
    a: 1.16 -> 1.10, 5% less
    b: 1.49 -> 1.44, 3% less
    """

    candidate: str
    loss: float
    doubled_loss: float
    gain: float
    gain_interval: tuple[float, float]
    training_flops: float | None


@dataclass(frozen=True)
class Plan:
    """The answer to "how much data do I need?".

    Attributes:
        size: examples at hand.
        target_loss: the loss asked for; with a gain, below the best candidate's point forecast.
        gain: the gain asked for, or None.
        needs: one row a candidate, in the order of their forecasts at `size`, then "any of them".
        doublings: in the same order.
        offers: forecast loss with training and serving cost, of the candidates whose cost is known.
        samples: what all of it was computed from.

    >>> curves = Curves(("a", "b"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.74, 1.68, 1.63]])
    >>> made = plan(curves, 1600, gain=0.1)
    >>> print(made.sentence.split(";")[0])
    For a loss of 1.046 (10.0% below the best now) a needs about 6,200 examples (90 % interval 3,100 to no amount)
    >>> round(made.target_loss, 2), [need.candidate for need in made.needs]
    (1.05, ['a', 'b', 'any of them'])
    """

    size: float
    target_loss: float
    gain: float | None
    needs: tuple[Need, ...]
    doublings: tuple[Doubling, ...]
    offers: tuple[Offer, ...]
    samples: CurveSamples

    @property
    def sentence(self) -> str:
        """How much data the best candidate needs, and what twice the data would bring it."""
        need, double = self.needs[0], self.doublings[0]
        asked = f" ({self.gain:.1%} below the best now)" if self.gain is not None else ""
        low, high = need.interval
        if math.isfinite(need.examples):
            answer = f"needs about {rounded(need.examples)} examples (90 % interval {rounded(low)} to {rounded(high)})"
        else:
            answer = f"needs more than {rounded(low)} examples" if math.isfinite(low) else "does not get there"
        return (
            f"For a loss of {self.target_loss:.3f}{asked} {need.candidate} {answer}; with probability "
            f"{need.p_never:.0%} no amount is enough. " + doubling_sentence(double, self.size)
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it but the samples; infinite numbers of examples are None."""
        return {
            "size": self.size,
            "target_loss": self.target_loss,
            "gain": self.gain,
            "level": LEVEL,
            "most_examples": self.size * 2**HORIZON,
            "sentence": self.sentence,
            "needs": [
                {
                    "candidate": need.candidate,
                    "examples": _known(need.examples),
                    "interval": [_known(end) for end in need.interval],
                    "p_never": need.p_never,
                }
                for need in self.needs
            ],
            "doublings": [asdict(row) | {"gain_interval": list(row.gain_interval)} for row in self.doublings],
            "offers": [asdict(offer) | {"front": list(offer.front)} for offer in self.offers],
        }


def plan(
    curves: Curves,
    size: float,
    *,
    target_loss: float | None = None,
    gain: float | None = None,
    costs: Mapping[str, Cost] | None = None,
    selector: Selector | None = None,
) -> Plan:
    """How many training examples are needed for a loss, with every uncertainty of the forecast.

    A target loss is the same in every sample. A gain is below what the best candidate reaches with the data at hand in
    the same sample, so that errors common to both cancel.

    Args:
        curves: measured losses.
        size: training examples at hand.
        target_loss: the loss wanted, in the unit of the curves.
        gain: or how far below the best now, between 0 and 1.
        costs: of the candidates, where known.
        selector: makes the forecast; the default for these curves if None (`lensllm.selectors.default_selector`).

    Raises:
        InputError: unless one of target and gain is given, and within reach of some sample of some candidate.

    Example:
        >>> curves = Curves(("a", "b"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.74, 1.68, 1.63]])
        >>> made = plan(curves, 1600, gain=0.1)
        >>> made.needs[0].candidate, made.needs[0].examples > 1600, made.doublings[0].gain > 0
        ('a', True, True)
    """
    if (target_loss is None) == (gain is None):
        raise InputError(f"give a target loss or a gain, {'not both' if gain is not None else 'got neither'}")
    if target_loss is not None and not (math.isfinite(target_loss) and target_loss > 0):
        raise InputError(f"the target loss is {target_loss}, expected a number above 0")
    if gain is not None and not 0 < gain < 1:
        raise InputError(f"the gain is {gain}, expected a part between 0 and 1, such as 0.05")
    samples = CurveSamples.draw(curves, size, selector)
    best = samples.best
    goal: float | Floats
    if target_loss is not None:
        goal = shown = target_loss
    else:
        part = 1 - float(gain or 0)
        goal, shown = part * samples.at(size)[:, [best]], part * float(samples.points[best])
    needed = samples.needed(goal)
    order = _order(samples)
    needs = [need_of(samples.candidates[k], needed[:, k]) for k in order]
    needs.append(need_of(ANY, np.nanmin(needed[:, order], axis=1)))
    if needs[-1].p_never == 1:
        lowest = float(np.quantile(np.nanmin(samples.losses[-1], axis=1), (1 - LEVEL) / 2))
        raise InputError(
            f"a loss of {shown:.4g} is below the forecast floor of every candidate (about {lowest:.4g}): no amount of "
            "data is forecast to reach it, ask for a higher loss"
        )
    known = dict(costs or {})
    return Plan(size, shown, gain, tuple(needs), doublings(samples, known), offers_of(samples, known), samples)


def doublings(samples: CurveSamples, costs: Mapping[str, Cost]) -> tuple[Doubling, ...]:
    """What twice the data at hand would bring, per candidate in the order of their forecasts.

    >>> curves = Curves(("a",), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33]])
    >>> row = doublings(CurveSamples.draw(curves, 1600), {"a": Cost(2e12, 250_000, 6e6, 2e6)})[0]
    >>> row.candidate, round(row.gain, 2), f"{row.training_flops:.0e}"
    ('a', 0.06, '2e+12')
    """
    ratio = samples.at(2 * samples.size) / samples.at(samples.size)
    rows = []
    for k in _order(samples):
        name, loss = samples.candidates[k], float(samples.points[k])
        low, middle, high = np.quantile(ratio[:, k], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
        training = costs[name].training_flops if name in costs else None
        gains = (float(1 - high), float(1 - low))
        rows.append(Doubling(name, loss, loss * float(middle), float(1 - middle), gains, training))
    return tuple(rows)


def offers_of(samples: CurveSamples, costs: Mapping[str, Cost]) -> tuple[Offer, ...]:
    """Forecast loss at the data at hand and cost of every candidate, and of the best one as it came.

    >>> curves = Curves(("a", "b"), [0, 50, 100, 200], [[2.4, 1.6, 1.5, 1.41], [2.2, 1.8, 1.74, 1.68]])
    >>> costs = {"a": Cost(4e12, 900_000, 2e7, 7e6), "b": Cost(1e12, 250_000, 6e6, 2e6)}
    >>> for offer in offers_of(CurveSamples.draw(curves, 800), costs):
    ...     print(f"{offer.candidate}: loss {offer.loss:.2f} for {offer.cost.training_flops:.0e} FLOPs of training")
    a: loss 1.21 for 4e+12 FLOPs of training
    b: loss 1.50 for 1e+12 FLOPs of training
    b (not fine-tuned): loss 2.20 for 0e+00 FLOPs of training
    """
    forecast = with_zero_shot(samples.forecast, samples.curves)
    losses = dict(zip(forecast.candidates, map(float, forecast.mean), strict=True))
    known = dict(costs)
    for name, model, method in zip(forecast.candidates, forecast.models, forecast.methods, strict=True):
        if method == "none" and model in costs:
            known[name] = costs[model].untrained
    return offers(losses, known, dict(zip(forecast.candidates, forecast.methods, strict=True)))


def doubling_sentence(row: Doubling, size: float) -> str:
    """What twice the data would bring a candidate, in one sentence.

    >>> row = Doubling("a", 1.2, 1.14, 0.05, (0.02, 0.09), 2e12)
    >>> print(doubling_sentence(row, 1600))  # doctest: +NORMALIZE_WHITESPACE
    Twice the data (3,200 examples) would bring a from 1.200 to 1.140, 5.0% less (90 % interval 2.0% to 9.0%) for
    2.0e+12 more FLOPs of training.
    """
    low, high = row.gain_interval
    cost = f" for {row.training_flops:.1e} more FLOPs of training" if row.training_flops else ""
    return (
        f"Twice the data ({2 * size:,.0f} examples) would bring {row.candidate} from {row.loss:.3f} to "
        f"{row.doubled_loss:.3f}, {row.gain:.1%} less (90 % interval {low:.1%} to {high:.1%}){cost}."
    )


def rounded(examples: float) -> str:
    """A number of examples to two digits; "no amount" if infinite."""
    if not math.isfinite(examples):
        return "no amount"
    digits = max(0, math.floor(math.log10(max(examples, 1))) - 1)
    return f"{round(examples, -digits):,.0f}"


def need_of(candidate: str, needed: Floats) -> Need:
    """The row of a candidate from the examples that each of its sampled curves needs, shape (draws,)."""
    low, middle, high = np.quantile(needed, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], method="inverted_cdf")
    return Need(candidate, float(middle), (float(low), float(high)), float(np.isinf(needed).mean()))


def _order(samples: CurveSamples) -> list[int]:
    """Positions of the candidates with a forecast, from best to worst."""
    return [int(k) for k in samples.forecast.order if np.isfinite(samples.points[k])]


def _known(examples: float) -> float | None:
    return examples if math.isfinite(examples) else None
