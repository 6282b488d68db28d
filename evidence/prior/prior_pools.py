"""How like the prior's pools are to real ones: the same statistics of both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.pages import table as table_of
from evidence.pages import write_section
from evidence.prior.sets import DESIGN, cases
from evidence.results import write_numbers
from lensllm.arrays import Floats
from lensllm.prior.kinds import KINDS
from lensllm.prior.pools import draw_pools

RESULT = Path(__file__).with_suffix(".json")
COMMAND = "python -m evidence prior-pools --docs docs"
AHEAD = 4.0
NEAR = 0.6
POOLS = 4000
SEED = 12
LEAST = 3
"""Candidates, and sizes, below which a pool has no such statistics."""
SMALL = 1e-4


def statistics(x: Floats, y: Floats, ahead: float, truth: Floats) -> dict[str, float] | None:
    """Of a pool measured at x, shape (S,), with log losses y, shape (K, S), that became `truth`, shape (K,)."""
    whole = np.asarray(np.isfinite(y).all(axis=1) & np.isfinite(truth))
    y, truth = y[whole], truth[whole]
    if len(y) < LEAST or y.shape[1] < LEAST:
        return None
    steps = (y[:, :-1] - y[:, 1:]) / np.diff(x)
    move, last, lately = y[:, -1] - truth, y[:, -1], steps[:, -2:].mean()
    spread = max(float(np.std(last)), SMALL)
    return {
        "slope": float(np.median(steps[:, -1])),
        "growth": float(move.mean() / ahead / lately) if abs(lately) > SMALL else np.nan,
        "spread": spread,
        "own move / spread": float(np.std(move)) / spread,
        "level, move": _corr(last, -move),
        "past, ahead": _corr(steps[:, -2:].mean(axis=1), move),
        "rank": float(spearmanr(last, truth).statistic),
        "best stays": float(last.argmin() == truth.argmin()),
        "rough": float(np.median(np.abs(steps[:, -1] - steps[:, -2]))),
    }


def _corr(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.std(a) > 0 and np.std(b) > 0 else np.nan


def real() -> pd.DataFrame:
    """Medians by set, 4 doublings ahead."""
    rows = []
    for source in DESIGN:
        for case in cases(source):
            tuned = case.seen.sizes > 0
            x = np.log2(case.seen.sizes[tuned])
            ahead = float(np.log2(case.target) - x[-1]) if len(x) else 0.0
            if abs(ahead - AHEAD) < NEAR:
                found = statistics(x, np.log(case.seen.losses[:, tuned]), ahead, np.log(case.truth))
                if found:
                    rows.append({"of": source, **found})
    return _medians(rows)


def drawn() -> pd.DataFrame:
    """The same of the prior by kind."""
    rng, rows = np.random.default_rng(SEED), []
    for sizes in (4, 6):
        pools = draw_pools(rng, POOLS, 12, sizes)
        for i in np.flatnonzero(np.abs(pools.ahead - AHEAD) < NEAR):
            found = statistics(pools.x[i], pools.y[i], float(pools.ahead[i]), pools.truth[i])
            if found:
                rows.append({"of": KINDS[pools.kind[i]].name, **found})
    return _medians(rows)


def _medians(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    groups = table.groupby("of", sort=False)
    out = groups.median(numeric_only=True)
    for name in ("best stays",):
        out[name] = groups[name].mean()
    for name in ("growth", "level, move", "rank"):
        out[f"{name} low"] = groups[name].quantile(0.1)
        out[f"{name} high"] = groups[name].quantile(0.9)
    out["n"] = groups.size()
    return out


def run(json_file: str | Path | None = None, docs: str | Path | None = None) -> dict[str, Any]:
    """The statistics of the design sets and of the prior; write the JSON and, into `docs`, the table."""
    table = pd.concat([real(), drawn()])
    numbers = {str(name): {str(k): float(v) for k, v in row.items()} for name, row in table.iterrows()}
    result = write_numbers(numbers, json_file)
    if docs is not None:
        write_section(Path(docs) / "prior.md", "pools", COMMAND, _page(result), "The prior")
    return result


def _page(result: dict[str, Any]) -> str:
    rows = []
    for name, row in result.items():
        cells = [f"{row['n']:.0f}", *(f"{row[column]:.3f}" for column in ("slope", "spread", "rough"))]
        ranges = [
            f"{row[c]:.2f} ({row[f'{c} low']:.2f} to {row[f'{c} high']:.2f})" for c in ("growth", "level, move", "rank")
        ]
        rows.append([name, *cells, f"{row['own move / spread']:.2f}", f"{row['past, ahead']:.2f}", *ranges,
                     f"{100 * row['best stays']:.0f}"])  # fmt: skip
    head = ["pools", "n", "last slope", "spread", "roughness", "own move / spread", "past, ahead", "growth",
            "level, move", "rank", "best stays, %"]  # fmt: skip
    return table_of(head, rows)
