"""The demonstration: a shipped task, shipped candidates, and the truth to compare with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from lensllm import zoo
from lensllm.config import SelectConfig
from lensllm.pipeline import run_selection
from lensllm.report import write_report
from lensllm.search.callbacks import Callback
from lensllm.selection import Selection

TASK = "define"
CHAT_TASK = "talk"
CHAT_MODELS = ("llama-0.9m-mix-5m-chat", "gpt2-0.2m-mix-5m-chat")
METHODS = ("full", "lora")
REAL = "smollm2-135m"
TRUTH = "demo_truth.json"
CHAT_TRUTH = "demo_chat_truth.json"


def run_demo(
    output_dir: Path,
    real: bool = False,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
    *,
    chats: bool = False,
) -> Selection:
    """Select among the zoo's models for a shipped task, and compare with the shipped truth.

    The truth is the test loss of every candidate fine-tuned on all the data, measured before: of 13 models for
    definitions of words, from our own study (docs/study.md); of two chat models, tuned in full and by LoRA, for
    conversations.

    Args:
        output_dir: gets `selection.json`, `curves.csv` and `report.html`.
        real: add SmolLM2-135M, which is fetched first and has no truth.
        chats: conversations, and ways to tune as candidates.
        callbacks: hear of every run and decision.
        command: as it was typed, for the record.
    """
    losses = read_truth(CHAT_TRUTH if chats else TRUTH)["losses"]
    models = list(CHAT_MODELS if chats else losses)
    if real:
        zoo.fetch([REAL])
        models.append(REAL)
    asked: dict[str, Any] = {"task": CHAT_TASK, "methods": list(METHODS)} if chats else {"task": TASK}
    config = SelectConfig(models=models, output_dir=str(output_dir), **asked)
    selection = run_selection(config, callbacks, command=command)
    compared = replace(selection, truth=compare(selection, losses))
    compared.save(output_dir)
    write_report(compared, output_dir / "report.html")
    return compared


def read_truth(name: str = TRUTH) -> dict[str, Any]:
    """A shipped truth: the command and settings that made it and, under `losses`, nats a byte by candidate."""
    return json.loads(files("lensllm").joinpath(name).read_text())


def compare(selection: Selection, losses: dict[str, float]) -> dict[str, Any]:
    """How good the choice was, given the true losses on all the data.

    RelAcc = (worst - chosen) / (worst - best) (Lin et al. 2024), over the candidates whose truth is known.

    Returns:
        `best`, `rel_acc`, `rank_of_chosen`, `covered` (how many 90 % intervals hold the truth) and `candidates`, the
        number of those compared: a model whose truth is not known is passed over, tuned or not. The loss of a model
        taken as it came is what was measured.
    """
    first_best = sorted(selection.ranking, key=lambda row: row.candidate != selection.best)
    known = {*losses, *(row.model for row in selection.ranking if row.candidate in losses)}
    row = next(row for row in first_best if row.model in known)
    chosen = losses.get(row.candidate, row.forecast)
    order = sorted(losses, key=losses.__getitem__)
    best, worst = losses[order[0]], losses[order[-1]]
    return {
        "best": order[0],
        "rel_acc": (worst - chosen) / (worst - best),
        "rank_of_chosen": 1 + sum(loss < chosen for loss in losses.values()),
        "covered": sum(
            row.interval[0] <= losses[row.candidate] <= row.interval[1]
            for row in selection.ranking
            if row.candidate in losses
        ),
        "candidates": len(order),
    }
