"""Time and memory of one decision of the default policy with many candidates, each measured at 10 sizes.

    python -m evidence decision-time [CANDIDATES ...]

The candidates are published curves with 0.2 % of noise; a run costs its number of examples. The first decision fits
every law; the next one follows after one more run. Processor seconds of one turn, and the most memory above what the
curves themselves took; every number of candidates has a process of its own. Written to
evidence/speed/decision_time.json after each.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evidence.accuracy.published import load
from evidence.results import write_numbers
from lensllm.curves import Curves
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret

RESULT = Path(__file__).with_suffix(".json")
CANDIDATES = (1_000, 10_000, 100_000)
POINTS = 10
NOISE = 0.002
SEED = 0


def states(many: int) -> tuple[State, State]:
    """What is known before and after the run that the first decision names."""
    known = load()["flan"]
    rng = np.random.default_rng(SEED)
    rows = rng.integers(0, len(known.candidates), many)
    losses = known.losses[rows, 1 : POINTS + 2] * np.exp(NOISE * rng.standard_normal((many, POINTS + 1)))
    curves = Curves(tuple(f"m{k}" for k in range(many)), known.sizes[1 : POINTS + 2], losses)
    seen = np.broadcast_to(np.arange(POINTS + 1) < POINTS, losses.shape)
    costs = np.broadcast_to(curves.sizes, losses.shape)
    more = seen.copy()
    more[0, -1] = True
    return State(curves.showing(seen), costs), State(curves.showing(more), costs)


def measure(many: int) -> dict[str, float]:
    """Seconds of the first decision and of the next, and megabytes, with so many candidates."""
    before, after = states(many)
    policy = ExpectedRegret(p_best=1.0)
    memory = peak()
    seconds = []
    for state in (before, after):
        begin = time.process_time()
        policy.decide(state)
        seconds.append(time.process_time() - begin)
    return {
        "candidates": many,
        "first_seconds": seconds[0],
        "next_seconds": seconds[1],
        "megabytes": peak() - memory,
    }


def peak() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(candidates: Sequence[int] = CANDIDATES, json_file: Path = RESULT) -> dict[str, Any]:
    """Measure each number of candidates in a process of its own."""
    rows: list[dict[str, float]] = []
    result: dict[str, Any] = {"command": "python -m evidence decision-time", "points": POINTS, "decisions": rows}
    for many in candidates:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (many,)))
        print(json.dumps(rows[-1]), flush=True)
        write_numbers(result, json_file)
    return result
