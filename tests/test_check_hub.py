"""`lensllm check` on models of the hub: of weights the headers are fetched, and all that is wrong is said at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest
import torch
from folders import save, shard, weights
from local_hub import COMMIT, environment, local_hub
from model_hub import model_hub

FIRST = 100_001
"""Bytes that huggingface_hub asks for first, to have most headers whole."""


@pytest.fixture(scope="module")
def large(model_folders, tmp_path_factory):
    """A model whose weights are ten times as long as what is asked for first."""
    folder = shutil.copytree(model_folders["llama"], tmp_path_factory.mktemp("hub") / "large")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 20_000}))
    tensors = weights(folder)
    save(folder, {name: torch.zeros(20_000, 16) if "embed" in name else one for name, one in tensors.items()})
    assert (folder / "model.safetensors").stat().st_size > 10 * FIRST
    return folder


def checked(address, home, task, models, *options):
    command = [sys.executable, "-m", "lensllm", "check", str(task), "--models", *models, "--json", *options]
    env = environment(address, home)
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answer(large, model_folders, sums_file, tmp_path_factory):
    """What is said of nine models, and how much was given of their weights."""
    cut = shutil.copytree(large, tmp_path_factory.mktemp("hub") / "sharded")
    shard(cut)
    pickled = {name: (large / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    hub = model_hub(
        {
            "org/large": large,
            "small": model_folders["gpt"],
            "org/sharded": cut,
            "org/twin": large,
            "org/pickled": {**pickled, "pytorch_model.bin": b"\x80"},
            "org/code": {"modeling.py": b"raise SystemExit('this was run')", "config.json": b'{"model_type": "own"}'},
        }
    )
    home = tmp_path_factory.mktemp("home")
    models = ["org/large", "small", f"org/sharded@{COMMIT}", "org/twin", "org/large@v9"]
    models += [f"org/{name}" for name in ("pickled", "code", "gated", "none")]
    with local_hub(hub) as address:
        done = checked(address, home, sums_file, models)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), hub.given, large, home, address


def test_no_more_than_headers_are_fetched(answer):
    told, given, large, home, _ = answer
    assert given
    assert all(size <= FIRST for size in given)
    assert not list(home.rglob("*.safetensors"))
    plans = {one["candidate"]: one for one in told["candidates"]}
    assert set(plans) == {"org/large", "small", "org/sharded"}
    size = (large / "model.safetensors").stat().st_size
    assert plans["org/large"]["download_bytes"] == size
    assert plans["org/large"]["parameters"] == sum(one.numel() for one in weights(large).values())
    assert any(said.startswith("To download: ") for said in told["sentences"])


def test_what_cannot_be_had_is_said_of_all_at_once(answer):
    told, *_, address = answer
    reasons = {one["model"]: one["reason"] for one in told["refused"]}
    assert reasons.keys() == {f"org/{one}" for one in ("twin", "pickled", "code", "gated", "none", "large@v9")}
    assert "has the same files as org/large" in reasons["org/twin"]
    assert "only pickled weights" in reasons["org/pickled"]
    assert "it has no weights" in reasons["org/code"]
    assert f"org/gated is gated: ask for access at {address}/org/gated" in reasons["org/gated"]
    assert "the hub has no model 'org/none' that is open to you" in reasons["org/none"]
    assert "no revision 'v9'" in reasons["org/large@v9"]


@pytest.mark.parametrize("model", ["org/none", "gtp2"])
def test_without_a_hub_one_sentence_comes_soon(model, sums_file, tmp_path):
    started = time.monotonic()
    done = checked("", tmp_path, sums_file, [model])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"model '{model}' is not in the local cache and the hub cannot be reached" in done.stderr
    assert time.monotonic() - started < 60
