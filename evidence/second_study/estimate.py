"""How long what is left of the second study takes, from FLOPs and from what was measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from evidence.second_study.config import SecondStudy

SECONDS_AN_HOUR = 3600.0
EXAMPLES_OF_MEASURING = 1 / 3
"""A forward pass over a test example costs about a third of training on an example."""


def work(study: SecondStudy, train: int) -> dict[tuple[int, int], float]:
    """Size and seed -> example-passes of training that the run costs, for a task of so many training examples.

    The first rung trains at three learning rates; what is tested costs a third of a pass in training.
    """
    sizes = [size for size in [*study.small_sizes, *study.large_sizes] if size <= train]
    measuring = study.max_test_examples * EXAMPLES_OF_MEASURING
    trials = {size: 3 if size == sizes[0] else 1 for size in sizes}
    cost = {(size, 0): study.num_train_epochs * size * trials[size] + measuring for size in sizes}
    seeds = range(1, study.repeats + 1)
    again = {(size, seed): cost[size, 0] for size in study.repeated_sizes if size in sizes for seed in seeds}
    return {(0, 0): measuring, **cost, **again}


def hours_left(study: SecondStudy, rows: Iterable[dict[str, Any]], train: dict[str, int]) -> float:
    """Hours of one process that the runs without a row take: example-passes at each candidate's rate so far.

    A candidate that has no run on a task takes its rate on the others, or that of all. NaN before anything was run.

    Args:
        study: what is run.
        rows: of the table.
        train: training examples of each task.
    """
    costs = {task: work(study, examples) for task, examples in train.items()}
    done: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        run = (row["examples"], row["seed"])
        done[row["task"], row["candidate"]].add(run)
        if row["task"] in costs and run in costs[row["task"]] and row["flops"] > 0:
            for key in (row["candidate"], ""):
                spent[key][0] += row["seconds"]
                spent[key][1] += costs[row["task"]][run]
    left = 0.0
    for task, cost in costs.items():
        for candidate in _candidates(study, [name for _, name in done]):
            seconds, passes = spent.get(candidate) or spent[""]
            waiting = sum(passes for run, passes in cost.items() if run not in done[task, candidate])
            left += waiting * seconds / passes if passes else math.nan
    return left / SECONDS_AN_HOUR


def _candidates(study: SecondStudy, known: list[str]) -> list[str]:
    """Those that have a run, and names for the others."""
    names = list(dict.fromkeys(known))
    return names + [f"another {i}" for i in range(len(study.models) * len(study.methods) - len(names))]
