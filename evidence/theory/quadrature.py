"""How good is the interval of v^T H^+ v, and what would plain Gauss quadrature do?

    python -m evidence quadrature

300 random symmetric matrices of 60 rows in double precision, six kinds of spectrum, v with random weights on the
eigenvectors. (a) Steps until the interval asks for no more than 1e-3: the true relative error, and whether the
interval holds the truth. (b) After 5, 10 and 20 steps: the relative error of the interval's middle, of Gauss
quadrature with as many products, and of both estimates of their errors: half the interval, and the change of the Gauss
value at the last step, which is the usual rule. Writes evidence/theory/quadrature.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence.results import write_numbers
from lensllm.theory.curvature import positive_part
from lensllm.theory.lanczos import Lanczos, bracket

RESULT = Path(__file__).with_suffix(".json")
ROWS, CASES, STEPS = 60, 50, (5, 10, 20)
KINDS = ("decaying", "outliers", "semicircle", "positive", "low rank", "mostly negative")
ONE = np.array([0])


def spectrum(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Eigenvalues of a random matrix."""
    if kind == "decaying":
        return rng.standard_normal(ROWS) * np.arange(1, ROWS + 1.0) ** -1.5
    if kind == "outliers":
        return np.r_[rng.exponential(10, 5), 0.1 * rng.standard_normal(ROWS - 5)]
    if kind == "semicircle":
        half = rng.standard_normal((ROWS, ROWS))
        return np.linalg.eigvalsh(half + half.T)
    if kind == "positive":
        return rng.exponential(1, ROWS) ** 3
    if kind == "low rank":
        return np.r_[1.0, rng.standard_normal(7), np.zeros(ROWS - 8)]
    return np.r_[5.0, -rng.exponential(1, ROWS - 1)]


def gauss(lanczos: Lanczos) -> float:
    """The plain Gauss value after the steps so far."""
    found = lanczos.found(ONE)
    theta, vectors = np.linalg.eigh(found.matrices()[0])
    return float(found.square[0] * (vectors[0] ** 2 * np.maximum(theta, 0)).sum())


def problem(kind: str, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A matrix, a vector v and the true value of v^T H^+ v."""
    eigenvalues = spectrum(kind, rng)
    basis = np.linalg.qr(rng.standard_normal((ROWS, ROWS)))[0]
    along = rng.standard_normal(ROWS) * rng.exponential(1, ROWS)
    true = float((along**2 * np.maximum(eigenvalues, 0)).sum())
    return torch.tensor(basis * eigenvalues @ basis.T), torch.tensor(basis @ along), true


def row_of(kind: str, matrix: torch.Tensor, v: torch.Tensor, true: float) -> dict[str, Any]:
    """Steps and error when 1e-3 is asked for, and what is known after each of `STEPS`."""
    found = positive_part(lambda x, which: x @ matrix, v[None], relative=1e-3, max_steps=ROWS)
    off = abs(found.value[0] - true)
    row: dict[str, Any] = {
        "kind": kind,
        "steps": int(found.steps[0]),
        "relative_error": off / true,
        "held": bool(off <= found.error[0]),
    }
    lanczos, before, slack = Lanczos(lambda x, which: x @ matrix, v[None]), 0.0, 1e-9 * true
    for step in range(1, max(STEPS) + 1):
        lanczos.step(ONE)
        value = gauss(lanczos)
        if step in STEPS:
            low, high = (float(end[0]) for end in bracket(lanczos.found(ONE)))
            row[str(step)] = {
                "middle": abs((low + high) / 2 - true) / true,
                "gauss": abs(value - true) / true,
                "held_by_the_interval": bool(low - slack <= true <= high + slack),
                "held_by_the_last_change": bool(abs(value - true) <= abs(value - before) + slack),
            }
        before = value
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all problems: errors, steps, and how often an interval held the truth."""
    return {
        "to_1e-3": {
            "problems": len(rows),
            "held": sum(row["held"] for row in rows),
            "largest_relative_error": max(row["relative_error"] for row in rows),
            "median_steps": {
                kind: float(np.median([row["steps"] for row in rows if row["kind"] == kind])) for kind in KINDS
            },
        },
        "at_steps": {
            step: {
                "median_error_of_the_middle": float(np.median([row[step]["middle"] for row in rows])),
                "median_error_of_gauss": float(np.median([row[step]["gauss"] for row in rows])),
                "held_by_the_interval": sum(row[step]["held_by_the_interval"] for row in rows),
                "held_by_the_last_change": sum(row[step]["held_by_the_last_change"] for row in rows),
            }
            for step in map(str, STEPS)
        },
    }


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """All kinds of spectrum."""
    rng = np.random.default_rng(0)
    rows = [row_of(kind, *problem(kind, rng)) for kind in KINDS for _ in range(CASES)]
    result = {"command": "python -m evidence quadrature", **summary(rows)}
    print(json.dumps(result, indent=1))
    return write_numbers(result, json_file)
