from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.search.ladder import Ladder, affordable, doublings, everything_flops, ladder_flops, run_flops
from lensllm.search.workers import Job
from lensllm.tasks import read_task
from lensllm.tuning.fine_tune import Bench, fine_tune
from lensllm.tuning.protocol import Protocol
from lensllm.tuning.run import Run

PROTOCOL = Protocol()
ZERO_SHOTS = [Run(name, 0, "done", 2.0, 1.0, flops=f, test_flops=f) for name, f in (("a", 3e9), ("b", 3e10))]


@pytest.fixture(scope="module")
def define():
    return read_task("define")


@given(st.integers(50, 10**6))
def test_doublings_end_with_all_the_data(full):
    sizes = doublings(full)
    assert sizes[0] == 50
    assert sizes[-1] == full
    assert all(b <= 2 * a for a, b in pairwise(sizes))
    assert all(b == 2 * a for a, b in pairwise(sizes[:-1]))


@given(st.floats(0.07, 2.0))
def test_a_budget_is_never_overspent(define, budget):
    sizes = affordable(budget, ZERO_SHOTS, define, PROTOCOL)
    whole = everything_flops(ZERO_SHOTS, define, PROTOCOL)
    assert len(sizes) >= 2
    assert ladder_flops(ZERO_SHOTS, sizes, define, PROTOCOL) <= budget * whole
    longer = doublings(len(define.train))[: len(sizes) + 1]
    assert longer == sizes or ladder_flops(ZERO_SHOTS, longer, define, PROTOCOL) > budget * whole


def test_a_budget_too_small_names_the_smallest_that_works(define):
    with pytest.raises(InputError, match=r"the smallest that does is (0\.\d+)") as caught:
        affordable(0.01, ZERO_SHOTS, define, PROTOCOL)
    smallest = float(str(caught.value).split("does is ")[1].split()[0])
    assert affordable(smallest + 0.001, ZERO_SHOTS, define, PROTOCOL) == [50, 100]


@pytest.mark.parametrize("model", ["gpt2-0.2m-random", "t5-0.2m-glosses-1.5m"])
def test_the_cost_is_known_before_it_is_spent(define, model):
    """What a real run is charged is forecast from the model's first evaluation to within 10 %."""
    protocol = Protocol(num_train_epochs=1)
    bench = Bench(find_candidate(model), define, protocol)
    zero_shot = fine_tune(bench, 0)
    rungs = [(fine_tune(bench, 50), True), (fine_tune(bench, 400, 1e-3), False)]
    for run, first in rungs:
        forecast = run_flops(zero_shot, run.examples, define, protocol, first=first)
        assert forecast == pytest.approx(run.flops, rel=0.1)


def test_the_ladder_climbs_after_all_are_measured(define):
    torch.manual_seed(0)
    candidates = [find_candidate(name) for name in ("gpt2-0.2m-random", "llama-0.2m-austen-1.5m")]
    ladder = Ladder(candidates, define, PROTOCOL, [], budget=0.1)
    first, second = ladder.start()
    runs = [Run(job.candidate.name, 0, "done", 2.0, 1.0, flops=1e9, test_flops=1e9) for job in (first, second)]
    assert ladder.after(first, runs[0]) == []
    assert ladder.after(second, runs[1]) == [Job(candidate, 50) for candidate in candidates]
    assert ladder.sizes == [50, 100, 200]
    chosen = Run("gpt2-0.2m-random", 50, "done", learning_rate=1e-3, validation=1.5)
    second_rung = Job(candidates[0], 100, 1e-3, to_beat=1.5)
    assert ladder.after(Job(candidates[0], 50), chosen) == [second_rung]
    lowered = Run("gpt2-0.2m-random", 100, "done", learning_rate=3e-4, validation=1.4)
    assert ladder.after(second_rung, lowered) == [Job(candidates[0], 200, 3e-4, to_beat=1.4)]
    diverged = Run("gpt2-0.2m-random", 100, "diverged", learning_rate=1e-3)
    assert ladder.after(second_rung, diverged) == [Job(candidates[0], 200, 1e-3, to_beat=1.5)]
    assert ladder.after(Job(candidates[0], 200, 3e-4, 1.4), lowered) == []
    assert ladder.after(Job(candidates[1], 50), Run("llama-0.2m-austen-1.5m", 50, "diverged")) == []
    assert "0.1 reaches the sizes 50, 100, 200" in ladder.stopped


def test_a_candidate_that_fails_at_the_start_is_left_out(define):
    candidates = [find_candidate(name) for name in ("gpt2-0.2m-random", "llama-0.2m-austen-1.5m")]
    ladder = Ladder(candidates, define, PROTOCOL, [50], budget=0.1)
    first, second = ladder.start()
    ladder.after(first, Run(first.candidate.name, 0, "failed", error="out of paper"))
    done = Run(second.candidate.name, 0, "done", 2.0, 1.0, flops=1e9, test_flops=1e9)
    assert ladder.after(second, done) == [Job(candidates[1], 50)]
    alone = Ladder(candidates[:1], define, PROTOCOL, [50], budget=0.1)
    with pytest.raises(InputError, match=r"no candidate could be measured; gpt2-0.2m-random: out of paper"):
        alone.after(first, Run(first.candidate.name, 0, "failed", error="out of paper"))
