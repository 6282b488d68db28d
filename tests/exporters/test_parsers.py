"""Each exported configuration is read by the parser of its own tool, which understands what was meant.

TRL is a development dependency; the others are there after `make tools`, and left out without.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lensllm.exporters import Recipe, export
from lensllm.selection import Selection

pytestmark = pytest.mark.xdist_group("exporters")

TOOLS = Path(__file__).parents[2] / ".tools"
PACKAGES = {"axolotl": "axolotl", "llama-factory": "llamafactory", "oumi": "oumi"}


def parsed(tool, folder, candidate, target):
    """What the tool's parser says, and what was meant."""
    if tool in PACKAGES and not (TOOLS / PACKAGES[tool]).is_dir():
        pytest.skip(f"{tool} is not there: make tools")
    target, made = export(folder, tool, target, candidate)
    (name,) = [name for name in made.files if name.endswith(".yaml")]
    paths = os.pathsep.join([*([str(TOOLS)] if tool in PACKAGES else []), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("parsed_by.py")), tool, name],
        cwd=target, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), yaml.safe_load(made.files[name])


def candidate_of(folder, method):
    return next(row.candidate for row in Selection.load(folder).ranking if row.method == method)


def understood(given, found, path=""):
    """Every value that was written is what the parser holds, enumerations and numbers as texts."""
    for name, value in given.items():
        held = found[name]
        if isinstance(value, dict):
            understood(value, held, f"{path}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            understood(value[0], held[0], f"{path}{name}[0].")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert float(held) == pytest.approx(value), path + name
        elif isinstance(value, list):
            assert held == value or [held] == value, path + name
        else:
            assert str(held).split(".")[-1].lower() == str(value).split(".")[-1].lower(), path + name


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["plain", "chat"])
@pytest.mark.parametrize("tool", ["trl", "axolotl", "llama-factory", "oumi"])
def test_the_tool_reads_what_was_written(tool, kind, method, plain_selection, chat_selection, tmp_path):
    if kind == "plain" and tool == "oumi":
        pytest.skip("refused: Oumi learns chats alone")
    folder = plain_selection if kind == "plain" else chat_selection
    found, given = parsed(tool, folder, candidate_of(folder, method), tmp_path / "mine")
    understood({name: value for name, value in given.items() if name not in CHANGED.get(tool, ())}, found)


CHANGED = {
    "trl": ("report_to",),
    "llama-factory": ("dataset", "eval_dataset", "lora_target", "report_to", "quantization_bit"),
}
"""Fields that a parser makes lists of."""


def test_llama_factory_finds_its_data_sets(plain_selection, tmp_path):
    found, _ = parsed("llama-factory", plain_selection, candidate_of(plain_selection, "lora"), tmp_path / "mine")
    assert (found["dataset"], found["eval_dataset"]) == (["train"], ["test"])
    assert found["lora_target"] == ["all"]
    info = json.loads((tmp_path / "mine" / "data" / "dataset_info.json").read_text())
    assert all((tmp_path / "mine" / "data" / one["file_name"]).is_file() for one in info.values())


UNSLOTH = {
    "model": None,
    "data": {"dataset", "local_dataset", "format_type"},
    "training": {
        *("training_type", "max_seq_length", "load_in_4bit", "output_dir", "num_epochs", "learning_rate", "batch_size"),
        *("gradient_accumulation_steps", "warmup_steps", "max_steps", "save_steps", "weight_decay", "random_seed"),
        *("packing", "train_on_completions", "gradient_checkpointing"),
    },
    "lora": {"lora_r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_loftq", "use_dora"},
}
"""Fields of the configuration of unsloth 2026.10.9's command, by its help."""


@pytest.mark.parametrize("method", ["full", "lora"])
def test_unsloth_knows_every_field(chat_selection, tmp_path, method):
    _, made = export(chat_selection, "unsloth", tmp_path / "mine", candidate_of(chat_selection, method))
    given = yaml.safe_load(made.files["unsloth.yaml"])
    assert set(given) <= set(UNSLOTH)
    for section in set(given) - {"model"}:
        assert set(given[section]) <= UNSLOTH[section]


def test_recipe_is_of_the_best_by_default(plain_selection):
    selection = Selection.load(plain_selection)
    if next(row for row in selection.ranking if row.candidate == selection.best).method != "none":
        assert Recipe.of(selection).origin.name == selection.best
