"""How many examples are needed for a score, and what twice the data would bring."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.objectives import Between
from lensllm.odds import odds_of
from lensllm.planning.curve_samples import CurveSamples, plan_sizes
from lensllm.planning.plan import ANY, LEVEL, Need, need_of, rounded
from lensllm.selectors import GaussianProcess

FURTHEST = 16
"""Times the data at hand: forecasts of scores were judged to 16 times what was measured (docs/evidence.md)."""


@dataclass(frozen=True)
class ScoreDoubling:
    """What twice the data at hand would bring to a candidate.

    Attributes:
        candidate: its name.
        score: point forecast at the data at hand.
        doubled_score: median at twice as much.
        gain_interval: 90 % interval of the difference.

    >>> ScoreDoubling("a", score=0.8, doubled_score=0.84, gain_interval=(0.0, 0.09)).doubled_score
    0.84
    """

    candidate: str
    score: float
    doubled_score: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class ScorePlan:
    """The answer to "how much data for this score?".

    Attributes:
        objective: the score.
        size: examples at hand.
        target_score: asked for.
        needs: one row a candidate, in the order of their forecasts, then "any of them"; examples are infinite where
            more than 16 times the data at hand would be needed.
        doublings: in the same order.

    >>> scores = Curves(("a", "b"), [50, 100, 200, 400], [[0.5, 0.6, 0.66, 0.75], [0.5, 0.52, 0.55, 0.58]])
    >>> made = plan_score(scores, Between("exact_match"), 1600, target_score=0.9)
    >>> [(need.candidate, rounded(need.examples)) for need in made.needs][0]
    ('a', '12,000')
    """

    objective: Between
    size: float
    target_score: float
    needs: tuple[Need, ...]
    doublings: tuple[ScoreDoubling, ...]

    @property
    def sentence(self) -> str:
        """How much data the best candidate needs, and what twice the data would bring it."""
        need, double = self.needs[0], self.doublings[0]
        low, high = need.interval
        if math.isfinite(need.examples):
            answer = f"needs about {rounded(need.examples)} examples (90 % interval {rounded(low)} to {rounded(high)})"
        else:
            answer = f"needs more than {rounded(low)} examples" if math.isfinite(low) else "does not get there"
        least, most = double.gain_interval
        return (
            f"For {self.objective.name} of {self.target_score:g} {need.candidate} {answer}; with probability "
            f"{need.p_never:.0%} {FURTHEST} times the data at hand are not enough. Twice the data "
            f"({2 * self.size:,.0f} examples) would bring it from {double.score:.3f} to {double.doubled_score:.3f} "
            f"(90 % interval of the change {least:+.3f} to {most:+.3f})."
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it; infinite numbers of examples are None."""
        needs = [{**asdict(need), "interval": list(map(_known, need.interval))} for need in self.needs]
        return {
            "score": self.objective.name,
            "size": self.size,
            "target_score": self.target_score,
            "level": LEVEL,
            "most_examples": FURTHEST * self.size,
            "sentence": self.sentence,
            "needs": [need | {"examples": _known(float(need["examples"]))} for need in needs],
            "doublings": [asdict(row) | {"gain_interval": list(row.gain_interval)} for row in self.doublings],
        }


def plan_score(scores: Curves, objective: Between, size: float, target_score: float, seed: int = 0) -> ScorePlan:
    """How many training examples are needed for a score, with every uncertainty of its forecast.

    A sampled curve never falls, and has no floor of its own: it goes on as its path does, towards the ceiling.

    Args:
        scores: measured values, which stand where a table of losses has losses.
        objective: says between what they lie.
        size: training examples at hand.
        target_score: the score wanted.
        seed: of the samples.

    Raises:
        InputError: unless the score wanted lies between floor and ceiling, or as `plan_sizes`.

    >>> scores = Curves(("a", "b"), [50, 100, 200, 400], [[0.5, 0.6, 0.66, 0.75], [0.5, 0.52, 0.55, 0.58]])
    >>> plan_score(scores, Between("exact_match"), 1600, target_score=0.9).doublings[0].candidate
    'a'
    """
    low, high = objective.floor, objective.ceiling
    if not low < target_score < high:
        raise InputError(f"the target score is {target_score:g}, expected a number between {low:g} and {high:g}")
    odds = odds_of(scores, objective)
    made = GaussianProcess(seed=seed).forecast(odds, size, plan_sizes(odds, size))
    samples = CurveSamples.of(made, odds, seed, floored=False)
    goal = float(objective.to_loss(np.array([target_score]), np.array([0.0]))[0][0])
    needed = samples.needed(goal)
    needed = np.where(needed > FURTHEST * size, np.inf, needed)
    order = [int(k) for k in made.order if np.isfinite(samples.points[k])]
    needs = [need_of(samples.candidates[k], needed[:, k]) for k in order]
    needs.append(need_of(ANY, np.nanmin(needed[:, order], axis=1)))
    rows = tuple(_doubling(samples, objective, k) for k in order)
    return ScorePlan(objective, size, target_score, tuple(needs), rows)


def _doubling(samples: CurveSamples, objective: Between, k: int) -> ScoreDoubling:
    now, twice = (objective.from_loss(samples.at(size)[:, k]) for size in (samples.size, 2 * samples.size))
    score = float(objective.from_loss(samples.points[[k]])[0])
    low, middle, high = np.quantile(twice - now, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return ScoreDoubling(samples.candidates[k], score, score + float(middle), (float(low), float(high)))


def _known(examples: float) -> float | None:
    return examples if math.isfinite(examples) else None
