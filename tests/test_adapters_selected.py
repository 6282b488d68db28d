"""`select` over LoRA and QLoRA, from the outside: what is measured once, what a kill leaves, models in 4 bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import run
from folders import quantise

from lensllm.search.replay import replay_folder
from lensllm.store import Store
from lensllm.tuning.run import Run

QUICK = ["--num-train-epochs", "1", "--max-test-examples", "10", "--workers", "1"]
METHODS = ["--methods", "lora", "qlora", "--lora-r", "4"]


def started(command, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lensllm", *map(str, command)], start_new_session=True, text=True, **options
    )


@pytest.fixture(scope="module")
def undisturbed(wide_model_folders, sums_file, tmp_path_factory):
    """A finished selection: its folder, its answer, what it said beside, and the command."""
    folder = tmp_path_factory.mktemp("undisturbed")
    models = ["--models", wide_model_folders["llama"]]
    command = ["select", sums_file, *models, "--sizes", 10, 20, *METHODS, *QUICK, "--json", "--output-dir", folder]
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder, json.loads(printed), said, command


def records(folder):
    return [one for _, one in Store(folder, readonly=True).records(Run)]


def test_the_base_in_four_bits_is_another_model_as_it_came(undisturbed):
    folder, answer, said, _ = undisturbed
    tuned = {"llama lora r4", "llama qlora r4"}
    rows = {row["candidate"]: row for row in answer["ranking"]}
    [untuned] = set(rows) - tuned
    assert untuned in ("llama (not fine-tuned)", "llama in NF4 (not fine-tuned)")
    assert (" in NF4" in untuned) == (rows[untuned]["model"] == "llama qlora r4")
    came = {one.candidate: one for one in records(folder) if one.examples == 0}
    assert all(one.flops > 0 for one in came.values())
    assert came["llama lora r4"].nats_per_byte != came["llama qlora r4"].nats_per_byte
    assert came["llama lora r4"].flops == pytest.approx(came["llama qlora r4"].flops, rel=0.02)
    lora, qlora = ({one.examples: one for one in records(folder) if one.candidate == name} for name in sorted(tuned))
    for size in (10, 20):
        assert qlora[size].flops == pytest.approx(lora[size].flops, rel=0.02)
        assert qlora[size].parameters == lora[size].parameters
        assert qlora[size].trained_parameters == lora[size].trained_parameters
    table = (folder / "curves.csv").read_text()
    assert ",llama,lora" in table
    assert ",llama in NF4,qlora" in table
    assert "Failed to load" not in said


def test_a_kill_loses_at_most_what_was_running(undisturbed, tmp_path, capsys):
    folder, _, _, command = undisturbed
    command = [tmp_path if part == folder else part for part in command]
    process = started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (tmp_path / "runs.sqlite").exists() and len(records(tmp_path)) >= 3:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = records(tmp_path)
    assert 3 <= len(kept) < len(records(folder))
    run(capsys, *command)

    def results(found):
        return {(one.candidate, one.examples): (one.nats_per_byte, one.learning_rate, one.flops) for one in found}

    assert [one for one in records(tmp_path) if one in kept] == kept
    assert results(records(tmp_path)) == results(records(folder))


def test_a_search_within_a_budget_is_replayed(wide_model_folders, sums_file, tmp_path, capsys):
    command = ["select", sums_file, "--models", wide_model_folders["llama"], "--budget", 90, "--kernel"]
    found = json.loads(run(capsys, *command, *METHODS, *QUICK, "--json", "--output-dir", tmp_path))
    assert len(found["ranking"]) == 3
    assert len({row["kernel"] for row in found["ranking"] if row["method"] != "none"}) == 2
    replayed = replay_folder(tmp_path)
    assert replayed
    assert all(one.agrees for one in replayed)


def test_a_model_that_comes_in_four_bits_beside_the_model_before(wide_model_folders, sums_file, tmp_path, capsys):
    packed = quantise(shutil.copytree(wide_model_folders["llama"], tmp_path / "packed"))
    command = ["select", sums_file, "--models", packed, wide_model_folders["llama"], "--sizes", 10, "--kernel", *QUICK]
    printed = run(capsys, *command, "--output-dir", tmp_path / "one")
    assert (
        "packed comes in 4 bits and is tuned by QLoRA (r 16, alpha 32, all linear layers) over it as it is" in printed
    )
    found = json.loads(run(capsys, *command, "--methods", "full", "lora", "--json", "--output-dir", tmp_path / "two"))
    assert {row["candidate"] for row in found["ranking"]} > {"packed qlora r16", "llama full", "llama lora r16"}
    [refused] = found["refused"]
    assert refused["model"] == "packed full"
    assert "weights in 4 bits cannot be trained" in refused["reason"]
