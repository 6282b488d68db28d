"""`lensllm check` from the outside: what fits, what it costs, what is an estimate."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from commands import refused, run

import lensllm
from lensllm.cli import main
from lensllm.planning import selection_plan
from lensllm.tuning import device_memory


@pytest.fixture
def command(model_folders, sums_file, tmp_path):
    models = ["--models", model_folders["gpt"], model_folders["t5"]]
    return ["check", sums_file, *models, "--output-dir", tmp_path / "out"]


def test_every_candidate_has_sizes_hours_and_a_price(command, capsys):
    told = json.loads(run(capsys, *command, "--methods", "full", "lora", "--price-per-hour", 2, "--json"))
    plans = {one["candidate"]: one for one in told["candidates"]}
    assert set(plans) == {"gpt full", "gpt lora r16", "t5 full", "t5 lora r16"}
    for one in plans.values():
        memory = one["memory"]
        assert memory["fits"]
        assert memory["micro_batch"] == 8
        assert memory["activations_checkpointed"] < memory["activations"]
        assert memory["peak"] == max(memory["training"], memory["evaluation"]) > memory["weights"] > 0
        assert one["price"] == pytest.approx(2 * one["hours"])
        assert one["download_bytes"] == 0
    assert plans["gpt lora r16"]["memory"]["optimizer"] < plans["gpt full"]["memory"]["optimizer"]
    assert told["select_hours"] > 0
    assert told["everything_price"] == pytest.approx(2 * told["everything_hours"])


def test_the_table_says_what_is_an_estimate(command, capsys):
    printed = run(capsys, *command, "--models", "nonsense")
    assert "bytes and hours are estimates" in printed
    assert "refused: no model 'nonsense'" in printed
    assert "Hours from the speed of a bare product" in printed
    assert "Device: cpu, " in printed


def test_no_weight_is_read(command, capsys, monkeypatch):
    def unread(*_, **__):
        raise AssertionError("weights are read")

    monkeypatch.setattr("lensllm.candidates.load.load_model", unread)
    monkeypatch.setattr("lensllm.candidates.load._from_files", unread)
    run(capsys, *command)


def small_machine(monkeypatch, free):
    real = device_memory.device_memory
    monkeypatch.setattr(device_memory, "device_memory", lambda: replace(real(), free=free, process=0))


def test_a_machine_too_small_for_all_is_told_with_the_sizes(command, capsys, monkeypatch, tmp_path):
    small_machine(monkeypatch, 1000)
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in command])
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.err.startswith("lensllm: no candidate fits cpu, of which 0.0 MiB are free: gpt ")
    assert "does not fit" in printed.out
    said = refused(capsys, "select", *command[1:], "--sizes", 10)
    assert said.startswith("lensllm: no candidate fits cpu")
    assert not (tmp_path / "out" / "runs.sqlite").exists()


def test_one_that_cannot_fit_is_refused_by_name_and_the_others_go_on(model_folders, sums_file, monkeypatch, tmp_path):
    models = [str(model_folders[name]) for name in ("gpt", "llama")]
    few = {"sizes": [10], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1, "output_dir": str(tmp_path)}
    small_machine(monkeypatch, 1)
    needs = {one.candidate: one.memory.peak for one in lensllm.check(sums_file, models, **few).candidates}
    small, large = sorted(needs, key=needs.__getitem__)
    small_machine(monkeypatch, (needs[small] + needs[large]) // 2)
    found = lensllm.select(sums_file, models, **few)
    assert [row.candidate for row in found.ranking if "not" not in row.candidate] == [small]
    [one] = found.refused
    assert one.reason.startswith(f"{large} needs about ")


def test_fewer_workers_where_all_do_not_fit_at_once(model_folders, sums_file, monkeypatch):
    models = [str(model_folders[name]) for name in ("gpt", "llama")]
    monkeypatch.setattr(selection_plan, "default_workers", lambda gpus: 2)
    peak = max(one.memory.peak for one in lensllm.check(sums_file, models).candidates)
    small_machine(monkeypatch, round(1.5 * peak))
    assert lensllm.check(sums_file, models).workers == 1
    assert lensllm.check(sums_file, models, workers=2).workers == 2


def test_runs_that_were_measured_tell_the_speed(command, capsys, tmp_path):
    quick = ["--sizes", 10, "--num-train-epochs", 1, "--max-test-examples", 10, "--workers", 1]
    run(capsys, "select", *command[1:], *quick)
    told = json.loads(run(capsys, *command, *quick, "--json"))
    assert [one["measured_runs"] for one in told["candidates"]] == [1, 1]
    assert not any(said.startswith("Hours from the speed") for said in told["sentences"])


def test_bad_prices_are_one_sentence(command, capsys):
    said = refused(capsys, *command, "--price-per-hour", "-1")
    assert "option 'price_per_hour': input should be greater than or equal to 0" in said


def test_one_that_cannot_be_planned_leaves_the_others(command, capsys, monkeypatch):
    real = selection_plan.plan_candidate

    def odd(one, *given, **more):
        if one.name == "gpt":
            raise RuntimeError("odd model")
        return real(one, *given, **more)

    monkeypatch.setattr(selection_plan, "plan_candidate", odd)
    told = json.loads(run(capsys, *command, "--json"))
    assert [one["candidate"] for one in told["candidates"]] == ["t5"]
    assert told["refused"] == [{"model": "gpt", "reason": "gpt cannot be planned: odd model"}]
