"""The command line from the outside: what a user types, sees and gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from commands import refused, run

from lensllm import __version__
from lensllm.cli import interruptible, main, spread
from lensllm.probes.record import Probe
from lensllm.store import Store
from lensllm.tuning.run import Run

QUICK = ["--num-train-epochs", "1", "--max-test-examples", "10"]


@pytest.fixture(scope="module")
def selected(model_folders, sums_file, tmp_path_factory):
    """A finished selection: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("selected")
    models = [model_folders[name] for name in ("gpt", "llama", "t5")]
    command = ["select", sums_file, "--models", *models, "--sizes", 50, 100, "--output-dir", folder, *QUICK]
    done = subprocess.run(
        [sys.executable, "-m", "lensllm", *map(str, command)], capture_output=True, text=True, check=True
    )
    return folder, done.stdout, command


def test_select_writes_and_says_what_to_do(selected):
    folder, printed, _ = selected
    answer = json.loads((folder / "selection.json").read_text())
    assert answer["sentence"] in printed
    assert answer["best"] == answer["ranking"][0]["candidate"]
    assert {row["candidate"] for row in answer["ranking"]} > {"gpt", "llama", "t5"}
    assert sum("not fine-tuned" in row["candidate"] for row in answer["ranking"]) == 1
    assert sum(row["p_best"] for row in answer["ranking"]) == pytest.approx(1)
    assert answer["flops"] == pytest.approx(sum(row["flops"] for row in answer["ranking"]))
    assert answer["failures"] == []
    for row in answer["ranking"]:
        assert row["interval"][0] <= row["forecast"] <= row["interval"][1]
    curves = pd.read_csv(folder / "curves.csv")
    assert len(curves) == 9
    assert sorted(curves["examples"].unique()) == [0, 50, 100]


def test_the_report_is_one_file_that_needs_no_network(selected):
    folder, *_ = selected
    page = (folder / "report.html").read_text()
    assert json.loads((folder / "selection.json").read_text())["sentence"].split(":")[0] in page
    assert 'src="http' not in page
    assert "<link" not in page
    assert page.count("plotly-graph-div") >= 3


def test_the_same_command_repeats_nothing(selected, capsys):
    folder, _, command = selected
    before = Store(folder).records(Run)
    answer = json.loads(run(capsys, *command, "--json"))
    assert Store(folder).records(Run) == before
    assert answer == json.loads((folder / "selection.json").read_text())


def test_the_version_is_told(capsys):
    assert run(capsys, "--version") == f"lensllm {__version__}\n"


def test_runs_are_listed(selected, capsys):
    folder, *_ = selected
    assert run(capsys, "runs", folder).count("done") == 9
    rows = json.loads(run(capsys, "runs", folder, "--json"))
    assert {(row["candidate"], row["examples"]) for row in rows} == {
        (name, size) for name in ("gpt", "llama", "t5") for size in (0, 50, 100)
    }
    assert all(time.time() - 3600 < row["recorded"] < time.time() for row in rows)
    assert "key" not in run(capsys, "runs", folder).splitlines()[0]
    assert "holds no runs" in refused(capsys, "runs", folder.parent)


def test_runs_that_differ_in_settings_alone_are_told_apart(capsys, tmp_path):
    store = Store(tmp_path)
    for key, loss in (("0123456789", 1.5), ("abcdefghij", 1.25)):
        store.put(key, "sums", Run("gpt", 50, "done", loss))
    store.close()
    listed = run(capsys, "runs", tmp_path).splitlines()
    assert [line.split()[-1] for line in listed[:3]] == ["key", "01234567", "abcdefgh"]
    assert "other settings" in listed[3]


