"""How far one odd reading of one candidate moves the forecasts and intervals of the others.

    python -m evidence odd-reading

500 random pools of 3 to 13 candidates and 3 to 8 sizes, with slopes 0.01 or 0.02 apart, each forecast one to six
doublings ahead, with and without one reading times a factor of 0.01 to 100 (log-uniform). Moves and widenings are
parts of the clean interval, in logs, the worst of the other candidates. Seeds from 10,000 on: none that a constant was
chosen on. Writes evidence/robustness/odd_reading.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evidence.results import write_numbers
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.selectors import PriorFitted

RESULT = Path(__file__).with_suffix(".json")
FIRST_SEED, POOLS = 10_000, 500
MOVED, WIDENED = 0.1, 0.5


def pool(rng: np.random.Generator) -> Curves:
    """Curves of log-loss: level minus slope times doublings, mildly bent, readings 0.5 % off."""
    count, sizes = int(rng.integers(3, 14)), int(rng.integers(3, 9))
    doublings = np.arange(sizes)
    mean, spread = rng.uniform(0.04, 0.12), rng.choice([0.01, 0.02])
    slopes = np.clip(mean + spread * rng.standard_normal(count), 0.01, 0.19)[:, None]
    levels = rng.uniform(0, 0.8, count)[:, None]
    bend = 0.002 * rng.uniform(-1, 1) * doublings**2
    noise = 0.005 * rng.standard_normal((count, sizes))
    losses = np.exp(levels - slopes * doublings - bend + noise)
    return Curves(
        tuple(f"model {number}" for number in range(count)),
        np.array([50.0 * 2**number for number in range(sizes)]),
        losses,
    )


def with_odd_reading(curves: Curves, rng: np.random.Generator) -> tuple[Curves, int]:
    """The curves with one reading times a factor between 0.01 and 100, and the row it stands in."""
    row, column = int(rng.integers(len(curves.candidates))), int(rng.integers(len(curves.sizes)))
    losses = curves.losses.copy()
    losses[row, column] *= float(np.exp(rng.uniform(-1, 1) * np.log(100)))
    return Curves(curves.candidates, curves.sizes, losses), row


def centre_and_width(curves: Curves, target: float) -> tuple[Floats, Floats]:
    """Log of the mean forecast and width of the 90 % interval in logs, of every candidate."""
    forecast = PriorFitted().forecast(curves, target)
    edges = np.log(forecast.interval())
    return np.log(forecast.mean), edges[:, 1] - edges[:, 0]


def worst_of_the_others(seed: int) -> tuple[float, float]:
    """Largest move and largest widening among the candidates without the odd reading."""
    rng = np.random.default_rng(seed)
    clean = pool(rng)
    spoilt, row = with_odd_reading(clean, rng)
    target = float(clean.sizes[-1] * 2.0 ** rng.integers(1, 7))
    (centre, width), (moved, widened) = centre_and_width(clean, target), centre_and_width(spoilt, target)
    others = np.arange(len(clean.candidates)) != row
    return float(np.max(abs(moved - centre)[others] / width[others])), float(
        np.max(widened[others] / width[others])
    ) - 1


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Try all pools."""
    moves, widths = np.array([worst_of_the_others(FIRST_SEED + number) for number in range(POOLS)]).T
    result = {
        "command": "python -m evidence odd-reading",
        "pools": POOLS,
        "first_seed": FIRST_SEED,
        f"moved by more than {MOVED}": float(np.mean(moves > MOVED)),
        "furthest move": float(moves.max()),
        "median move": float(np.median(moves)),
        f"widened by more than {WIDENED}": float(np.mean(widths > WIDENED)),
        "widest": float(widths.max()),
    }
    return write_numbers(result, json_file)
