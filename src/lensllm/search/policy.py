"""What every policy is: from what was measured, the runs to make next or the reason to stop.

A run takes one candidate one rung up the ladder, so a candidate's next run is always the size after its last. Policies
keep no state: what they decide depends on the results alone, so a live search, a resumed one and a replay of known
curves decide alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError

ROUNDING = 1e-12
"""Relative error of sums of costs, so that a budget which is their sum pays them."""


@dataclass(frozen=True)
class State:
    """What is known when a decision is due.

    Attributes:
        curves: losses of K candidates at the rungs, the last of which is the target size; NaN where not measured. Size
            0, if there, is the candidate as it came.
        costs: of every run, shape (K, R) for R rungs, in any unit.
        spent: cost of all runs so far, in the same unit.
        budget: what may be spent in all; infinite for no limit.
        closed: candidates whose last run failed and that are run no further, shape (K,).
        pending: candidates whose next run has begun and not ended, shape (K,).
    """

    curves: Curves
    costs: Floats
    spent: float = 0.0
    budget: float = float("inf")
    closed: NDArray[np.bool_] | None = None
    pending: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name in ("closed", "pending"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(len(self.curves.candidates), dtype=bool))
        if self.costs.shape != self.losses.shape:
            raise InputError(f"expected a cost a run, shape {self.losses.shape}, got {self.costs.shape}")

    def without(self, dropped: Collection[str]) -> State:
        """The same among the other candidates; what still runs of a dropped one is spent already."""
        if not dropped:
            return self
        names = self.curves.candidates
        kept = np.array([name not in dropped for name in names])
        begun = replace(self, pending=self.pending & ~kept).begun
        return State(
            self.curves.of([name for name in names if name not in dropped]),
            self.costs[kept],
            self.spent + begun,
            self.budget,
            self.closed[kept],  # type: ignore[index]
            self.pending[kept],  # type: ignore[index]
        )

    @cached_property
    def rungs(self) -> Floats:
        """Sizes of the ladder, ascending; the last is the target."""
        return self.curves.sizes[self.curves.sizes > 0]

    @cached_property
    def losses(self) -> Floats:
        """Losses at the rungs, shape (K, R)."""
        return self.curves.losses[:, self.curves.sizes > 0]

    @cached_property
    def zero_shot(self) -> Floats:
        """Loss of each candidate as it came, NaN where not measured, shape (K,)."""
        first = self.curves.sizes[:1] == 0
        return self.curves.losses[:, 0] if first.any() else np.full(len(self.losses), np.nan)

    @cached_property
    def rungs_done(self) -> NDArray[np.int_]:
        """Number of rungs that each candidate has climbed, shape (K,)."""
        seen = np.isfinite(self.losses)
        return np.where(seen.any(axis=1), seen.shape[1] - seen[:, ::-1].argmax(axis=1), 0)

    @cached_property
    def open(self) -> NDArray[np.bool_]:
        """Candidates that a run can be started of, shape (K,)."""
        return ~self.closed & ~self.pending & (self.rungs_done < self.rungs.size)  # type: ignore[operator]

    @cached_property
    def begun(self) -> float:
        """What the pending runs should take."""
        rows = np.flatnonzero(self.pending)  # type: ignore[arg-type]
        return float(self.costs[rows, np.minimum(self.rungs_done[rows], self.rungs.size - 1)].sum())

    @cached_property
    def left(self) -> float:
        """What can still be spent: the budget less what was spent and what the pending runs should take."""
        return self.budget - self.spent - self.begun

    @cached_property
    def next_cost(self) -> Floats:
        """Cost of the next run of each candidate, infinite where there is none, shape (K,)."""
        rows, at = np.arange(len(self.losses)), np.minimum(self.rungs_done, self.rungs.size - 1)
        return np.where(self.open, self.costs[rows, at], np.inf)


@dataclass(frozen=True)
class Decision:
    """What a policy said.

    Attributes:
        runs: candidates to be run next, each one rung up; empty at the end, or to wait for what runs.
        stopped: why nothing more is run; empty while it goes on. Where runs are pending it is decided again, with what
            they bring.
        choice: the best candidate as far as is known; empty before anything was measured.
        p_best: probability that it is, NaN from a policy without uncertainty.
        expected_regret: expected log loss of the choice above the best's at the target, NaN likewise; 0.01 is 1 %.
        p_close: probability that the choice's loss is above the best's by no more than 1 % of the distance between the
            best and the worst forecast (a RelAcc of 99 or more), NaN likewise.
        dropped: candidates that nothing is spent on because they cannot win, as things stand.
    """

    runs: tuple[str, ...] = ()
    stopped: str = ""
    choice: str = ""
    p_best: float = float("nan")
    expected_regret: float = float("nan")
    p_close: float = float("nan")
    dropped: tuple[str, ...] = ()


class Policy(ABC):
    """Decides which candidates are run next, each on the next larger size, and when to stop."""

    name: ClassVar[str]

    @abstractmethod
    def decide(self, state: State, count: int = 1) -> Decision:
        """The next runs, at most `count` of them, or the reason to stop.

        Every decision that names runs keeps them within the budget, and repeated calls end: each run is another one.
        """


def runs_up_to(state: State, wanted: NDArray[np.bool_], rungs: int, count: int) -> tuple[str, ...]:
    """Up to `count` of the wanted candidates that have not climbed so many rungs, the lowest first."""
    below = np.flatnonzero(wanted & state.open & (state.rungs_done < rungs))
    order = below[np.argsort(state.rungs_done[below], kind="stable")]
    return tuple(state.curves.candidates[i] for i in order[:count])


def within_budget(state: State, runs: tuple[str, ...]) -> tuple[str, ...]:
    """The first of these runs that the budget still pays."""
    names = list(state.curves.candidates)
    costs = np.cumsum(state.next_cost[[names.index(name) for name in runs]])
    return runs[: int(np.searchsorted(costs, state.left * (1 + ROUNDING), side="right"))]


def to_wait_for(state: State, wanted: NDArray[np.bool_], rungs: int) -> bool:
    """Whether a wanted candidate below so many rungs has a run that has not ended."""
    return bool((wanted & state.pending & (state.rungs_done < rungs)).any())  # type: ignore[operator]


def best_measured(state: State, among: NDArray[np.bool_] | None = None) -> str:
    """The candidate measured at the largest size, the lowest loss there; empty if nothing was measured."""
    rungs_done = np.where(among, state.rungs_done, 0) if among is not None else state.rungs_done
    if not rungs_done.any():
        return ""
    last = state.losses[np.arange(rungs_done.size), np.maximum(rungs_done - 1, 0)]
    return state.curves.candidates[int(np.lexsort((last, -rungs_done))[0])]
