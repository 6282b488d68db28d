"""The default policy against the definition of what it approximates."""

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.forecast import DrawnErrors, Forecast, with_zero_shot
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import replay
from lensllm.selectors import PriorFitted, Selector, SubTuning
from search.cases import RUNGS, known_curves


class Believed(Selector):
    """Log losses at the last rung that are independent normals, as far as they were not measured."""

    name = "believed"

    def __init__(self, mean, sd, draws=4000):
        self.mean, self.sd, self.draws = np.array(mean), np.array(sd), draws

    def _forecast(self, curves, target_size, sizes):
        rng = np.random.default_rng(0)
        own = self.sd * rng.standard_normal((self.draws, 1, len(self.mean)))
        means = np.exp(np.tile(self.mean, (len(sizes), 1)))
        return Forecast(curves.candidates, target_size, sizes, means, DrawnErrors(np.repeat(own, len(sizes), axis=1)))


def test_the_run_made_next_is_of_most_value_a_unit_of_cost():
    """By simulation: reveal what the last run would tell and choose anew; costs so that another one is the best."""
    curves, costs = known_curves(0)
    shown = curves.showing(np.broadcast_to(np.arange(RUNGS.size) < 6, curves.losses.shape))
    mean, sd = np.array([0.1, 0.11, 0.12, 0.2, 0.1, 0.3]), np.array([0.01, 0.02, 0.03, 0.03, 0.005, 0.1])
    rng = np.random.default_rng(0)
    gained = []
    for k in range(6):
        revealed = mean[k] + sd[k] * rng.standard_normal(400_000)
        gained.append(mean.min() - np.minimum(revealed, np.delete(mean, k).min()).mean())
    policy = ExpectedRegret(p_best=1.0, selector=Believed(mean, sd), no_chance=0.0)
    for favoured in np.argsort(gained)[-3:]:
        worth = np.maximum(gained, 0.2 * max(gained))[:, None]  # what those far off bring is not known as well
        costs = np.tile(worth * 1.15, (1, RUNGS.size))
        costs[favoured] /= 1.3
        assert policy.decide(State(shown, costs)).runs == (curves.candidates[favoured],)


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


@pytest.mark.parametrize("seed", range(4))
def test_it_decides_by_the_numbers_that_are_printed(seed):
    """P(best) and expected regret are those of the forecast with the model that is not fine-tuned."""
    curves, costs = known_curves(seed, noise=0.01)
    sizes, losses = np.append(0.0, RUNGS), np.column_stack([np.full(6, 5.0), curves.losses])
    losses[3, 0] = curves.losses[:, -1].min() * 1.02
    seen = Curves(curves.candidates, sizes, losses).showing(np.broadcast_to(np.arange(8) < 5, losses.shape))
    decision = ExpectedRegret(p_best=1.0).decide(State(seen, costs))
    printed = with_zero_shot(PriorFitted().forecast(seen, float(RUNGS[-1])), seen)
    chosen = printed.candidates.index(printed.best)
    assert decision.choice == printed.best
    assert decision.p_best == printed.p_best[chosen]
    logs = np.log(printed.samples)
    assert decision.expected_regret == pytest.approx((logs[:, chosen] - logs.min(axis=1)).mean())


def test_candidates_that_are_equal_are_run_by_name():
    curves, costs = known_curves(0)
    losses, costs = np.tile(curves.losses[0], (6, 1)), np.ones_like(costs)
    for done in (0, 2, 4):
        shown = np.broadcast_to(np.arange(RUNGS.size) < done, losses.shape)
        for selector in (SubTuning(), PriorFitted()):
            policy = ExpectedRegret(p_best=1.1, regret=-1.0, selector=selector, no_chance=0.0)
            named = [tuple(f"m{k}" for k in order) for order in (range(6), [3, 1, 5, 0, 2, 4])]
            runs = [policy.decide(State(Curves(n, RUNGS, losses).showing(shown), costs), 2).runs for n in named]
            assert runs[0] == runs[1]
            assert runs[0] == ("m0", "m1") or (done and selector.name == "prior_fitted")


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
