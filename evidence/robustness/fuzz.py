"""Hostile tables and damaged stores: how many are read right, how many refused, and whether any changes in silence.

    python -m evidence fuzz

2,000 tables of losses spoiled in the ways of `hostile_tables.py` and 500 stores damaged in those of
`damaged_stores.py`, each from its seed. Writes evidence/robustness/fuzz.json.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from evidence.results import write_numbers
from evidence.robustness import damaged_stores
from evidence.robustness.hostile_tables import Spoiled, spoiled
from lensllm.curves import Curves
from lensllm.errors import InputError

RESULT = Path(__file__).with_suffix(".json")
TABLES, STORES = 2000, 500


def verdict(table: Spoiled, folder: Path) -> str:
    """`read right`, `refused`, `wrong`, or the type of what was raised instead of a sentence."""
    path = folder / "curves.csv"
    path.write_bytes(table.raw)
    try:
        curves = Curves.read_csv(path)
    except InputError as error:
        return "refused" if table.verdict == "refused" and "\n" not in str(error) else "refused without need"
    except Exception as error:
        return type(error).__name__
    told = table.kind == "tabs" or bool(curves.notes) == (table.verdict == "noted")
    same = losses(curves).keys() == table.meant.keys() and all(
        abs(loss - table.meant[point]) <= 1e-6 * abs(loss) for point, loss in losses(curves).items()
    )
    return "read right" if same and told and table.verdict != "refused" else "wrong"


def losses(curves: Curves) -> dict[tuple[str, int], float]:
    """Every measured point."""
    return {
        (name, int(size)): float(loss)
        for name, row in zip(curves.candidates, curves.losses, strict=True)
        for size, loss in zip(curves.sizes, row, strict=True)
        if loss == loss
    }


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Try all seeds."""
    tables: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(TABLES):
            how = verdict(spoiled(seed), Path(folder))
            tables[how] = tables.get(how, 0) + 1
    stores = damaged_stores.counts(range(STORES))
    return write_numbers({"command": "python -m evidence fuzz", "tables": tables, "stores": stores}, json_file)
