"""The truth of `lensllm demo`: what every candidate reaches on all the data, as the study measured it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from evidence.results import write_numbers
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves
from lensllm.demo import TASK, TRUTH

COMMAND = "python -m evidence demo-truth"
RESULT = Path(str(files("lensllm"))) / TRUTH
"""Shipped with the package, because the demonstration reads it."""


def study_truth(config: StudyConfig) -> dict[str, Any]:
    """The test loss of every candidate fine-tuned on all the data of the demonstration's task.

    Raises:
        InputError: if the study has not finished that task.
    """
    curves = own_curves(config, [TASK])[TASK]
    losses = dict(zip(curves.candidates, map(float, curves.losses[:, -1]), strict=True))
    return {"command": COMMAND, "task": TASK, "examples": int(curves.sizes[-1]), "losses": losses}


def run(config: StudyConfig, json_file: Path = RESULT) -> dict[str, Any]:
    """Write the truth."""
    return write_numbers(study_truth(config), json_file)
