"""What a tracker or a trainer wrote of one run, whoever wrote it: rows of numbers, and settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lensllm.errors import InputError
from lensllm.text import listed

LOSSES = ("eval_loss", "val_loss", "valid_loss", "validation_loss")
"""What trainers call the loss on held-out examples: transformers, Lightning, axolotl's and others' own loops."""
PREFIXES = {"eval/": "eval_", "val/": "val_", "valid/": "valid_", "validation/": "validation_", "test/": "test_"}
"""Trackers group by what stands before the slash: transformers writes `eval_loss` as `eval/loss` there."""


@dataclass(frozen=True)
class History:
    """One run as it was logged.

    Attributes:
        name: of the run, unique in its source.
        where: file or folder, for messages.
        rows: what was logged at one time, ascending; names as `plain_name` gives them, `step` and `epoch` among them.
        settings: what the run was started with, as texts.
        unfinished: why it is known not to have ended; empty where it ended or nothing tells.
        vocabulary: what tells tokenizers apart; empty where unknown.
    """

    name: str
    where: str
    rows: tuple[Mapping[str, float], ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    unfinished: str = ""
    vocabulary: str = ""

    def metric(self, asked: str) -> str:
        """The name of the evaluation loss: the one asked for, or the only one there is; empty where there is none.

        Raises:
            InputError: if there are several and none was asked for.

        >>> History("a", "a.csv", ({"eval_loss": 2.0, "step": 10.0},)).metric("")
        'eval_loss'
        """
        names = {name for row in self.rows for name in row}
        if asked:
            return plain_name(asked) if plain_name(asked) in names else ""
        found = [name for name in LOSSES if name in names]
        found = found or sorted(name for name in names if name.startswith("eval_") and name.endswith("_loss"))
        if len(found) > 1:
            raise InputError(f"{self.where} has several evaluation losses ({listed(found)}): choose one with --metric")
        return found[0] if found else ""

    def last(self, *names: str) -> float | None:
        """The last value that was logged under one of these names, or is set under it; None where there is none."""
        for row in reversed(self.rows):
            for name in names:
                if name in row:
                    return row[name]
        for name in names:
            if (value := number(self.settings.get(name, ""))) is not None:
                return value
        return None


def plain_name(name: str) -> str:
    """The name of a metric as transformers' Trainer gives it.

    >>> [plain_name(name) for name in ("eval/loss", "train/train_runtime", "metrics.eval_loss", "train/global_step")]
    ['eval_loss', 'train_runtime', 'eval_loss', 'step']
    """
    name = name.strip().removeprefix("metrics.").removeprefix("params.")
    for prefix, plain in PREFIXES.items():
        if name.startswith(prefix):
            return plain + name.removeprefix(prefix)
    name = name.removeprefix("train/")
    return "step" if name in ("global_step", "_step", "trainer/global_step", "Step") else name


def number(value: object) -> float | None:
    """A finite number or an infinite one; None for anything else.

    >>> number("2.5"), number(True), number("NaN"), number("")
    (2.5, None, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found
