"""Should the kernel curve's points count less than measured losses? They are noisier; how much is tried.

    python -m evidence kernel-noise

The design tasks of the study that are complete, budgets 1/8 to 1/64, all candidates and the random pools of
`python -m evidence own`. The reading error of a kernel point is taken to be 1 (as released), 1.5, 2, 4 or 8 times that
of a measured loss: a slope between two points then has the precision 2 / (r_1^2 + r_2^2) of one between two measured
losses, by which it weighs in the recent slope and in how far that lasts. Writes evidence/kernel/kernel_noise.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from evidence.accuracy import own
from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from evidence.study.curves import own_curves
from lensllm.arrays import Floats
from lensllm.selectors import GrowingSlopes, GrowingSlopesKernel
from lensllm.selectors.slopes import Slopes

RESULT = Path(__file__).with_suffix(".json")
RATIOS = (1.0, 1.5, 2.0, 4.0, 8.0)


def precision(slopes: Slopes, first: float, ratio: float) -> Floats:
    """Of every slope, relative to one between measured losses; points before log2 size `first` are the kernel's."""
    ends = [slopes.at - slopes.width / 2, slopes.at + slopes.width / 2]
    return 2 / np.sum([np.where(end < first - 1e-9, ratio**2, 1.0) for end in ends], axis=0)


def noisy(first: float, ratio: float) -> tuple[object, property]:
    """`Slopes.recent` and `Slopes.doublings` with that precision."""

    def recent(self: Slopes, lag_weight: float) -> tuple[Floats, Floats]:
        newest = np.where(np.isfinite(self.at), self.at, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
        weight = np.nan_to_num(precision(self, first, ratio) * lag_weight ** (newest - self.at))
        weight = np.where(np.isfinite(self.value), weight, 0.0)
        total = np.where(self.any, weight.sum(axis=1), np.nan)
        return tuple((weight * np.nan_to_num(part)).sum(axis=1) / total for part in (self.value, self.at))

    return recent, property(lambda self: np.nansum(self.width * precision(self, first, ratio), axis=1))


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """The default without the kernel, and with it at every ratio."""
    study = StudyConfig.read(STUDY)
    data = own_curves(study, study.design_tasks)
    first = float(np.log2(min(study.sizes)))

    def means(name: str, selector: GrowingSlopes) -> dict:
        summary = own.summary(own.score(own.forecasts(name, selector, data), data))
        return {
            metric: {key: summary[metric][key] for key in ("mean", "by_task")} for metric in ("pearcorr", "rel_acc")
        }

    result: dict[str, Any] = {"tasks": list(data), "without": means("growing_slopes", GrowingSlopes())}
    for ratio in RATIOS:
        recent, doublings = noisy(first, ratio)
        with patch.object(Slopes, "recent", recent), patch.object(Slopes, "doublings", doublings):
            result[f"{ratio:g} times"] = means("growing_slopes_kernel", GrowingSlopesKernel())
    for name, found in result.items():
        if name != "tasks":
            print(f"{name:10s} PearCorr {found['pearcorr']['mean']:.2f} RelAcc {found['rel_acc']['mean']:.2f}")
    return write_numbers(result, json_file)
