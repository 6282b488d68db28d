"""What stands on a terminal, or in a log, beside the results."""

import json
import re

import pytest
from commands import refused, run

from lensllm import progress
from lensllm.cli import main
from lensllm.cli.select import show
from lensllm.curves import Curves
from lensllm.planning import plan_sizes
from lensllm.selection import Selection, rank
from lensllm.selectors import GrowingSlopes


def test_without_a_command_it_says_how_to_begin(capsys):
    said = run(capsys)
    assert len(re.findall(r"^    lensllm \w+", said, re.MULTILINE)) == 3
    assert "Usage" in said


@pytest.mark.parametrize("command", ["select", "check", "find", "kernel", "bound"])
def test_options_stand_in_groups_and_every_default_is_said(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = run(capsys, command, "--help")
    assert "─ Data ─" in said
    assert re.search(r"--eval-fraction .*\[default: 0.1\]", said)
    if command in ("select", "check"):
        groups = re.findall(r"╭─ ([A-Z]\w+)", said)
        assert groups[-7:] == ["Candidates", "Search", "Scores", "Training", "Machine", "LoRA", "Data"]


def test_a_model_and_a_budget_as_people_write_them(capsys, model_folders, sums_file, tmp_path):
    quick = ["--num-train-epochs", 1, "--max-test-examples", 10, "--workers", 1, "--output-dir", tmp_path]
    command = ("select", sums_file, "--model", model_folders["gpt"], "--budget")
    told = json.loads(run(capsys, *command, "90%", "--json", *quick))
    assert 0.1 < told["flops_fraction"] <= 0.9
    assert "option 'budget': input should be a valid number" in refused(capsys, *command, "ten%")
    assert "option 'budget': input should be greater than 0" in refused(capsys, *command, "0%")


def test_a_dry_run_says_what_check_says_and_runs_nothing(capsys, model_folders, sums_file, tmp_path):
    free = re.compile(r"[\d.]+ GiB free")
    settings = [sums_file, "--models", model_folders["gpt"], "--output-dir", tmp_path / "out"]
    said, same = run(capsys, "select", *settings, "--dry-run"), run(capsys, "check", *settings)
    assert free.sub("", said) == free.sub("", same)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell, capsys):
    assert "_LENSLLM_COMPLETE" in run(capsys, "--show-completion", shell)


def test_where_there_is_no_terminal_lines_say_how_far_it_is(capsys, model_folders, sums_file, tmp_path, monkeypatch):
    for name, seconds in {"FIRST": 0.02, "OFTEN": 0.0, "SELDOM": 0.05}.items():
        monkeypatch.setattr(progress, name, seconds)
    models = [model_folders["gpt"], model_folders["llama"]]
    quick = ["--sizes", 25, 50, "--num-train-epochs", 1, "--max-test-examples", 10, "--workers", 1]
    with pytest.raises(SystemExit):
        main([str(one) for one in ("select", sums_file, "--models", *models, *quick, "--output-dir", tmp_path)])
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if re.match(r"\d+ s: ", line)]
    assert told[0].endswith("s: reading models and data")
    ended = r"\d+ s: 3 of 6, gpt on 25 examples: \d\.\d+ nats/byte; about \d+ s left for what is known of"
    assert [line for line in told if re.fullmatch(ended, line)]
    assert [line for line in told if re.match(r"\d+ s: \d of 6, \w+ on \d+ examples, for \d+ s so far", line)]


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output a terminal of so many columns."""

    def wide(columns):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))

    return wide


def table_of(printed, first):
    """The lines of the table whose head begins so."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", printed).splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith(first))
    end = next(k for k in range(begin, len(lines)) if lines[k].startswith(("What", "Device", "note", "Fine")))
    return lines[begin:end]


def test_the_plan_fits_a_terminal_of_80_columns_with_every_name_whole(capsys, sums_file, model_folders, terminal):
    models = [model_folders["gpt"], model_folders["llama"]]
    check = ["check", sums_file, "--models", *models, "--methods", "full", "lora", "--price-per-hour", 2]
    names = ["gpt full", "gpt lora r16", "llama full", "llama lora r16"]
    terminal(80)
    narrow = table_of(run(capsys, *check), "candidate")
    assert narrow[0].split() == ["candidate", "trained", "weights", "peak", "batch", "hours", "price"]
    assert [line[: len(name)] for line, name in zip(narrow[1:], names, strict=True)] == names
    assert max(map(len, narrow)) <= 80
    terminal(200)
    assert {"activations", "optimizer", "logits"} < set(table_of(run(capsys, *check), "candidate")[0].split())


def test_the_ranking_has_as_many_sizes_as_there_is_room_for(capsys, tmp_path, terminal):
    curves = Curves(
        ("small", "large"), [0, 50, 100, 200, 400], [[2.2, 1.6, 1.5, 1.41, 1.33], [2.4, 1.8, 1.65, 1.49, 1.35]]
    )
    ranking, forecast = rank(curves, GrowingSlopes().forecast(curves, 1600, plan_sizes(curves, 1600)), [])
    found = Selection("mine", 1600, ranking, curves, forecast, 2e11, 2e12, seconds=60, stopped="it is sure")
    for columns, sizes in ((80, [400]), (200, [0, 50, 100, 200, 400])):
        terminal(columns)
        show(found, False, tmp_path)
        table = table_of(capsys.readouterr().out, "candidate")
        assert [int(one) for one in re.findall(r"D=(\d+)", table[0])] == sizes
        assert max(map(len, table)) <= columns
