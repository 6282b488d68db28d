from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensllm.candidates import find_candidate
from lensllm.errors import InputError, NothingMeasured
from lensllm.jobs import UNKNOWN
from lensllm.search.ladder import Ladder, doublings
from lensllm.tasks import read_task
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

NAMES = ("gpt2-0.2m-random", "llama-0.2m-austen-1.5m")


@pytest.fixture(scope="module")
def zero_shots():
    task = read_task("define")
    return [FineTune(find_candidate(name), task, TrainingConfig(), 0) for name in NAMES]


@given(st.integers(50, 10**6))
def test_doublings_end_with_all_the_data(full):
    sizes = doublings(full)
    assert sizes[0] == 50
    assert sizes[-1] == full
    assert all(b <= 2 * a for a, b in pairwise(sizes))
    assert all(b == 2 * a for a, b in pairwise(sizes[:-1]))


def test_the_next_rung_inherits_what_the_last_one_left(zero_shots):
    first = zero_shots[0].next(Run(NAMES[0], 0, "done", 2.0, 1.0), 50, UNKNOWN)
    assert (first.examples, first.learning_rate, first.previous_validation_loss) == (50, None, None)
    second = first.next(Run(NAMES[0], 50, "done", learning_rate=1e-3, validation=1.5), 100, UNKNOWN)
    assert (second.examples, second.learning_rate, second.previous_validation_loss) == (100, 1e-3, 1.5)
    lowered = Run(NAMES[0], 100, "done", learning_rate=3e-4, validation=1.4)
    third = second.next(lowered, 200, UNKNOWN)
    assert (third.examples, third.learning_rate, third.previous_validation_loss) == (200, 3e-4, 1.4)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_after_a_failure_there_is_no_next_rung(zero_shots, status):
    assert zero_shots[0].next(Run(NAMES[0], 0, status), 50, UNKNOWN) is None


def test_every_candidate_climbs_the_sizes_once_all_are_measured_the_largest_first(zero_shots):
    ladder = Ladder(zero_shots, [200, 50, 100])
    assert ladder.expected == 8
    assert ladder.ask(1) == zero_shots[:1]
    assert ladder.ask(5) == zero_shots[1:]
    ladder.tell(zero_shots[0], Run(NAMES[0], 0, "done", 2.0, 1.0))
    assert ladder.ask(5) == []
    ladder.tell(zero_shots[1], Run(NAMES[1], 0, "done", 2.0, 1.0))
    [rung] = ladder.ask(1)
    ladder.tell(rung, Run(NAMES[0], 50, "done", learning_rate=1e-3, validation=1.5))
    assert [(job.candidate.name, job.examples) for job in ladder.ask(5)] == [(NAMES[0], 100), (NAMES[1], 50)]
    assert "at the sizes asked for: 50, 100, 200" in ladder.stopped


def test_a_candidate_that_fails_climbs_no_further_and_the_others_do(zero_shots):
    ladder = Ladder(zero_shots, [50, 100])
    ladder.ask(2)
    ladder.tell(zero_shots[0], Run(NAMES[0], 0, "failed", error="out of paper"))
    ladder.tell(zero_shots[1], Run(NAMES[1], 0, "done", 2.0, 1.0))
    [job] = ladder.ask(5)
    assert (job.candidate.name, job.examples, ladder.expected) == (NAMES[1], 50, 4)
    ladder.tell(job, Run(NAMES[1], 50, "diverged", error="not a number"))
    assert ladder.ask(5) == []
    assert ladder.expected == 3


def test_nothing_measured_is_an_error_with_every_reason(zero_shots):
    ladder = Ladder(zero_shots, [50])
    ladder.ask(2)
    ladder.tell(zero_shots[1], Run(NAMES[1], 0, "failed", error="out of ink"))
    with pytest.raises(
        NothingMeasured, match=r"no candidate could be measured; gpt2-0.2m-random: out of paper"
    ) as error:
        ladder.tell(zero_shots[0], Run(NAMES[0], 0, "failed", error="out of paper"))
    assert error.value.reasons == {NAMES[0]: "out of paper", NAMES[1]: "out of ink"}


def test_a_size_that_the_task_has_not_is_refused(zero_shots):
    with pytest.raises(InputError, match="size 9999 is outside 1 to 6400"):
        Ladder(zero_shots, [50, 9999])
