"""The pools of the public score curves, and which of them are for design and for the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.objectives import Between

CURVES = Path(__file__).with_name("curves")
SETS = ("setfit", "pet", "proxylm_nusa", "peft", "own")
OWN_DESIGN = ("sentiment",)
FLOORS = {"amazon_counterfactual_en": -1.0}
"""Of Matthews' correlation; all others are at least 0."""
PARTS = (2, 4, 8, 16)
LEAST_SIZES = 3
CUTS = {"proxylm_nusa": (3_000.0,), "peft": (5_000.0, 8_000.0, 11_000.0)}


@dataclass(frozen=True)
class Pool:
    """The candidates of one task and seed, seen up to some size.

    Attributes:
        source: which set.
        task: its name there.
        objective: what is forecast.
        scores: what may be seen, values as they are, shape (K, M) in `losses`.
        target: size that is forecast.
        truth: measured there, shape (K,).
        losses: of the same runs, shape (K, M); None where none are published.
    """

    source: str
    task: str
    objective: Between
    scores: Curves
    target: float
    truth: Floats
    losses: Curves | None = None

    @property
    def odds(self) -> Curves:
        """The curves that are forecast: odds of falling short."""
        losses, errors = self.objective.to_loss(self.scores.losses, self.scores.standard_errors)
        return Curves(self.scores.candidates, self.scores.sizes, losses, standard_errors=errors, beside=self.losses)

    @property
    def last(self) -> Floats:
        """The last score measured of each candidate, shape (K,)."""
        return np.array([row[np.isfinite(row)][-1] for row in self.scores.losses])


def pools(report: bool) -> Iterator[Pool]:
    """All pools of a half."""
    for source in SETS:
        file = CURVES / f"{source}.csv"
        for (task, _), rows in half(source, pd.read_csv(file), report).groupby(["task", "seed"]):
            yield from _cut(source, str(task), rows)


def half(source: str, table: pd.DataFrame, report: bool) -> pd.DataFrame:
    """The rows of a set that are for design, or for the report (curves/README.md)."""
    if source == "own":
        return table[table["task"].isin(OWN_DESIGN) != report]
    column = "candidate" if source == "peft" else "task"
    names = sorted(table[column].unique(), key=str.casefold)
    middle = (len(names) + 1) // 2
    design = names[::2] if source == "peft" else names[:middle]
    return table[table[column].isin(design) != report]


def _cut(source: str, task: str, rows: pd.DataFrame) -> Iterator[Pool]:
    wide = {
        name: rows.pivot_table(index="candidate", columns="examples", values=name, dropna=False)
        for name in ("score", "standard_error", "loss")
        if name in rows
    }
    table = wide["score"]
    sizes = table.columns.to_numpy(float)
    target = sizes[(table.notna().sum() >= 2).to_numpy()].max()
    ends = table.index[table[target].notna()]
    wide = {name: one.reindex(index=ends, columns=table.columns).to_numpy(float) for name, one in wide.items()}
    smaller = sizes[(sizes > 0) & (sizes < target)]
    found = {max(smaller[smaller <= target / part], default=0.0) for part in PARTS}
    cuts = CUTS.get(source) or sorted(cut for cut in found if (smaller <= cut).sum() >= LEAST_SIZES)
    for cut in cuts:
        seen = (sizes > 0) & (sizes <= cut)
        kept = np.isfinite(wide["score"][:, seen]).any(axis=1)
        if kept.sum() < 2:
            continue
        names = tuple(ends[kept])
        values, errors = (wide[name][kept][:, seen] for name in ("score", "standard_error"))
        losses = Curves(names, sizes[seen], wide["loss"][kept][:, seen]) if "loss" in wide else None
        truth = wide["score"][kept][:, sizes == target][:, 0]
        objective = Between(task, floor=FLOORS.get(task, 0.0))
        yield Pool(
            source, task, objective, Curves(names, sizes[seen], values, standard_errors=errors), target, truth, losses
        )
