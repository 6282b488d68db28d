"""`lensllm export`: what it prints, and what it refuses."""

import json
import shutil

import pytest
from commands import refused, run

from lensllm.selection import Selection

pytestmark = pytest.mark.xdist_group("exporters")


def test_it_says_what_it_wrote_and_how_to_train(plain_selection, tmp_path, capsys):
    printed = run(capsys, "export", plain_selection, "--to", "trl", "--output-dir", tmp_path / "mine")
    assert f"Train with: cd {tmp_path / 'mine'} && trl sft --config sft.yaml" in printed
    assert "data/train.jsonl" in printed
    made = json.loads(
        run(capsys, "export", plain_selection, "--to", "axolotl", "--output-dir", tmp_path / "other", "--json")
    )
    assert made["command"] == "axolotl train axolotl.yaml"


def test_a_tool_that_is_unknown(plain_selection, capsys):
    assert "expected one of trl, axolotl, llama-factory, unsloth, oumi" in refused(
        capsys, "export", plain_selection, "--to", "torchtune"
    )


def test_no_selection(tmp_path, capsys):
    refused(capsys, "export", tmp_path, "--to", "trl")


def test_a_model_that_is_used_as_it_is(plain_selection, capsys):
    row = next(row for row in Selection.load(plain_selection).ranking if row.method == "none")
    error = refused(capsys, "export", plain_selection, "--to", "trl", "--candidate", row.candidate)
    assert "is used as it is" in error


def test_a_candidate_that_is_unknown(plain_selection, capsys):
    assert "has no candidate 'x'" in refused(capsys, "export", plain_selection, "--to", "trl", "--candidate", "x")


def test_a_folder_that_is_not_empty(plain_selection, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    error = refused(capsys, "export", plain_selection, "--to", "trl", "--output-dir", tmp_path)
    assert "is not empty" in error


@pytest.mark.parametrize("what", ["data", "model"])
def test_what_has_changed_since(tmp_path, model_folders, sums_file, capsys, what):
    import lensllm

    model, data = tmp_path / "model", tmp_path / "sums.jsonl"
    shutil.copytree(model_folders["gpt"], model)
    shutil.copy(sums_file, data)
    few = {"sizes": [16], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    found = lensllm.select(str(data), [str(model)], output_dir=str(tmp_path / "out"), **few)
    name = next(row.candidate for row in found.ranking if row.method == "full")
    if what == "data":
        data.write_text("".join(data.read_text().splitlines(keepends=True)[:-5]))
    else:
        shutil.copy(model_folders["llama"] / "model.safetensors", model / "model.safetensors")
        shutil.copy(model_folders["llama"] / "config.json", model / "config.json")
    error = refused(capsys, "export", tmp_path / "out", "--to", "trl", "--candidate", name)
    assert "has changed since the selection" in error
