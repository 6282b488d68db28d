"""The default policy: the run that is expected to reduce the regret of the final choice most, a FLOP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from lensllm.arrays import Floats
from lensllm.forecast import Forecast, with_zero_shot
from lensllm.objectives import Loss, Objective
from lensllm.search.policy import Decision, Policy, State, to_wait_for, within_budget
from lensllm.selectors import Selector, default_selector

START_RUNGS = 3
"""All candidates climb so many before any is dropped: a law and a hindcast need three points."""
START_PART = 0.004
"""Of fine-tuning everything: what the first rungs may cost where more than three of them are cheap."""
LOOK_AHEAD = 4
"""Rungs that are weighed together: one alone may tell too little to change a choice; four are 16 times the data."""
NO_CHANCE = 1e-3
"""Probability of being best below which nothing is spent: one in a thousand, two of 2,000 draws."""
CLOSE = 0.01
"""Of the distance between best and worst: a RelAcc of 99 or more."""
FAR = 1e6
"""Log loss that stands for the distance to a rival where there is none."""
ROUNDING = 1 + 1e-9


class ExpectedRegret(Policy):
    """Knowledge gradient a FLOP on the joint forecast (Frazier, Powell & Dayanik 2008; KG* of Frazier & Powell 2010).

    With m_i the log of the point forecasts at the target, running candidate i further takes the variance v =
    `Forecast.learn` of its log loss there away, and the expected regret of the final choice falls by

        sqrt(v) (phi(z) - z (1 - Phi(z))),   z = |m_i - best of the others| / sqrt(v).

    The run made next is the first towards the 1 to 4 rungs more that bring most a unit of cost. P(best), the expected
    regret and P(close) are those of the forecast's joint samples, the best model that is not fine-tuned among the
    candidates. A candidate with less than one chance in 1,000 is dropped until other results change its chance.

    All candidates climb a cheap ladder first, at least three rungs. The search ends once the choice is the best with
    the probability `p_best`, or its expected regret is `regret` or less, or the next run is beyond the budget.

    Args:
        p_best: probability of being best at which to stop.
        regret: expected log loss above the best's at which to stop; 0.005 is half a percent of the loss.
        start_part: the cheap ladder's cost, as a part of fine-tuning everything.
        selector: makes the forecast; the default for the curves at hand if None.
        no_chance: probability of being best below which a candidate is dropped.
        objective: what candidates are ranked by, whose `regret` is held against `regret`; the loss if None.
    """

    name = "regret"

    def __init__(
        self,
        p_best: float = 0.95,
        regret: float = 0.0,
        start_part: float = START_PART,
        selector: Selector | None = None,
        no_chance: float = NO_CHANCE,
        objective: Objective | None = None,
    ) -> None:
        self.p_best = p_best
        self.regret = regret
        self.start_part = start_part
        self.selector = selector
        self.no_chance = no_chance
        self.objective = objective or Loss()
        self._defaults: dict[str, Selector] = {}

    def decide(self, state: State, count: int = 1) -> Decision:
        """The runs of most value a unit of cost; first the cheap ladder."""
        if runs := self._first_rungs(state, count):
            within = within_budget(state, runs)
            return Decision(runs=within) if within else self.concluded(state, "the budget ends in the first rungs")
        if to_wait_for(state, np.ones(len(state.losses), dtype=bool), self.start_rungs(state)):
            return Decision()
        if not state.rungs_done.any():
            return Decision(stopped="no candidate could be measured")
        forecast = self.forecast(state)
        if not np.isfinite(forecast.mean).any():
            return Decision(stopped="nothing can be forecast from what was measured")
        now, chances = self._judged(state, forecast)
        if now.p_best >= self.p_best:
            return replace(now, stopped=f"{now.choice} is the best with probability {now.p_best:.0%}")
        if now.expected_regret <= self.regret:
            of = "the loss" if self.objective.name == "loss" else f"the range of {self.objective.name}"
            said = f"the expected regret of {now.choice} is {now.expected_regret:.2%} of {of}"
            return replace(now, stopped=said)
        worth = self._value(state, forecast, state.open & (chances >= self.no_chance))
        order = [i for i in np.lexsort((_names(state), -worth))[:count] if worth[i] > -np.inf]
        if not order and state.pending.any():  # type: ignore[union-attr]
            return now
        if not order:
            return replace(now, stopped="every candidate with a chance was fine-tuned on all the data")
        if not (runs := within_budget(state, tuple(state.curves.candidates[i] for i in order))):
            return replace(now, stopped="the budget ends")
        return replace(now, runs=runs)

    def worth(self, state: State) -> dict[str, float]:
        """Log of what the next runs of a candidate are expected to take off the regret, a unit of cost.

        Of the candidates that have a chance and can be run; of none as long as the cheap ladder is climbed.
        """
        if self._first_rungs(state, 1) or not state.rungs_done.any():
            return {}
        forecast = self.forecast(state)
        if not np.isfinite(forecast.mean).any():
            return {}
        _, chances = self._judged(state, forecast)
        worth = self._value(state, forecast, state.open & (chances >= self.no_chance))
        known = zip(state.curves.candidates, worth, strict=True)
        return {name: float(value) for name, value in known if np.isfinite(value)}

    def start_rungs(self, state: State) -> int:
        """Rungs of the cheap ladder: as many as `start_part` pays, at least three, or two if the budget has no more.

        What was spent on anything but rungs (evaluations as the models came, probes) is not there for them.
        """
        ladder = np.cumsum(state.costs.sum(axis=0))
        paid = int((ladder <= self.start_part * state.costs[:, -1].sum()).sum())
        climbed = np.arange(state.rungs.size) < state.rungs_done[:, None]
        beside = max(state.spent - float(state.costs[climbed].sum()), 0.0)
        three = ladder[min(START_RUNGS, ladder.size) - 1] + beside
        least = START_RUNGS if three <= state.budget * ROUNDING else START_RUNGS - 1
        return min(max(paid, least), state.rungs.size)

    def forecast(self, state: State) -> Forecast:
        """The forecast at the target and the rungs that may come next, of all candidates that were fine-tuned.

        The best model that is not fine-tuned is added as a candidate of its own.
        """
        measured = state.rungs_done > 0
        curves = state.curves.of([state.curves.candidates[k] for k in np.flatnonzero(measured)])
        selector = self.selector
        if selector is None:
            made = default_selector(curves)
            selector = self._defaults.setdefault(made.slopes.name, made)
        done = np.unique(state.rungs_done[measured])
        ahead = state.rungs[np.unique((done + np.arange(LOOK_AHEAD)[:, None]).clip(max=state.rungs.size - 1))]
        return with_zero_shot(selector.forecast(curves, float(state.rungs[-1]), ahead), curves)

    def _first_rungs(self, state: State, count: int) -> tuple[str, ...]:
        """Candidates below the cheap ladder's end, the lowest first, then by name."""
        below = np.flatnonzero(state.open & (state.rungs_done < self.start_rungs(state)))
        order = below[np.lexsort((_names(state)[below], state.rungs_done[below]))]
        return tuple(state.curves.candidates[i] for i in order[:count])

    def _judged(self, state: State, forecast: Forecast) -> tuple[Decision, Floats]:
        """The choice and how good it is, and every candidate's probability of being the best, shape (K,)."""
        names, first = state.curves.candidates, int(forecast.order[0])
        won = dict(zip(forecast.candidates, forecast.p_best, strict=True))
        chances = np.array([won.get(name, 0.0) for name in names])
        dropped = tuple(names[i] for i in np.flatnonzero(state.open & (chances < self.no_chance)))
        samples = forecast.contending_samples
        chosen = samples[:, np.flatnonzero(forecast.contenders == first)[0]]
        least = np.nanmin(samples, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = float(self.objective.regret(chosen, least).mean())
        tuned = forecast.mean[np.isfinite(forecast.mean) & (np.array(forecast.methods) != "none")]
        close = float((chosen - least <= CLOSE * (np.ptp(tuned) if tuned.size else 0.0)).mean())
        return Decision((), "", forecast.best, float(forecast.p_best[first]), lost, close, dropped), chances

    def _value(self, state: State, forecast: Forecast, asked: np.ndarray) -> Floats:
        """Log of the largest expected reduction of regret a unit of cost by up to four more rungs, shape (K,).

        -inf for the candidates that are not asked for.
        """
        best = np.full(len(state.curves.candidates), -np.inf)
        place = {name: at for at, name in enumerate(forecast.candidates)}
        rows = np.array([k for k in np.flatnonzero(asked) if state.curves.candidates[k] in place], dtype=int)
        if not rows.size:
            return best
        at = np.array([place[state.curves.candidates[k]] for k in rows])
        learned, gap = forecast.learned(at), _gaps(forecast)[at]
        done, last = state.rungs_done[rows], state.rungs.size
        total = np.column_stack([np.zeros(len(rows)), np.cumsum(state.costs[rows], axis=1)])
        mine = np.arange(len(rows))
        for steps in range(1, LOOK_AHEAD + 1):
            to = np.minimum(done + steps, last)
            sizes = np.searchsorted(forecast.sizes, state.rungs[to - 1])
            sd = np.sqrt(np.maximum(learned[sizes, mine], 1e-18))
            z = gap / sd
            value = sd * np.maximum(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - z * ndtr(-z), 1e-300)
            cost = total[mine, to] - total[mine, done]
            best[rows] = np.maximum(best[rows], np.log(value) - np.log(cost))
        return best

    def concluded(self, state: State, reason: str) -> Decision:
        """The end, for a reason, with the choice as far as it is known."""
        if not state.rungs_done.any() or not np.isfinite((forecast := self.forecast(state)).mean).any():
            return Decision((), reason)
        return replace(self._judged(state, forecast)[0], stopped=reason)


def _gaps(forecast: Forecast) -> Floats:
    """Distance of each candidate's log point forecast from the best of the others, shape (K,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.log(forecast.mean)
    mean = np.where(np.isnan(mean) | forecast.dominated, np.inf, mean)
    best = int(forecast.order[0])
    second = np.delete(mean, best).min(initial=np.inf)
    rival = np.where(np.arange(mean.size) == best, second, mean[best])
    with np.errstate(invalid="ignore"):
        gap = np.abs(mean - rival)
    return np.where(np.isfinite(gap), np.minimum(gap, FAR), FAR)


def _names(state: State) -> np.ndarray:
    return np.array(state.curves.candidates)
