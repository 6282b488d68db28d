"""The default policy: the run that is expected to reduce the regret of the final choice most, a FLOP."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lensllm.arrays import Floats
from lensllm.forecast import NOT_TUNED
from lensllm.search.policy import Decision, Policy, State, runs_up_to, to_wait_for, within_budget
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.growing_slopes import READING_SD

LEAST_RUNGS = 3
"""A law and a hindcast need three points."""
LOOK_AHEAD = 4
DRAWS = 1000
NO_CHANCE = 1e-3
WIDE = 5.0
MOST_DRAWN = 1000
CLOSE = 0.01
FAR = 1e6
ROUNDING = 1 + 1e-9
START_PART = 0.004


@dataclass(frozen=True)
class Belief:
    """Independent log losses at the target, the error common to all taken out.

    Attributes:
        mean: shape (K,).
        sd: standard deviation of each candidate's own error, shape (K,).
        scale: draws of that size, which is itself uncertain, over its median `sd`, shape (draws,).
    """

    mean: Floats
    sd: Floats
    scale: Floats


class ExpectedRegret(Policy):
    """Knowledge gradient a FLOP on the joint forecast (Frazier, Powell & Dayanik 2008; KG* of Frazier & Powell 2010).

    With log losses at the target believed to be N(m_i, s_i^2) apart from a common error, running candidate i further
    takes the part v = s_i^2 - s_i'^2 of its variance away, and the expected regret of the final choice falls by

        sqrt(v) (phi(z) - z (1 - Phi(z))),   z = |m_i - best of the others| / sqrt(v).

    The run made next is the first towards the 1 to 4 rungs more that bring most a unit of cost: one rung alone may tell
    too little to change the choice. A candidate with less than one chance in 1,000 is dropped until other results
    change its chance.

    All candidates climb a cheap ladder first, at least three rungs. The search ends once the choice is the best with
    the probability `p_best`, or its expected regret is `regret` or less, or the next run is beyond the budget.

    Args:
        p_best: probability of being best at which to stop.
        regret: expected log loss above the best's at which to stop; 0.005 is half a percent of the loss.
        start_part: the cheap ladder's cost, as a part of fine-tuning everything.
        selector: makes the forecast.
        no_chance: probability of being best below which a candidate is dropped.
        seed: of the draws, the same at every decision, so that decisions differ by results alone.
    """

    name = "regret"

    def __init__(
        self,
        p_best: float = 0.95,
        regret: float = 0.0,
        start_part: float = START_PART,
        selector: GrowingSlopes | None = None,
        no_chance: float = NO_CHANCE,
        seed: int = 0,
    ) -> None:
        self.p_best = p_best
        self.regret = regret
        self.start_part = start_part
        self.selector = selector or GrowingSlopes()
        self.no_chance = no_chance
        self.seed = seed
        self._normals: dict[int, Floats] = {}

    def decide(self, state: State, count: int = 1) -> Decision:
        """The runs of most value a unit of cost; first the cheap ladder."""
        everyone, start = np.ones(len(state.losses), dtype=bool), self.start_rungs(state)
        if runs := runs_up_to(state, everyone, start, count):
            within = within_budget(state, runs)
            return Decision(runs=within) if within else self._concluded(state, "the budget ends in the first rungs")
        if to_wait_for(state, everyone, start):
            return Decision()
        if not state.rungs_done.any():
            return Decision(stopped="no candidate could be measured")
        belief = self.believe(state)
        now, chances = self._judge(state, belief)
        if now.p_best >= self.p_best:
            return _stopped(now, f"{now.choice} is the best with probability {now.p_best:.0%}")
        if now.expected_regret <= self.regret:
            return _stopped(now, f"the expected regret of {now.choice} is {now.expected_regret:.2%} of the loss")
        worth = np.where(state.open & (chances >= self.no_chance), self._value(state, belief), -np.inf)
        order = [i for i in np.argsort(-worth, kind="stable")[:count] if worth[i] > -np.inf]
        if not order and state.pending.any():  # type: ignore[union-attr]
            return now
        if not order:
            return _stopped(now, "every candidate with a chance was fine-tuned on all the data")
        if not (runs := within_budget(state, tuple(state.curves.candidates[i] for i in order))):
            return _stopped(now, "the budget ends")
        return replace(now, runs=runs)

    def start_rungs(self, state: State) -> int:
        """Rungs of the cheap ladder: as many as `start_part` pays, at least three, or two if the budget has no more.

        What was spent on anything but rungs (evaluations as the models came, probes) is not there for them.
        """
        ladder = np.cumsum(state.costs.sum(axis=0))
        paid = int((ladder <= self.start_part * state.costs[:, -1].sum()).sum())
        climbed = np.arange(state.rungs.size) < state.rungs_done[:, None]
        beside = max(state.spent - float(state.costs[climbed].sum()), 0.0)
        three = ladder[min(LEAST_RUNGS, ladder.size) - 1] + beside
        least = LEAST_RUNGS if three <= state.budget * ROUNDING else LEAST_RUNGS - 1
        return min(max(paid, least), state.rungs.size)

    def believe(self, state: State) -> Belief:
        """Forecast of the log losses at the target; what was measured there is known.

        Nothing is believed of a candidate that was never fine-tuned, though its kernel may forecast it.
        """
        parts = self.selector.parts(state.curves, state.rungs[-1])
        mean = np.where(state.rungs_done > 0, parts.mean, np.nan)
        past, own = parts.hindcast, self.selector.own
        rivals = max(int(np.isfinite(mean).sum()), 1)
        drawn = own.draw(past.own, past.origins * (1 - 1 / rivals), DRAWS, np.random.default_rng(self.seed))[:, 0]
        size = float(np.median(drawn))
        ahead = np.where(np.isfinite(mean), parts.ahead, 0.0)
        return Belief(mean, _own_sd(size, ahead, own.exponent), drawn / size)

    def _judge(self, state: State, belief: Belief) -> tuple[Decision, Floats]:
        """The choice and how good it is, and every candidate's probability of being the best."""
        names = list(state.curves.candidates)
        mean, sd, chances = belief.mean, belief.sd, np.zeros(len(names))
        best = int(np.nanargmin(mean))
        near = np.flatnonzero(mean - mean[best] <= WIDE * (sd + sd[best]))
        if near.size > MOST_DRAWN:
            likely = np.argsort((mean[near] - mean[best]) / (sd[near] + sd[best]), kind="stable")[:MOST_DRAWN]
            near = np.union1d(near[likely], best)
        samples = mean[near] + sd[near] * belief.scale[:, None] * self._draws(near)
        zero_shot = np.log(state.zero_shot)
        if np.isfinite(zero_shot).any():
            first = int(np.nanargmin(zero_shot))
            names.append(names[first] + NOT_TUNED)
            samples = np.column_stack([samples, np.full(DRAWS, zero_shot[first])])
            best = len(names) - 1 if zero_shot[first] < mean[best] else best
        least = samples.min(axis=1, keepdims=True)
        wins = (samples == least).mean(axis=0)
        chances[near] = wins[: near.size]
        at = near.size if best == chances.size else int(np.flatnonzero(near == best)[0])
        lost = float((samples[:, at] - least[:, 0]).mean())
        dropped = tuple(names[i] for i in np.flatnonzero(state.open & (chances < self.no_chance)))
        spread = CLOSE * np.ptp(np.exp(mean[np.isfinite(mean)]))
        close = float((np.exp(samples[:, at]) - np.exp(least[:, 0]) <= spread).mean())
        return Decision((), "", names[best], float(wins[at]), lost, close, dropped), chances

    def _value(self, state: State, belief: Belief) -> Floats:
        """Log of the largest expected reduction of regret a unit of cost by up to four more rungs, shape (K,)."""
        mean = np.where(np.isfinite(belief.mean), belief.mean, np.inf)
        floor = np.log(np.nanmin(np.append(state.zero_shot, np.inf)))
        first, second = np.partition(np.append(mean, [floor, np.inf]), 1)[:2]
        gap = np.minimum(np.abs(mean - np.where(mean == first, second, first)), FAR)
        x, rungs_done, last = np.log2(state.rungs), state.rungs_done, state.rungs.size
        exponent = self.selector.own.exponent
        ahead = np.where(rungs_done > 0, x[-1] - x[np.maximum(rungs_done - 1, 0)], np.inf)
        size = np.sqrt(np.maximum(belief.sd**2 - READING_SD**2, 0)) / np.maximum(ahead, 1e-9) ** exponent
        total = np.column_stack([np.zeros(len(mean)), np.cumsum(state.costs, axis=1)])
        rows = np.arange(len(mean))
        best = np.full(len(mean), -np.inf)
        for steps in range(1, LOOK_AHEAD + 1):
            to = np.minimum(rungs_done + steps, last)
            left = np.where(to < last, _own_sd(size, x[-1] - x[np.maximum(to - 1, 0)], exponent), 0.0)
            gained = np.sqrt(np.maximum(belief.sd**2 - left**2, 1e-18))
            z = gap / gained
            value = gained * np.maximum(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - z * ndtr(-z), 1e-300)
            cost = np.where(to > rungs_done, total[rows, to] - total[rows, rungs_done], np.inf)
            best = np.maximum(best, np.log(value) - np.log(cost))
        return best

    def _concluded(self, state: State, reason: str) -> Decision:
        return (
            _stopped(self._judge(state, self.believe(state))[0], reason)
            if state.rungs_done.any()
            else Decision((), reason)
        )

    def _draws(self, which: NDArray[np.int_]) -> Floats:
        """Standard normal draws, the same for a candidate at every decision, shape (draws, len(which))."""
        for k in set(which.tolist()) - set(self._normals):
            self._normals[k] = np.random.default_rng([self.seed, k]).standard_normal(DRAWS)
        return np.column_stack([self._normals[k] for k in which.tolist()])


def _own_sd(size: float | Floats, ahead: Floats, exponent: float) -> Floats:
    """Standard deviation of a candidate's own error so many doublings ahead; none where the target was measured."""
    return np.where(ahead > 0, np.sqrt((size * ahead**exponent) ** 2 + READING_SD**2), 0.0)


def _stopped(now: Decision, reason: str) -> Decision:
    return replace(now, stopped=reason)
