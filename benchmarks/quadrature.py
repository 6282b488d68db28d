"""How good is the interval of v^T H^+ v, and what would plain Gauss quadrature do?

    python benchmarks/quadrature.py

300 random symmetric matrices of 60 rows in double precision, six kinds of spectrum, v with random weights on the
eigenvectors. (a) Steps until the interval asks for no more than 1e-3: the true relative error, and whether the
interval holds the truth. (b) After 5, 10 and 20 steps: the relative error of the interval's middle, of Gauss
quadrature with as many products, and of both estimates of their errors: half the interval, and the change of the Gauss
value at the last step, which is the usual rule. Writes benchmarks/results/quadrature.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lensllm.theory.curvature import positive_part
from lensllm.theory.lanczos import Lanczos, bracket

ROWS, CASES, STEPS = 60, 50, (5, 10, 20)
ONE = np.array([0])


def spectrum(kind: str, rng: np.random.Generator) -> np.ndarray:
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
    found = lanczos.found(ONE)
    theta, vectors = np.linalg.eigh(found.matrices()[0])
    return float(found.square[0] * (vectors[0] ** 2 * np.maximum(theta, 0)).sum())


def main() -> None:
    rng = np.random.default_rng(0)
    result: dict[str, Any] = {"command": "python benchmarks/quadrature.py", "to_1e-3": {}, "at_steps": {}}
    rows = []
    for kind in ("decaying", "outliers", "semicircle", "positive", "low rank", "mostly negative"):
        for _ in range(CASES):
            eigenvalues = spectrum(kind, rng)
            basis = np.linalg.qr(rng.standard_normal((ROWS, ROWS)))[0]
            along = rng.standard_normal(ROWS) * rng.exponential(1, ROWS)
            matrix, v = torch.tensor(basis * eigenvalues @ basis.T), torch.tensor(basis @ along)
            true = float((along**2 * np.maximum(eigenvalues, 0)).sum())
            found = positive_part(lambda x, which, h=matrix: x @ h, v[None], relative=1e-3, max_steps=ROWS)
            off = abs(found.value[0] - true)
            row: dict[str, Any] = {
                "kind": kind,
                "steps": int(found.steps[0]),
                "relative_error": off / true,
                "held": bool(off <= found.error[0]),
            }
            lanczos, before = Lanczos(lambda x, which, h=matrix: x @ h, v[None]), 0.0
            for step in range(1, max(STEPS) + 1):
                lanczos.step(ONE)
                value = gauss(lanczos)
                if step in STEPS:
                    low, high = (float(end[0]) for end in bracket(lanczos.found(ONE)))
                    slack = 1e-9 * true
                    row[str(step)] = {
                        "middle": abs((low + high) / 2 - true) / true,
                        "gauss": abs(value - true) / true,
                        "held_by_the_interval": bool(low - slack <= true <= high + slack),
                        "held_by_the_last_change": bool(abs(value - true) <= abs(value - before) + slack),
                    }
                before = value
            rows.append(row)
    result["to_1e-3"] = {
        "problems": len(rows),
        "held": sum(row["held"] for row in rows),
        "largest_relative_error": max(row["relative_error"] for row in rows),
        "median_steps": {
            kind: float(np.median([row["steps"] for row in rows if row["kind"] == kind]))
            for kind in dict.fromkeys(row["kind"] for row in rows)
        },
    }
    for step in map(str, STEPS):
        result["at_steps"][step] = {
            "median_error_of_the_middle": float(np.median([row[step]["middle"] for row in rows])),
            "median_error_of_gauss": float(np.median([row[step]["gauss"] for row in rows])),
            "held_by_the_interval": sum(row[step]["held_by_the_interval"] for row in rows),
            "held_by_the_last_change": sum(row[step]["held_by_the_last_change"] for row in rows),
        }
    (Path(__file__).parent / "results" / "quadrature.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
