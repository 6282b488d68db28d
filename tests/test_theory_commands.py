"""`lensllm bound` and `lensllm dynamics` from the outside."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from commands import refused, run
from transformers import AutoModelForCausalLM


@pytest.fixture(scope="module")
def tuned(model_folders, tmp_path_factory):
    """A folder of weights a little away from the GPT-2-like model's."""
    folder = tmp_path_factory.mktemp("tuned")
    model = AutoModelForCausalLM.from_pretrained(model_folders["gpt"])
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01 * torch.randn_like(p))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """A folder as `select` leaves it: one curve past its transition, one of three sizes."""
    folder = tmp_path_factory.mktemp("selected")
    sizes = 50 * 2 ** np.arange(8)
    losses = 1.7 * 200**0.9 / (200**0.9 + sizes**0.9) + 0.3
    rows = [("past", size, loss) for size, loss in zip(sizes, losses, strict=True)]
    rows += [("short", size, loss) for size, loss in zip(sizes[:3], losses[:3], strict=True)]
    pd.DataFrame(rows, columns=["candidate", "examples", "loss"]).to_csv(folder / "curves.csv", index=False)
    return folder


def test_bound_of_given_weights(capsys, model_folders, sums_file, tuned, tmp_path):
    command = ["bound", tuned, "--model", model_folders["gpt"], "--task", sums_file]
    result = json.loads(run(capsys, *command, "--sizes", 60, "--json", "--html", tmp_path / "b.html"))
    (found,) = result["bounds"]
    assert (found["candidate"], found["examples"], result["decay"]) == ("gpt", 60, None)
    assert found["bound"] > found["test_loss"] > 0
    assert {layer["layer"] for layer in found["layers"]} == {
        "outside the blocks",
        "transformer.h.0",
        "transformer.h.1",
    }
    page = (tmp_path / "b.html").read_text()
    assert page.count("plotly-graph-div") >= 2
    assert 'src="http' not in page


def test_bound_of_an_adapter(capsys, model_folders, sums_file, tuned):
    command = ["bound", "--model", model_folders["gpt"], "--task", sums_file, "--method"]
    (found,) = json.loads(run(capsys, *command, "lora", "--lora-r", 2, "--sizes", 20, "--json"))["bounds"]
    assert found["candidate"] == "gpt lora r2"
    assert found["bound"] > found["test_loss"] > 0
    layers = {layer["layer"]: layer["parameters"] for layer in found["layers"]}
    assert set(layers) == {"transformer.h.0", "transformer.h.1"}
    full = 12 * 16 * 16
    assert all(0 < count < full for count in layers.values())
    assert "weights in 4 bits have no second derivative" in refused(capsys, *command, "qlora", "--sizes", 20)
    assert "tuned in full: leave --method lora out" in refused(capsys, *command[:1], tuned, *command[1:], "lora")


def test_bound_of_fine_tuned_sizes_joins_the_dynamics(capsys, model_folders, sums_file, tmp_path):
    (tmp_path / "curves.csv").write_text("candidate,examples,loss\ngpt,50,2.0\ngpt,100,1.9\n")
    command = ["bound", "--model", model_folders["gpt"], "--task", sums_file, "--sizes", 20, 40, 80]
    printed = run(capsys, *command, "--output-dir", tmp_path)
    assert "above the test loss in 3 of 3 runs" in printed
    assert "beta2 =" in printed
    assert "computable part" in printed
    assert "transformer.h.1" in printed
    shown = run(capsys, "dynamics", tmp_path, "--html", tmp_path / "d.html")
    assert "phase unknown: 2 sizes, 4 needed" in shown
    assert "bound of gpt" in (tmp_path / "d.html").read_text()


def test_dynamics_tells_the_phases(capsys, curves):
    result = json.loads(run(capsys, "dynamics", curves, "--json"))
    past, short = result["candidates"]
    assert (past["phase"], short["phase"]) == ("power", "unknown")
    assert 100 < past["by_law"]["size"] < 400
    assert past["by_bound"] is None
    printed = run(capsys, "dynamics", curves / "curves.csv")
    assert "short: phase unknown: 3 sizes, 4 needed" in printed
    assert "past:" not in printed


def test_bad_input_is_told_in_one_sentence(capsys, model_folders, sums_file, tuned, tmp_path):
    gpt = ["--model", model_folders["gpt"], "--task", sums_file]
    assert "give --sizes" in refused(capsys, "bound", *gpt)
    assert "zero-shot" in refused(capsys, "bound", model_folders["gpt"], *gpt)
    assert "same architecture" in refused(capsys, "bound", model_folders["llama"], *gpt)
    assert "one number of examples" in refused(capsys, "bound", tuned, *gpt, "--sizes", 20, 40)
    assert "size 9999 is outside" in refused(capsys, "bound", tuned, *gpt, "--sizes", 9999)
    assert "clipped at a number above 0" in refused(capsys, "bound", tuned, *gpt, "--clip", -1)
    assert "holds no curves.csv" in refused(capsys, "dynamics", tmp_path)