def test_a_kill_at_any_moment_loses_at_most_what_was_running(selected, model_folders, sums_file, tmp_path, capsys):
    folder, _, command = selected
    command = [str(tmp_path) if part == folder else str(part) for part in command]
    process = subprocess.Popen([sys.executable, "-m", "lensllm", *command], start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tmp_path / "runs.sqlite").exists() and len(Store(tmp_path).records(Run)) >= 4:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = Store(tmp_path).records(Run)
    assert len(kept) >= 4
    run(capsys, *command)
    resumed, uninterrupted = Store(tmp_path).records(Run), Store(folder).records(Run)
    assert [pair for pair in resumed if pair in kept] == kept

    def losses(pairs):
        return {(r.candidate, r.examples): (r.nats_per_byte, r.learning_rate, r.flops) for _, r in pairs}

    assert losses(resumed) == losses(uninterrupted)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_command_says_that_nothing_is_lost(ending, workers, model_folders, sums_file, tmp_path):
    command = ["select", sums_file, "--models", model_folders["gpt"], model_folders["llama"], "--sizes", 100]
    command += ["--num-train-epochs", 1000, "--workers", workers, "--output-dir", tmp_path]
    process = subprocess.Popen([sys.executable, "-m", "lensllm", *map(str, command)], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "runs.sqlite").exists() or not any(n for _, n in Store(tmp_path, readonly=True).running()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children()
    process.send_signal(ending)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + ending
    *before, last = told.splitlines()
    assert all(re.match(r"plan: |\d+ (s|min): ", line) for line in before)
    assert last == "lensllm: interrupted; finished runs are kept, the same command goes on from here"
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert [run.status for _, run in Store(tmp_path).records(Run)] == ["done"] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_lands_in_a_finalizer_is_not_lost(number):
    class Finalized:
        def __del__(self):
            signal.raise_signal(number)

    def work():
        del (made := [Finalized()])[0]
        assert not made
        time.sleep(10)

    with interruptible() as came, pytest.raises(KeyboardInterrupt):
        work()
    assert set(came) == {number}


def test_what_nobody_foresaw_is_one_sentence_too(monkeypatch, sums_file, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("lensllm.inputs.read_task", lambda *_, **__: 1 // 0)
    with pytest.raises(SystemExit) as end:
        main(["select", str(sums_file), "--models", "x"])
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("lensllm: this should not happen: ZeroDivisionError: integer division or modulo by zero (")
    assert "Traceback" in Path(told.split("report it with ")[1].strip()).read_text()


def test_a_damaged_candidate_is_named_and_the_others_go_on(model_folders, sums_file, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(model_folders["gpt"], tmp_path / "broken<b>")
    weights = load_file(broken / "model.safetensors")
    weights["transformer.wte.weight"][5:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    out = tmp_path / "out"
    models = [broken, model_folders["llama"]]
    printed = run(capsys, "select", sums_file, "--models", *models, "--sizes", 50, "--output-dir", out, *QUICK)
    assert "failed: broken<b> on 0 examples: broken<b> cannot be used: its logits are not finite" in printed
    answer = json.loads((out / "selection.json").read_text())
    assert answer["best"].startswith("llama")
    assert answer["failures"][0]["candidate"] == "broken<b>"
    page = (out / "report.html").read_text()
    assert "broken&lt;b&gt;" in page
    assert "broken<b>" not in page


def test_the_kernel_is_probed_charged_and_shown(model_folders, sums_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "lensllm.selectors.growing_slopes_kernel.STEEPEST", 9.0
    )  # these models learn too fast to be used
    models = [model_folders[name] for name in ("gpt", "t5")]
    rest = ["--models", *models, "--sizes", 50, "--output-dir", tmp_path, *QUICK]
    plain = json.loads(run(capsys, "select", sums_file, *rest, "--json"))
    assert [row["kernel"] for row in plain["ranking"]] == [None] * 3
    answer = json.loads(run(capsys, "select", sums_file, *rest, "--json", "--kernel"))
    probes = {probe.candidate: probe for _, probe in Store(tmp_path).records(Probe)}
    assert set(probes) == {"gpt", "t5"}
    assert answer["flops"] == pytest.approx(plain["flops"] + sum(probe.flops for probe in probes.values()))
    for row in answer["ranking"]:
        name = row["candidate"]
        assert row["kernel"] == (None if "not" in name else pytest.approx(probes[name].losses[-1]))
    before, after = ({r["candidate"]: r["forecast"] for r in a["ranking"]} for a in (plain, answer))
    assert before["gpt"] != after["gpt"]
    assert "kernel_32" in pd.read_csv(tmp_path / "curves.csv")
    assert "<th>kernel</th>" in (tmp_path / "report.html").read_text()
    assert "kernel" in run(capsys, "select", sums_file, *rest, "--kernel").splitlines()[1]


def test_probes_are_paid_from_the_budget(model_folders, sums_file, tmp_path, capsys):
    models = [model_folders[name] for name in ("gpt", "llama")]
    rest = ["--models", *models, "--output-dir", tmp_path, "--budget", 300, "--workers", 1, *QUICK]
    answer = json.loads(run(capsys, "select", sums_file, *rest, "--kernel", "--json"))
    assert all(row["kernel"] for row in answer["ranking"] if "not" not in row["candidate"])
    told = json.loads(run(capsys, "replay", tmp_path, "--json"))
    assert [name for kind, name, _ in told["decisions"][0]["records"] if kind == "probe"] == ["gpt", "llama"]
    assert told["decisions"][-1]["spent"] == pytest.approx(answer["flops"])
    assert "2 probes" in run(capsys, "replay", tmp_path)


def test_settings_come_from_yaml_and_flags_win(model_folders, sums_file, tmp_path, capsys):
    out = tmp_path / "out"
    settings = {"models": [str(model_folders["gpt"])], "sizes": [50], "num_train_epochs": 1, "max_test_examples": 20}
    (tmp_path / "config.yaml").write_text(json.dumps({**settings, "task": str(sums_file), "output_dir": "elsewhere"}))
    answer = json.loads(
        run(capsys, "select", tmp_path / "config.yaml", "--output-dir", out, "--max-test-examples", 10, "--json")
    )
    assert (out / "selection.json").exists()
    assert answer["best"].startswith("gpt")


def test_a_flag_takes_back_what_the_yaml_asks_for(model_folders, sums_file, tmp_path, capsys):
    settings = {"models": [str(model_folders["gpt"])], "sizes": [50], "kernel": True, "task": str(sums_file)}
    (tmp_path / "config.yaml").write_text(json.dumps({**settings, "output_dir": str(tmp_path / "out")}))
    answer = json.loads(run(capsys, "select", tmp_path / "config.yaml", "--no-kernel", *QUICK, "--json"))
    assert [row["kernel"] for row in answer["ranking"]] == [None, None]
    assert not list(Store(tmp_path / "out").records(Probe))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl", "--models", "MODEL"], "no such task file: nowhere.jsonl"),
        (["EMPTY", "--models", "MODEL"], "has no examples: it is empty"),
        (["TASK"], "no candidates: name at least one model with --models"),
        (["TASK", "--models", "nonsense"], "no model 'nonsense'"),
        (["FEW", "--models", "MODEL"], "fewer than the smallest rung of 50"),
        (["TASK", "--models", "MODEL", "--sizes", "50", "9999"], "size 9999 is outside 1 to 13"),
        (["TASK", "--models", "MODEL", "--budget", "-1"], "option 'budget': input should be greater than 0"),
        (["TASK", "--models", "MODEL", "--budget", "0.0001"], "examples the smallest that does is 0."),
        (["TASK", "--models", "MODEL", "--budget-flops", "1e6"], "a budget of 1e+06 FLOPs does not reach two sizes"),
        (["TASK", "--models", "MODEL", "--budget-hours", "1e-7"], "a budget of 1e-07 hours does not reach two sizes"),
        (
            ["TASK", "--models", "MODEL", "--budget", "0.1", "--budget-hours", "1"],
            "everything and 1 hours: give one",
        ),
        (["TASK", "--models", "MODEL", "--budget", "0.1", "--sizes", "50"], "sizes and budget exclude each other"),
        (["TASK", "nowhere.yaml"], "no such configuration file: nowhere.yaml"),
        (["TASK", "BAD.yaml"], "option 'modells': extra inputs are not permitted"),
        (["TASK", "TASK"], "expected one task and at most one YAML file"),
        (["LONG", "--models", "MODEL"], "and gpt has room for 62: shorten it"),
        (["TASK", "--models", "MODEL", "--output-dir", "TASK"], "cannot be used as a store"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, model_folders, sums_file, tmp_path, capsys):
    rows = sums_file.read_text().splitlines(keepends=True)
    (tmp_path / "few.jsonl").write_text("".join(rows[:40]))
    (tmp_path / "empty.jsonl").write_text("")
    long = [{"prompt": f"a {i}", "completion": "1 plus 2 is 3 " * 40} for i in range(80)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    (tmp_path / "bad.yaml").write_text("modells: [a]")
    places = {
        "MODEL": model_folders["gpt"],
        "TASK": sums_file,
        "EMPTY": tmp_path / "empty.jsonl",
        "FEW": tmp_path / "few.jsonl",
        "LONG": tmp_path / "long.jsonl",
        "BAD.yaml": tmp_path / "bad.yaml",
    }
    out = tmp_path / "out"
    arguments = [str(places.get(argument, argument)) for argument in arguments]
    if "--output-dir" not in arguments:
        arguments += ["--output-dir", str(out)]
    assert message in refused(capsys, "select", *arguments)
    assert not (out / "selection.json").exists()


def test_lists_take_all_that_follows():
    given = ["select", "task", "--models", "a", "b", "--sizes", "50", "100", "--json", "c.yaml"]
    expected = "select task --models a --models b --sizes 50 --sizes 100 --json c.yaml"
    assert spread(given) == expected.split()
    assert spread(["select", "--models", "a", "c.yaml"]) == ["select", "--models", "a", "c.yaml"]


def test_the_zoo_is_listed(capsys):
    listed = json.loads(run(capsys, "zoo", "list", "--json"))
    assert "define" in listed["tasks"]


def test_a_command_begins_without_torch():
    """Loading it takes longer than many commands do, so only what measures loads it."""
    code = "import sys, lensllm.cli; sys.exit(bool({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
