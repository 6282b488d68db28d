"""`select` on models x methods, from the outside."""

from __future__ import annotations

import json

import pytest
from commands import refused, run

from lensllm.probes.record import Probe
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
    full, lora = found["costs"]["gpt full"], found["costs"]["gpt lora r4"]
    assert full["serving_memory"] == lora["serving_memory"] == 4 * full["parameters"]
    assert full["training_memory"] == 16 * full["trained_parameters"] == 4 * full["serving_memory"]
    assert lora["training_memory"] == lora["serving_memory"] + 16 * lora["trained_parameters"]
    assert full["served_parameters"] == lora["served_parameters"] == full["parameters"]
    assert names["gpt lora r4"]["trained_parameters"] == lora["trained_parameters"] < full["trained_parameters"]
    assert names[untuned]["trained_parameters"] == 0
    planned = run(capsys, "plan", tmp_path / "out", "--gain", 0.05)
    assert "memory in training" in planned
    assert f"{lora['trained_parameters']:,}" in planned
    assert "bytes" in (tmp_path / "out" / "report.html").read_text()
    table = (tmp_path / "out" / "curves.csv").read_text()
    assert table.splitlines()[0] == "candidate,examples,loss,standard_error,size,family,model,method"
    again = json.loads(run(capsys, *command, "--sizes", 10, 20, "--methods", "lora", "full", "--lora-r", 4))
    assert [row["candidate"] for row in again["ranking"]] == [row["candidate"] for row in found["ranking"]]


@pytest.mark.parametrize("budget", [("--budget", 0.9), ("--budget-hours", 0.05), ("--budget", 180, "--kernel")])
def test_a_search_within_a_budget_goes_over_methods_and_is_replayed(command, tmp_path, capsys, budget):
    methods = ["--methods", "full", "lora"]
    found = json.loads(run(capsys, *command, *budget, *methods))
    assert len(found["ranking"]) == 5
    probes = [probe for _, probe in Store(tmp_path / "out", readonly=True).records(Probe)]
    assert {probe.candidate for probe in probes if probe.flops} == (
        set(names(found)) if "--kernel" in budget else set()
    )
    replayed = replay_folder(tmp_path / "out")
    assert replayed
    assert all(one.agrees for one in replayed)
    again = json.loads(run(capsys, *command, *budget, *methods))
    assert again["ranking"] == found["ranking"]


def names(found):
    return [row["candidate"] for row in found["ranking"] if row["method"] != "none"]


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


def test_candidates_have_settings_of_their_own(model_folders, sums_file, tmp_path, capsys):
    gpt, llama = model_folders["gpt"], model_folders["llama"]
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"""
models: [{gpt}]
methods: [full]
lora_alpha: 8
candidates:
  - {{model: {gpt}, method: lora, lora_r: 2}}
  - {{model: {gpt}, method: lora, lora_r: 4, lora_target_modules: [c_attn]}}
  - {{model: {llama}, lora_r: 2, use_rslora: true}}
  - {{model: {llama}, method: lora, lora_target_modules: [c_attn]}}
sizes: [10]
num_train_epochs: 1
max_test_examples: 10
workers: 1
output_dir: {tmp_path / "out"}
"""
    )
    found = json.loads(run(capsys, "select", sums_file, file, "--json"))
    names = {row["candidate"] for row in found["ranking"] if "not fine-tuned" not in row["candidate"]}
    assert names == {
        "gpt full",
        "gpt lora r2 alpha 8",
        "gpt lora r4",
        "llama lora r2 alpha 8 rslora",
    }
    assert [one["model"] for one in found["refused"]] == ["llama lora r16"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{model: gpt, lora_rank: 4}", "option 'candidates.0.lora_rank': extra inputs are not permitted"),
        (
            "{model: gpt, method: full, lora_r: 4}",
            "candidate gpt: lora_r is a setting of lora, and it is tuned in full",
        ),
        ("{model: gpt, lora_r: 0}", "option 'candidates.0.lora_r'"),
        ("{method: lora}", "option 'candidates.0.model': field required"),
        ("gpt", "option 'candidates.0'"),
    ],
)
def test_a_candidate_that_cannot_be_read_is_one_sentence(entry, said, sums_file, tmp_path, capsys):
    file = tmp_path / "settings.yaml"
    file.write_text(f"candidates: [{entry}]\noutput_dir: {tmp_path / 'out'}\n")
    assert said in refused(capsys, "select", sums_file, file)


def test_an_optimizer_that_is_not_to_be_had_is_refused_before_anything_is_read(command, capsys, monkeypatch):
    from lensllm.tuning import optimizers

    monkeypatch.setattr(optimizers.importlib.util, "find_spec", lambda name: None)
    assert 'is missing: pip install "lensllm[quantized]"' in refused(capsys, *command, "--optim", "adamw_8bit")
    monkeypatch.setattr(optimizers.importlib.util, "find_spec", lambda name: object())
    assert "works on a GPU (cuda or xpu)" in refused(capsys, *command, "--optim", "paged_adamw_8bit")


def test_every_flag_of_training_reaches_it(command, tmp_path, capsys):
    flags = ["--learning-rate", 0.01, "--lr-scheduler-type", "cosine", "--warmup-ratio", 0, "--weight-decay", 0.1]
    flags += ["--max-grad-norm", 2, "--optim", "adafactor", "--gradient-accumulation-steps", 2, "--dtype", "bfloat16"]
    run(capsys, *command, "--sizes", 20, *flags, "--gradient-checkpointing", "on")
    runs = [run for _, run in Store(tmp_path / "out", readonly=True).records(Run) if run.examples]
    assert {(run.learning_rate, run.status) for run in runs} == {(0.01, "done")}
