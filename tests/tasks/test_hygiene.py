"""Splits and what they have in common."""

import json

import numpy as np
import pytest

from lensllm.errors import InputError
from lensllm.tasks import Example, Task, read_task
from lensllm.tasks.hygiene import overlap
from lensllm.tasks.split import hold_out

LONG = " ".join(f"word{i}" for i in range(30))


def lines(path, examples):
    path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in examples))
    return path


def data(path, count=60):
    return lines(path, [(f"q {i}", f"a {i}") for i in range(count)])


@pytest.mark.parametrize("prompts", [1, 2, 3, 5])
def test_few_prompts_keep_the_sizes(tmp_path, prompts):
    task = read_task(lines(tmp_path / "a.jsonl", [(f"name {i % prompts}", f"boat {i}") for i in range(60)]))
    assert (len(task.train), len(task.validation), len(task.test)) == (51, 3, 6)
    assert any(f"{prompts} different prompt" in note and "rows are held out" in note for note in task.notes)


def test_one_large_prompt_stays_in_training():
    examples = [Example("common" if i < 40 else f"q {i}", f"a {i}") for i in range(100)]
    for seed in range(20):
        made = hold_out(examples, 10, np.random.default_rng(seed), "test")
        assert 10 <= len(made.held) <= 15
        assert not {e.prompt for e in made.held} & {e.prompt for e in made.rest}


def test_rows_that_are_all_alike_are_refused(tmp_path):
    with pytest.raises(InputError, match="training examples are test examples as well"):
        read_task(lines(tmp_path / "a.jsonl", [("q", "a")] * 60))


def test_the_training_file_as_test_file_is_refused(tmp_path):
    path = data(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="all 57 training examples are test examples as well"):
        read_task(path, eval_file=path)


def test_common_examples_are_counted_named_and_taken_out(tmp_path):
    path = data(tmp_path / "a.jsonl")
    eval_file = lines(
        tmp_path / "b.jsonl", [("q 1", "a 1"), ("Q  2", "a 2 "), ("new", "x"), *[(f"n {i}", "y") for i in range(9)]]
    )
    task = read_task(path, eval_file=eval_file)
    assert "1 of 12 test examples is also in the training part (b.jsonl line 1)" in task.notes
    assert "1 of 12 test examples is in the training part but for case and spaces (b.jsonl line 2)" in task.notes
    assert len(task.train) == 57
    cleaned = read_task(path, eval_file=eval_file, deduplicate=True)
    assert len(cleaned.train) == 55
    assert not {"q 1", "q 2"} & {e.prompt for e in cleaned.train}
    assert "2 training examples of these left out" in cleaned.notes
    assert cleaned.fingerprint != task.fingerprint


def test_a_test_file_within_the_training_file_is_a_warning(tmp_path):
    task = read_task(data(tmp_path / "a.jsonl"), eval_file=data(tmp_path / "b.jsonl", 20))
    assert any(note.startswith("WARNING: every test example is trained on") for note in task.notes)


@pytest.mark.parametrize("text", [LONG, "".join(chr(0x4E00 + i) for i in range(80))])
def test_long_runs_are_found(text):
    trained = [Example("", f"text {i} of its own, {i * 7}") for i in range(300)]
    trained[5] = Example("", "before " + text)
    found = overlap([Example("", text + " after"), Example("", "quite another " * 20)], trained)
    assert (found.exact, found.alike, found.runs, found.trained) == ((), (), (0,), frozenset({5}))


def test_an_instruction_that_all_share_is_no_leak():
    trained = [Example(f"{LONG} {i}", f"a {i}") for i in range(300)]
    assert not overlap([Example(f"{LONG} x", "a x")], trained).any


def test_notes_are_no_part_of_a_task():
    examples = (Example("a", "b", "f line", 3),)
    assert examples[0].place == "f line 3"
    one, other = (Task("t", examples, examples, examples, notes) for notes in ((), ("said",)))
    assert one == other
    assert one.fingerprint == other.fingerprint


def test_few_test_examples_are_said(tmp_path):
    task = read_task(data(tmp_path / "a.jsonl"), eval_file=lines(tmp_path / "b.jsonl", [("new", "x")]))
    assert any(note.startswith("the test has 1 example: with fewer than 10") for note in task.notes)
