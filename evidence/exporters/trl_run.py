"""Does `trl sft` with an exported configuration reach the measured loss? Two zoo models, full tuning and LoRA.

    python -m evidence trl-run

500 definitions of the task `define` are held as a file. A selection measures both models, tuned in both ways, up to
all of the training examples. Each candidate is exported to TRL and trained by TRL's own script and parser; its test
loss is measured as ours are. The noise is that of our own run over five seeds. Writes evidence/exporters/trl_run.json.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import lensllm
from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from lensllm.candidates.load import load_model
from lensllm.config import SelectConfig
from lensllm.exporters import Recipe, export
from lensllm.inputs import read_candidates
from lensllm.selection import Selection
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.in_training import measure

RESULT = Path(__file__).with_suffix(".json")
MODELS = ("gpt2-0.2m-bible-1.5m", "llama-0.2m-jargon-1.5m")
EXAMPLES, SEEDS = 500, 5


def run(file: Path | None = RESULT, examples: int = EXAMPLES, seeds: int = SEEDS) -> dict[str, Any]:
    """Measure all four candidates.

    Args:
        file: where the numbers go; None for nowhere.
        examples: of the file.
        seeds: of the noise.
    """
    one_quiet_thread()
    with TemporaryDirectory() as folder:
        rows = list(_rows(Path(folder), examples, seeds))
    return write_numbers({"examples": examples, "seeds": seeds, "rows": rows}, file)


def _rows(folder: Path, examples: int, seeds: int) -> Iterator[dict[str, Any]]:
    data = folder / "definitions.jsonl"
    rows = [{"prompt": one.prompt, "completion": one.completion} for one in read_task("define").train[:examples]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common: dict[str, Any] = {"methods": ["full", "lora"], "workers": 1, "max_test_examples": 100}
    config = SelectConfig.of(task=str(data), models=list(MODELS), **common)
    task, found, _ = read_candidates(config)
    everything = len(task.train)
    lensllm.select(str(data), list(MODELS), output_dir=str(folder / "out"), sizes=[50, everything], **common)
    selection = Selection.load(folder / "out")
    for candidate in found.admitted:
        recipe = Recipe.of(selection, candidate.name)
        encoded = EncodedTask(candidate, task, recipe.training)
        rate = recipe.expected.learning_rate
        ours = []
        for seed in range(seeds):
            seeded = EncodedTask(candidate, task, replace(recipe.training, seed=seed, learning_rate=rate))
            ours.append(fine_tune(seeded, everything, rate).nats_per_byte)
        target, _ = export(folder / "out", "trl", folder / candidate.name, candidate.name)
        theirs, logged = trained_by_trl(target, encoded)
        sd = float(np.std(ours, ddof=1))
        yield {
            "candidate": candidate.name,
            "trained_on": everything,
            "learning_rate": rate,
            "measured": selection.curves.of([candidate.name]).losses[0, -1],
            "ours_by_seed": ours,
            "ours_sd": sd,
            "trl": theirs,
            "trl_logged_a_byte": logged / recipe.expected.bytes_a_token,
            "sds_apart": (theirs - float(np.mean(ours))) / math.hypot(sd, sd / math.sqrt(seeds)),
        }


def trained_by_trl(target: Path, encoded: EncodedTask) -> tuple[float, float]:
    """Test loss in nats a byte of what `trl sft --config sft.yaml` makes, and what it logged, in nats a token."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from trl.scripts import sft

    before = os.getcwd()
    os.chdir(target)
    try:
        parts = sft.make_parser().parse_args_and_config(["--config", "sft.yaml"], fail_with_unknown_args=True)
        with contextlib.redirect_stdout(None):
            sft.main(*parts)
    finally:
        os.chdir(before)
    model = target / "model"
    if (model / "adapter_config.json").is_file():
        base = load_model(encoded.candidate)
        trained = PeftModel.from_pretrained(base, model).merge_and_unload()
    else:
        trained = AutoModelForCausalLM.from_pretrained(model)
    loss = measure(trained, encoded, "test", encoded.meter(trained)).nats_per_byte
    states = sorted(model.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name.split("-")[1]))
    log = json.loads(states[-1].read_text())["log_history"]
    return loss, [row["eval_loss"] for row in log if "eval_loss" in row][-1]
