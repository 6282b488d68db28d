"""Examples that are too long are left out for all candidates alike, with a word."""

import json
from dataclasses import replace

import pytest
from commands import run

from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.tasks import Example, Task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fit import fit_all
from lensllm.tuning.training_config import TrainingConfig

LONG = Example("1 plus 2 is", " 3, to be sure" * 40, "data.jsonl line", 7)


def example(i):
    return Example(f"{i} plus 2 is", f" {i + 2}, to be sure")


@pytest.fixture
def task():
    part = tuple(map(example, range(20)))
    return Task("t", (*part, LONG), part, (LONG, *part), ("said before",))


@pytest.fixture
def candidates(model_folders):
    return [find_candidate(str(model_folders[name])) for name in ("gpt", "llama")]


def test_what_does_not_fit_one_is_left_out_for_all(task, candidates):
    fitted = fit_all(task, candidates, TrainingConfig())[0]
    assert LONG not in (*fitted.train, *fitted.test)
    assert (len(fitted.train), len(fitted.validation), len(fitted.test)) == (20, 20, 20)
    assert fitted.notes[0] == "said before"
    assert "1 of 21 test examples has a completion longer than the 62 tokens that gpt has room for" in " ".join(
        fitted.notes
    )
    assert "data.jsonl line 7" in " ".join(fitted.notes)
    assert len(EncodedTask(candidates[0], fitted, TrainingConfig()).split("test")) == 20


def test_one_candidate_with_no_room_takes_nothing_from_the_others(task, candidates, tmp_path, model_folders):
    import shutil

    short = shutil.copytree(model_folders["gpt"], tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "n_positions": 4}))
    narrow = find_candidate(str(short))
    fitted = fit_all(task, [*candidates, narrow], TrainingConfig())[0]
    assert len(fitted.test) == 20
    with pytest.raises(InputError, match=r"short has room for 2: .*20 of 20 examples do not fit"):
        EncodedTask(narrow, fitted, TrainingConfig()).split("test")


def test_prompts_that_are_cut_are_counted(task, candidates):
    long = Example("plus " * 100, " 3, to be sure")
    fitted = fit_all(replace(task, test=(*task.test[1:], long)), candidates[:1], TrainingConfig())[0]
    assert "gpt reads 1 of 21 test prompts without their beginning" in fitted.notes


def test_a_test_example_is_never_left_out_for_one_alone(task, candidates):
    encoded = EncodedTask(candidates[0], task, TrainingConfig())
    with pytest.raises(InputError, match=r"test split: the completion of example 1 \(data.jsonl line 7"):
        encoded.split("test")


def test_notes_reach_the_answer_and_the_report(model_folders, tmp_path, capsys):
    rows = [{"prompt": e.prompt, "completion": e.completion} for e in map(example, range(120))]
    rows[40]["completion"], rows[50]["completion"] = LONG.completion, None
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--models", model_folders["gpt"], "--sizes", 20, "--num-train-epochs", 1, "--output-dir", out]
    printed = run(capsys, "select", data, *options, "--max-test-examples", 10)
    notes = json.loads((out / "selection.json").read_text())["notes"]
    assert any("left out for all candidates (data.jsonl line 41)" in note for note in notes)
    assert any("1 of 120 rows has nothing to learn and is left out (line 51)" in note for note in notes)
    page = (out / "report.html").read_text()
    for note in notes:
        assert f"note: {note}" in printed
        assert f"<li>{note}</li>" in page
