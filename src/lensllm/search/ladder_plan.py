"""What fits the data: first rung, learning rates, evaluation and budget, before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lensllm.errors import BudgetTooSmall
from lensllm.search.cost import FULL, PADDING, Budget
from lensllm.search.ladder import SMALLEST, doublings
from lensllm.tasks import Task
from lensllm.tuning.training_config import TrainingConfig

SMALLER_FIRST_RUNG = 25
"""12 steps of eight examples in three epochs; below ten steps a run says nothing of larger ones."""
TWO_TRIALS = (0.1, 1.0)
"""The ends of the range: a model that knows the domain is best at 0.1, one that does not at 1 (docs/decisions.md)."""
TEST_PART = 0.1
"""Of the training examples: what is evaluated after every run costs as much as training on a third of it."""
LEAST_TEST = 100
"""Test examples that are measured however few there are to train on."""
MOST_TRYING = 0.5
"""Part of fine-tuning everything from which on trying on less is not worth it: one choice in two would be as cheap."""
ROOM = 1.001
"""So that a budget that is named is enough after rounding."""
START = 3
"""Rungs that the search begins with, where it can."""


@dataclass(frozen=True)
class LadderPlan:
    """How a search within a budget begins.

    Attributes:
        rungs: sizes of the ladder; the last is all the data.
        training_config: of every run.
        budget: what may be spent.
        everything: whether every candidate is fine-tuned on all the data, because trying costs as much.
        notes: what differs from the default, and why, a sentence each.
    """

    rungs: list[int]
    training_config: TrainingConfig
    budget: Budget
    everything: bool = False
    notes: tuple[str, ...] = ()


def plan_ladder(
    task: Task,
    training_config: TrainingConfig,
    budget: Budget,
    backward: float = FULL.backward,
    scoring: float = 0.0,
) -> LadderPlan:
    """The first of these that the budget pays two rungs of: the default; a first rung of 25; two learning rates, too.

    Without a budget of the user's own, and where none does, the budget grows to pay three rungs of the last; from half
    of fine-tuning everything on, everything is what is done. All of this is in parts of fine-tuning everything, which
    are the same for every candidate, so no model is needed.

    Args:
        task: its sizes.
        training_config: as asked for.
        budget: what may be spent.
        backward: of the method with the cheapest backward pass, beside which evaluating weighs most.
        scoring: what scoring takes a run, in forward passes over an example.

    Raises:
        TooFewExamples: if the task is smaller than the smallest rung.
        BudgetTooSmall: if the budget is a part that does not pay two rungs of the cheapest.
    """
    examples = len(task.train)
    doublings(examples)
    measured = replace(training_config, max_test_examples=_test_examples(task, training_config))
    trials = training_config.learning_rate_trials
    fewer = replace(measured, learning_rate_trials=TWO_TRIALS if len(trials) > len(TWO_TRIALS) else trials)
    choices = [(SMALLEST, training_config), (SMALLER_FIRST_RUNG, measured), (SMALLER_FIRST_RUNG, fewer)]
    part = budget.part if budget.part is not None else float("inf")
    for smallest, config in choices:
        if cost_of_rungs(task, config, smallest, 2, backward, scoring) <= part:
            return LadderPlan(
                doublings(examples, smallest), config, budget, notes=_notes(smallest, config, choices[0][1])
            )
    least, wanted = (
        ROOM * cost_of_rungs(task, fewer, SMALLER_FIRST_RUNG, rungs, backward, scoring) for rungs in (2, START)
    )
    if not budget.by_default:
        raise BudgetTooSmall(
            f"a budget of {part:.3f} of fine-tuning everything does not reach two sizes of every candidate: with "
            f"{examples:,} training examples the smallest that does is {least:.3f}",
            part,
            least,
        )
    if wanted >= MOST_TRYING:
        said = (
            f"with {examples:,} training examples trying costs {wanted:.0%} of fine-tuning every candidate on all of "
            "them, so that is what is done"
        )
        return LadderPlan([SMALLER_FIRST_RUNG, examples], fewer, budget, everything=True, notes=(said,))
    said = f"with {examples:,} training examples the budget is {wanted:.2f} of fine-tuning everything, not {part:g}"
    notes = (said, *_notes(SMALLER_FIRST_RUNG, fewer, training_config))
    return LadderPlan(doublings(examples, SMALLER_FIRST_RUNG), fewer, Budget(wanted), notes=notes)


def cost_of_rungs(
    task: Task,
    config: TrainingConfig,
    smallest: int,
    rungs: int,
    backward: float = FULL.backward,
    scoring: float = 0.0,
) -> float:
    """What the model as it came and so many rungs cost, in parts of one run on all the data at a known learning rate.

    Counted in forward passes over one example, as `lensllm.search.cost.run_flops` does.
    """
    test = len(task.test[: config.max_test_examples]) + scoring
    validation = len(task.validation[: config.max_validation_examples])
    trials = len(config.learning_rate_trials)
    pass_ = (1 + backward) * PADDING * config.num_train_epochs
    sizes = doublings(len(task.train), smallest)[:rungs]
    first = (pass_ * sizes[0] + (validation if trials > 1 else 0)) * trials
    spent = test + first + sum(pass_ * size for size in sizes[1:]) + test * len(sizes)
    return spent / (pass_ * len(task.train) + test)


def _test_examples(task: Task, config: TrainingConfig) -> int:
    return min(config.max_test_examples, max(LEAST_TEST, round(TEST_PART * len(task.train))))


def _notes(smallest: int, config: TrainingConfig, default: TrainingConfig) -> tuple[str, ...]:
    """What is smaller than by default."""
    if smallest == SMALLEST:
        return ()
    said = f"there are few training examples, so the first rung has {smallest} and not {SMALLEST}"
    trials, usual = len(config.learning_rate_trials), len(default.learning_rate_trials)
    if trials < usual:
        said += f", and {trials} learning rates are tried and not {usual}"
    return (said,)
