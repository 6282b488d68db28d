"""The truth of `lensllm demo`: what every candidate reaches on all the data, as the study measured it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from evidence.results import write_numbers
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves
from lensllm.config import SelectConfig
from lensllm.demo import CHAT_MODELS, CHAT_TASK, CHAT_TRUTH, METHODS, TASK, TRUTH
from lensllm.pipeline import run_selection
from lensllm.tasks import read_task

COMMAND = "python -m evidence demo-truth"
RESULT = Path(str(files("lensllm"))) / TRUTH
CHATS = RESULT.with_name(CHAT_TRUTH)
"""Both shipped with the package, because the demonstration reads them."""
FIRST = 50
"""Examples of the rung at which the learning rate is chosen, as in a search."""


def study_truth(config: StudyConfig) -> dict[str, Any]:
    """The test loss of every candidate fine-tuned on all the data of the demonstration's task.

    Raises:
        InputError: if the study has not finished that task.
    """
    curves = own_curves(config, [TASK])[TASK]
    losses = dict(zip(curves.candidates, map(float, curves.losses[:, -1]), strict=True))
    return {"command": COMMAND, "task": TASK, "examples": int(curves.sizes[-1]), "losses": losses}


def chat_truth(output_dir: Path) -> dict[str, Any]:
    """The test loss of every candidate of `lensllm demo --chats` fine-tuned on all the data."""
    examples = len(read_task(CHAT_TASK).train)
    config = SelectConfig(
        task=CHAT_TASK,
        models=list(CHAT_MODELS),
        methods=list(METHODS),
        sizes=[FIRST, examples],
        output_dir=str(output_dir),
    )
    curves = run_selection(config).curves
    losses = dict(zip(curves.candidates, map(float, curves.losses[:, -1]), strict=True))
    return {"command": f"{COMMAND} --chats", "task": CHAT_TASK, "examples": examples, "losses": losses}


def run(config: StudyConfig, json_file: Path = RESULT) -> dict[str, Any]:
    """Write the truth."""
    return write_numbers(study_truth(config), json_file)


def run_chats(json_file: Path = CHATS, output_dir: Path = Path("out/demo-truth")) -> dict[str, Any]:
    """Make the runs and write the truth of the chats."""
    return write_numbers(chat_truth(output_dir), json_file)
