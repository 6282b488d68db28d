"""The default policy against the definition of what it approximates."""

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.search.policy import State
from lensllm.search.regret import Belief, ExpectedRegret
from lensllm.search.replay import replay
from lensllm.selectors.growing_slopes import READING_SD
from search.cases import RUNGS, known_curves


def test_the_value_of_a_run_is_the_expected_fall_of_regret_a_unit_of_cost():
    """By simulation: reveal what the last run would tell and choose anew."""
    policy = ExpectedRegret()
    curves, costs = known_curves(0)
    state = State(curves.showing(np.broadcast_to(np.arange(RUNGS.size) < 6, curves.losses.shape)), costs)
    mean, sd = np.array([0.1, 0.11, 0.12, 0.2, 0.1, 0.3]), np.array([0.01, 0.02, 0.03, 0.03, 0.005, 0.1])
    belief = Belief(mean, sd, np.ones(9))
    rng = np.random.default_rng(0)
    for k in range(6):
        revealed = belief.mean[k] + belief.sd[k] * rng.standard_normal(400_000)
        rest = np.delete(belief.mean, k).min()
        gained = belief.mean.min() - np.minimum(revealed, rest).mean()
        assert np.exp(policy._value(state, belief)[k]) * costs[k, -1] == pytest.approx(gained, abs=2e-4)


def test_it_stops_for_the_reason_it_gives():
    curves, costs = known_curves(0)
    curves = Curves(curves.candidates, RUNGS, curves.losses[:1] * np.linspace(1, 1.03, 6)[:, None])
    state = State(curves.showing(np.broadcast_to(np.arange(RUNGS.size) < 4, curves.losses.shape)), costs)
    sure = ExpectedRegret(p_best=1e-6).decide(state)
    assert "is the best with probability" in sure.stopped
    assert sure.p_best >= 1e-6
    fine = ExpectedRegret(p_best=1.0, regret=10.0).decide(state)
    assert "the expected regret of" in fine.stopped
    short = replay(ExpectedRegret(p_best=1.0), curves, costs, budget=0.3)[-1]
    assert short.decision.stopped == "the budget ends"
    assert 0.1 < short.spent <= 0.3


def test_the_start_takes_three_rungs_or_two_if_the_budget_has_no_more():
    curves, costs = known_curves(0)
    policy = ExpectedRegret()
    two, three = costs[:, :2].sum(), costs[:, :3].sum()
    assert policy.start_rungs(State(curves, costs, budget=three)) == 3
    assert policy.start_rungs(State(curves, costs, budget=(two + three) / 2)) == 2
    assert ExpectedRegret(start_part=10.0).start_rungs(State(curves, costs)) == RUNGS.size
    for rungs, beside, start in ((0, 0.1, 2), (1, 0.1, 2), (1, 0.0, 3)):
        climbed = curves.showing(np.arange(RUNGS.size) < rungs)
        spent = costs[:, :rungs].sum() + beside
        assert policy.start_rungs(State(climbed, costs, spent, budget=three + 0.09)) == start


def test_the_belief_is_the_forecast_of_what_was_measured():
    """Sizes still to be measured change nothing: how wrong earlier forecasts were counts from the start."""
    sizes, rng = 50.0 * 2 ** np.arange(11), np.random.default_rng(0)
    losses = 3 * sizes ** -rng.uniform(0.05, 0.1, (6, 1)) * np.exp(0.03 * rng.standard_normal((6, sizes.size)))
    curves = Curves(tuple("abcdef"), sizes, losses)
    policy, seen = ExpectedRegret(), np.broadcast_to(np.arange(sizes.size) < 5, losses.shape)
    belief = policy.believe(State(curves.showing(seen), np.ones(losses.shape)))
    parts = policy.selector.parts(curves.up_to(sizes[4]), sizes[-1])
    assert parts.hindcast.origins == 2
    drawn = policy.selector.own.draw(parts.hindcast.own, 2 * 5 / 6, 1000, np.random.default_rng(0))
    own = np.median(drawn) * np.log2(sizes[-1] / sizes[4]) ** policy.selector.own.exponent
    np.testing.assert_allclose(belief.mean, parts.mean)
    np.testing.assert_allclose(belief.sd, np.hypot(own, READING_SD))


def test_a_candidate_without_a_chance_is_dropped_and_comes_back():
    curves, costs = known_curves(0)
    losses = curves.losses.copy()
    losses[3] *= 4
    policy = ExpectedRegret(p_best=1.0)
    shown = np.broadcast_to(np.arange(RUNGS.size) < 4, losses.shape)
    out = policy.decide(State(Curves(curves.candidates, RUNGS, losses).showing(shown), costs), 6)
    assert "m3" in out.dropped
    assert "m3" not in out.runs
    losses[:, 3] = losses[3, 3]
    losses[[0, 1, 2, 4, 5], 3] *= 1.5
    back = policy.decide(State(Curves(curves.candidates, RUNGS, losses).showing(shown), costs), 6)
    assert "m3" not in back.dropped


def test_the_cheaper_of_two_equals_is_run_first():
    curves, costs = known_curves(0)
    losses = curves.losses.copy()
    losses[1] = losses[0] = losses.min(axis=0) * 0.8
    costs = np.ones_like(costs) * costs[0]
    costs[1] *= 0.5
    shown = np.broadcast_to(np.arange(RUNGS.size) < 4, losses.shape)
    decision = ExpectedRegret(p_best=1.0).decide(State(Curves(curves.candidates, RUNGS, losses).showing(shown), costs))
    assert decision.runs == ("m1",)


def test_the_untouched_model_can_be_the_choice():
    curves, costs = known_curves(0)
    sizes = np.append(0.0, RUNGS)
    losses = np.column_stack([np.full(6, 5.0), curves.losses])
    losses[2, 0] = 0.1
    seen = np.broadcast_to(np.arange(sizes.size) < 5, losses.shape)
    decision = ExpectedRegret().decide(State(Curves(curves.candidates, sizes, losses).showing(seen), costs))
    assert decision.choice == "m2 (not fine-tuned)"
    assert decision.stopped


def test_more_compute_finds_a_better_choice():
    regrets = []
    for budget in (0.15, 1.0):
        lost = 0.0
        for seed in range(12):
            curves, costs = known_curves(seed, candidates=10, noise=0.01)
            choice = replay(ExpectedRegret(p_best=1.0), curves, costs, budget=budget)[-1].decision.choice
            final = curves.losses[:, -1]
            lost += final[curves.candidates.index(choice)] - final.min()
        regrets.append(lost / 12)
    assert regrets[1] < 0.5 * regrets[0]
