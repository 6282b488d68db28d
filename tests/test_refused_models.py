"""What a command says of models that do not take part."""

from __future__ import annotations

import json
import shutil

import pytest
from commands import refused, run
from folders import edit, save, weights

from lensllm.pipeline import select


@pytest.fixture
def folders(model_folders, tmp_path):
    return lambda model, name: shutil.copytree(model_folders[model], tmp_path / name)


def test_the_others_go_on_and_the_reasons_are_listed(folders, sums_file, tmp_path, capsys):
    good, twin, quantised, random = (folders("gpt", name) for name in ("good", "twin", "quantised", "random"))
    edit(quantised / "config.json", quantization_config={"quant_method": "gptq"})
    tensors = weights(random)
    del tensors[next(name for name in tensors if "mlp" in name)]
    save(random, tensors)
    options = ["--sizes", "10", "--workers", "1", "--output-dir", str(tmp_path / "out")]
    models = [str(folder) for folder in (good, twin, quantised, random)]
    printed = run(capsys, "select", sums_file, "--models", *models, *options)
    assert f"refused: {twin}: it has the same files as {good}, which stands for both" in printed
    assert f"refused: {quantised}: its weights are quantised (gptq)" in printed
    assert (
        "failed: random on 0 examples: random cannot be used: 1 weight that it needs is in none of its files" in printed
    )
    assert "the best of 1 candidate with" in printed
    saved = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert [one["model"] for one in saved["refused"]] == [str(twin), str(quantised)]


def test_none_that_is_left_ends_the_command(folders, sums_file, tmp_path, capsys):
    bad = folders("gpt", "bad")
    edit(bad / "config.json", model_type="llama9")
    where = ["--output-dir", str(tmp_path / "out")]
    said = refused(capsys, "select", sums_file, "--models", bad, "nonsense", *where)
    assert "'llama9' is not known" in said
    assert "no model 'nonsense'" in said


def test_lost_bytes_are_charged_and_said(folders, tmp_path):
    """A tokenizer without braces loses one byte of each hundred."""
    folder = folders("gpt", "braceless")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "}"}, "content": ""}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    task = tmp_path / "task.jsonl"
    rows = [{"prompt": f"{i} plus", "completion": f" {i} is, to be sure, no more than a sum}}"} for i in range(60)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    selection = select(task, [str(folder)], sizes=[10], workers=1, output_dir=str(tmp_path / "out"))
    [note] = [note for note in selection.notes if "tokenizer" in note]
    assert note.startswith("braceless: its tokenizer loses 2.")
    assert "charged at ln 256 nats" in note
