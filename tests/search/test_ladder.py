from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.search.ladder import Ladder, doublings
from lensllm.search.workers import Job
from lensllm.tasks import read_task
from lensllm.tuning.run import Run


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


def test_the_ladder_climbs_after_all_are_measured(define):
    candidates = [find_candidate(name) for name in ("gpt2-0.2m-random", "llama-0.2m-austen-1.5m")]
    ladder = Ladder(candidates, define, [50, 100, 200])
    first, second = ladder.start()
    runs = [Run(job.candidate.name, 0, "done", 2.0, 1.0, flops=1e9, test_flops=1e9) for job in (first, second)]
    assert ladder.after(first, runs[0]) == []
    assert ladder.after(second, runs[1]) == [Job(candidate, 50) for candidate in candidates]
    chosen = Run("gpt2-0.2m-random", 50, "done", learning_rate=1e-3, validation=1.5)
    second_rung = Job(candidates[0], 100, 1e-3, previous_validation_loss=1.5)
    assert ladder.after(Job(candidates[0], 50), chosen) == [second_rung]
    lowered = Run("gpt2-0.2m-random", 100, "done", learning_rate=3e-4, validation=1.4)
    assert ladder.after(second_rung, lowered) == [Job(candidates[0], 200, 3e-4, previous_validation_loss=1.4)]
    diverged = Run("gpt2-0.2m-random", 100, "diverged", learning_rate=1e-3)
    assert ladder.after(second_rung, diverged) == [Job(candidates[0], 200, 1e-3, previous_validation_loss=1.5)]
    assert ladder.after(Job(candidates[0], 200, 3e-4, 1.4), lowered) == []
    assert ladder.after(Job(candidates[1], 50), Run("llama-0.2m-austen-1.5m", 50, "diverged")) == []
    assert "at the sizes asked for: 50, 100, 200" in ladder.stopped


def test_a_candidate_that_fails_at_the_start_is_left_out(define):
    candidates = [find_candidate(name) for name in ("gpt2-0.2m-random", "llama-0.2m-austen-1.5m")]
    ladder = Ladder(candidates, define, [50])
    first, second = ladder.start()
    ladder.after(first, Run(first.candidate.name, 0, "failed", error="out of paper"))
    done = Run(second.candidate.name, 0, "done", 2.0, 1.0, flops=1e9, test_flops=1e9)
    assert ladder.after(second, done) == [Job(candidates[1], 50)]
    alone = Ladder(candidates[:1], define, [50])
    with pytest.raises(InputError, match=r"no candidate could be measured; gpt2-0.2m-random: out of paper"):
        alone.after(first, Run(first.candidate.name, 0, "failed", error="out of paper"))
