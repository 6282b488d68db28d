"""What every policy promises: it ends, stays within the budget, climbs rung by rung and decides by results alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.search.accept_then_stop import AcceptThenStopPolicy
from lensllm.search.asha import Asha
from lensllm.search.full import Full
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import replay
from lensllm.search.successive_halving import SuccessiveHalving
from lensllm.selectors import SlopeGrowth
from search.cases import RUNGS, known_curves

POLICIES = [
    Full(),
    AcceptThenStopPolicy(4),
    SuccessiveHalving(2, 0.5),
    SuccessiveHalving(2, 0.5, SlopeGrowth()),
    Asha(2, 2.0),
    ExpectedRegret(),
    ExpectedRegret(p_best=0.8, regret=0.01),
]
each = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)


@each
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 4), budget=st.floats(0.0, 3.0))
def test_it_ends_within_the_budget_with_every_run_another_one(policy, seed, count, budget):
    curves, costs = known_curves(seed)
    steps = replay(policy, curves, costs, budget=budget, count=count)
    assert steps[-1].spent <= budget * (1 + 1e-9)
    assert steps[-1].decision.stopped
    assert not any(step.decision.stopped for step in steps[:-1])
    asked = [name for step in steps for name in step.decision.runs]
    assert all(asked.count(name) <= RUNGS.size for name in asked)
    for step in steps:
        assert len(set(step.decision.runs)) == len(step.decision.runs) <= count


@each
def test_it_keeps_no_state(policy):
    curves, costs = known_curves(3)
    steps = replay(policy, curves, costs)
    other, other_costs = known_curves(4)
    replay(policy, other, other_costs)
    assert replay(policy, curves, costs) == steps


@each
def test_the_choice_follows_the_candidates_not_their_order(policy):
    curves, costs = known_curves(5)
    turned = Curves(curves.candidates[::-1], RUNGS, curves.losses[::-1])
    choices = [replay(policy, c, k)[-1].decision.choice for c, k in ((curves, costs), (turned, costs[::-1]))]
    assert choices[0] == choices[1]


@each
def test_a_clear_winner_is_chosen(policy):
    curves, costs = known_curves(0)
    losses = curves.losses.copy()
    losses[4] = 0.5 * losses.min(axis=0)
    clear = Curves(curves.candidates, RUNGS, losses)
    assert replay(policy, clear, costs)[-1].decision.choice == "m4"


@each
def test_a_closed_candidate_is_run_no_more(policy):
    curves, costs = known_curves(1)
    losses = np.full_like(curves.losses, np.nan)
    losses[:, 0] = curves.losses[:, 0]
    losses[2, 0] = np.nan
    closed = np.arange(6) == 2
    known = State(Curves(curves.candidates, RUNGS, losses), costs, closed=closed)
    while not (decision := policy.decide(known, 6)).stopped:
        assert "m2" not in decision.runs
        for name in decision.runs:
            row = curves.candidates.index(name)
            rungs_done = int(np.isfinite(losses[row]).sum())
            losses[row, rungs_done] = curves.losses[row, rungs_done]
        known = State(Curves(curves.candidates, RUNGS, losses.copy()), costs, closed=closed)
    assert decision.choice in curves.candidates


@each
def test_nothing_measured_is_no_choice(policy):
    curves, costs = known_curves(2)
    nothing = Curves(curves.candidates, RUNGS, np.full_like(curves.losses, np.nan))
    assert policy.decide(State(nothing, costs, budget=0.0)).choice == ""
    closed = State(nothing, costs, closed=np.ones(6, dtype=bool))
    assert policy.decide(closed).stopped


def test_a_curve_with_a_hole_cannot_be_replayed():
    curves, costs = known_curves(0)
    losses = curves.losses.copy()
    losses[1, 2] = np.nan
    with pytest.raises(InputError, match="the curve of m1 has no loss at 200 examples"):
        replay(Full(), Curves(curves.candidates, RUNGS, losses), costs)


def test_a_cost_is_needed_for_every_run():
    curves, costs = known_curves(0)
    with pytest.raises(InputError, match=r"expected a cost a run, shape \(6, 7\), got \(6, 6\)"):
        State(curves, costs[:, 1:])
