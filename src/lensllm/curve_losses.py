"""Values of a table that are losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lensllm.arrays import Floats
from lensllm.curve_values import CHANGE, Cell, Values, mostly
from lensllm.errors import InputError

SCORES = frozenset(
    {"acc", "accuracy", "f1", "precision", "recall", "auc", "auroc", "bleu", "rouge", "rouge1", "rouge2", "rougel"}
    | {"em", "exact_match", "score", "reward", "mcc", "win_rate", "pass@1", "r2", "meteor", "chrf", "comet"}
)
"""Names of metrics of which more is better."""
APART = 2.0
"""Losses of one point that differ by more than this factor, with no seed to tell them apart, contradict."""


class Losses(Values):
    """Numbers above 0 of which less is better."""

    name, plural = "loss", "losses"

    def value(self, cell: Cell) -> float:
        """A loss above 0, NaN if none was measured, infinity if the run diverged.

        Raises:
            InputError: naming row and column of anything else.
        """
        if cell.text.endswith("%"):
            raise InputError(f"{cell.told}: percentages are scores, expected losses, of which less is better")
        value = cell.number
        if value <= 0:
            raise InputError(f"{cell.told}: losses have to be above 0, as their logarithms are taken")
        if math.isfinite(value) and not 1e-12 <= value <= 1e12:
            raise InputError(f"{cell.told}: that is no loss of a language model, expected 1e-12 to 1e12")
        return value

    def contradict(self, values: Sequence[float]) -> bool:
        """More than a factor of two apart."""
        return max(values) > APART * min(values)

    def apart(self, values: Sequence[float]) -> str:
        """The factor between them."""
        return f"a factor of {max(values) / min(values):.3g} apart"

    def check_metric(self, path: Path, metric: str) -> None:
        """Refuse scores.

        Raises:
            InputError: naming the metric.
        """
        if metric.casefold() in SCORES:
            raise InputError(
                f"{path} holds {metric!r}, of which more is better: give losses (for an accuracy, the errors)"
            )

    def check_direction(self, path: Path, candidates: Sequence[str], sizes: Floats, values: Floats) -> list[str]:
        """Refuse values that rise with the data: losses fall, scores rise.

        Raises:
            InputError: if they do.
        """
        if told := mostly(lambda first, last: last > first * CHANGE, candidates, sizes, values, "rise"):
            raise InputError(
                f"{path}: {told}, and losses fall: if these are scores, of which more is better, forecast them with "
                "--scores or give errors (100 minus an accuracy)"
            )
        return []
