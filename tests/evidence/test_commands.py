"""`python -m evidence` from the outside: what it lists, where it writes, how it refuses."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from evidence.commands import app, main

ROOT = Path(__file__).parents[2]
SUBJECTS = list(typer.main.get_command(app).commands)
SCRIPTS = {
    "chats": ("against_trl",),
    "accuracy": ("published", "own"),
    "cost": ("cost", "probe_cost"),
    "kernel": ("kernel", "kernel_use", "kernel_noise"),
    "theory": ("bound", "quadrature", "phases"),
    "prior": ("prior_fit", "prior_pools", "forecasters"),
    "planning": ("plan", "one_pass", "one_pass_forms"),
    "speed": ("decision_time", "memory", "time_foretold", "trainer", "tuning_speed"),
    "execution": ("execution",),
    "study": ("learning_rate", "lora_rate", "demo_truth"),
    "scores": ("scores", "score_search"),
    "watching": ("in_run",),
}


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code, capsys.readouterr()


def test_every_subject_is_listed_with_the_time_it_takes(capsys):
    code, printed = called(capsys)
    assert code == 0
    lines = [line for line in printed.out.splitlines() if (words := line.split()) and words[0] in SUBJECTS]
    assert [line.split()[0] for line in lines] == SUBJECTS
    assert all(re.search(r"\((?:seconds|\d+ (?:minutes?|hours)\b.*)\)\.$", line) for line in lines)
    assert called(capsys, "--help")[1].out == printed.out


def test_bad_input_is_one_sentence_and_exit_code_2(capsys):
    code, printed = called(capsys, "own", "--study", "nowhere.yaml")
    assert (code, printed.err) == (2, "evidence: no such study: nowhere.yaml\n")
    code, printed = called(capsys, "kernel", "colour")
    assert code == 2
    assert printed.err.startswith("evidence: no part 'colour': choose among scalar, token")


def test_the_shipped_truth_is_what_the_study_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert called(capsys, "demo-truth", "--json", str(tmp_path / "truth.json"))[0] == 0
    made, shipped = tmp_path / "truth.json", ROOT / "src" / "lensllm" / "demo_truth.json"
    assert json.loads(made.read_text()) == json.loads(shipped.read_text())


@pytest.mark.parametrize(("folder", "name"), [(f, name) for f, names in SCRIPTS.items() for name in names])
def test_results_lie_beside_their_scripts(folder, name):
    script = import_module(f"evidence.{folder}.{name}")
    assert callable(script.run)
    assert script.RESULT.is_file()
    if name != "demo_truth":
        assert ROOT / "evidence" / folder / f"{name}.json" == script.RESULT
    assert name.replace("_", "-") in SUBJECTS
