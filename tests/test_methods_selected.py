"""`select` on models x methods, from the outside."""

from __future__ import annotations

import json

import pytest
from commands import refused, run

from lensllm.search.replay import replay_folder
from lensllm.store import Store
from lensllm.tuning.run import Run


@pytest.fixture
def command(model_folders, sums_file, tmp_path):
    models = ["--models", model_folders["gpt"], model_folders["llama"]]
    quick = ["--num-train-epochs", 1, "--max-test-examples", 10, "--workers", 1, "--output-dir", tmp_path / "out"]
    return ["select", sums_file, *models, *quick, "--json"]


def test_a_model_is_measured_as_it_came_once_and_tuned_in_every_way(command, tmp_path, capsys):
    found = json.loads(run(capsys, *command, "--sizes", 10, 20, "--methods", "full", "lora", "--lora-r", 4))
    names = {row["candidate"]: row for row in found["ranking"]}
    tuned = {"gpt full", "gpt lora r4", "llama full", "llama lora r4"}
    assert tuned < set(names)
    [untuned] = set(names) - tuned
    assert untuned in ("gpt (not fine-tuned)", "llama (not fine-tuned)")
    assert {name: names[name]["method"] for name in tuned} == {name: name.split()[1] for name in tuned}
    runs = [run for _, run in Store(tmp_path / "out", readonly=True).records(Run)]
    as_it_came = [run for run in runs if run.examples == 0]
    assert len(as_it_came) == 4
    assert sum(run.flops > 0 for run in as_it_came) == 2
    for model in ("gpt", "llama"):
        assert len({run.nats_per_byte for run in as_it_came if run.candidate.startswith(model)}) == 1
    cost = {run.candidate: run.flops for run in runs if run.examples == 10}
    assert all(cost[f"{model} lora r4"] < cost[f"{model} full"] for model in ("gpt", "llama"))
    table = (tmp_path / "out" / "curves.csv").read_text()
    assert table.splitlines()[0] == "candidate,examples,loss,standard_error,size,family,model,method"
    again = json.loads(run(capsys, *command, "--sizes", 10, 20, "--methods", "lora", "full", "--lora-r", 4))
    assert [row["candidate"] for row in again["ranking"]] == [row["candidate"] for row in found["ranking"]]


@pytest.mark.parametrize("budget", [("--budget", 0.9), ("--budget-hours", 0.05), ("--budget", 90, "--kernel")])
def test_a_search_within_a_budget_goes_over_methods_and_is_replayed(command, tmp_path, capsys, budget):
    methods = ["--methods", "full", "lora"]
    found = json.loads(run(capsys, *command, *budget, *methods))
    assert len(found["ranking"]) == 5
    replayed = replay_folder(tmp_path / "out")
    assert replayed
    assert all(one.agrees for one in replayed)
    again = json.loads(run(capsys, *command, *budget, *methods))
    assert again["ranking"] == found["ranking"]


def test_a_method_that_one_model_cannot_take_leaves_the_others(command, capsys):
    options = ["--sizes", 10, "--methods", "full", "lora", "--lora-target-modules", "q_proj"]
    found = json.loads(run(capsys, *command, *options))
    assert {row["candidate"] for row in found["ranking"]} > {"gpt full", "llama full", "llama lora r16"}
    [one] = found["refused"]
    assert one["model"] == "gpt lora r16"
    assert "it has no layers that LoRA can be put into (q_proj)" in one["reason"]


def test_bad_settings_are_one_sentence(command, capsys):
    assert "option 'methods.0'" in refused(capsys, *command, "--methods", "ia3")
    assert "option 'lora_r'" in refused(capsys, *command, "--methods", "lora", "--lora-r", "0")
