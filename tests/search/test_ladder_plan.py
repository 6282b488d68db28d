"""The ladder fits the data: any number of examples from a hundred on, before a model is loaded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensllm.errors import BudgetTooSmall, TooFewExamples
from lensllm.search.cost import Budget, run_costs, run_flops
from lensllm.search.ladder_plan import MOST_TRYING, cost_of_rungs, plan_ladder
from lensllm.tasks import Example, Task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

CONFIG = TrainingConfig()


def task_of(examples):
    """As a file of so many examples is split."""
    test, example = min(1000, -(-examples // 10)), Example("a", "b")
    validation = min(400, -(-(examples - test) // 20))
    return Task("t", (example,) * (examples - test - validation), (example,) * validation, (example,) * test)


@given(st.integers(65, 20_000))
def test_the_default_works_from_a_hundred_examples_on(examples):
    """What is begun is paid: two rungs by the budget, three where it was made to fit."""
    task = task_of(examples)
    plan = plan_ladder(task, CONFIG, Budget())
    assert plan.rungs[-1] == len(task.train)
    if plan.everything:
        assert cost_of_rungs(task, plan.training_config, plan.rungs[0], 3) >= MOST_TRYING
        return
    assert cost_of_rungs(task, plan.training_config, plan.rungs[0], 2) <= plan.budget.part < MOST_TRYING
    assert (plan.notes == ()) == (plan.rungs[0] == 50)


@pytest.mark.parametrize(
    ("examples", "first", "trials", "part", "everything"),
    [
        (20_000, 50, 3, 0.1, False),
        (3_000, 25, 3, 0.1, False),
        (2_200, 25, 2, 0.1, False),
        (1_000, 25, 2, 0.27, False),
        (300, 25, 2, 0.1, True),
        (100, 25, 2, 0.1, True),
    ],
)
def test_what_fits(examples, first, trials, part, everything):
    plan = plan_ladder(task_of(examples), CONFIG, Budget())
    assert (plan.rungs[0], len(plan.training_config.learning_rate_trials)) == (first, trials)
    assert plan.budget.part == pytest.approx(part, abs=0.04)
    assert plan.everything is everything
    if examples == 300:
        assert plan.notes[0].startswith("with 256 training examples trying costs 83% of fine-tuning every candidate")


def test_the_cost_is_that_of_the_runs():
    """Whatever the model: parts of fine-tuning everything do not depend on its size."""
    task = task_of(5_000)
    for forward in (1.0, 7e9):
        zero = Run("m", 0, "done", flops=forward * 300, test_flops=forward * 300)
        runs = run_costs([zero], [50, 100], task, CONFIG)[0].sum() + zero.flops
        everything = run_flops(zero, len(task.train), task, CONFIG, first=False)
        assert cost_of_rungs(task, CONFIG, 50, 2) == pytest.approx(runs / everything)


def test_a_budget_of_the_users_own_is_kept_or_refused_with_its_numbers():
    task = task_of(500)
    with pytest.raises(BudgetTooSmall, match=r"with 427 training examples the smallest that does is 0\.279") as error:
        plan_ladder(task, CONFIG, Budget(0.2))
    assert error.value.budget == 0.2
    plan = plan_ladder(task, CONFIG, Budget(error.value.smallest))
    assert plan.budget == Budget(error.value.smallest)
    assert plan.rungs[:2] == [25, 50]
    assert plan_ladder(task, CONFIG, Budget(hours=1)).rungs[0] == 50


def test_settings_of_the_user_are_only_ever_made_smaller():
    config = replace(CONFIG, max_test_examples=20, learning_rate_trials=(0.3,))
    plan = plan_ladder(task_of(1_000), config, Budget())
    assert plan.training_config.max_test_examples == 20
    assert plan.training_config.learning_rate_trials == (0.3,)


def test_too_few_examples_are_refused():
    with pytest.raises(TooFewExamples, match="fewer than the smallest rung of 50"):
        plan_ladder(task_of(50), CONFIG, Budget())
