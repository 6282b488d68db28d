import gzip
import json

import pandas as pd
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from lensllm.errors import InputError
from lensllm.tasks import Example, Task, read_task
from lensllm.tasks.read import read_examples

ROWS = [{"prompt": f"question {i}?", "completion": f"answer {i}"} for i in range(100)]
EXPECTED = [Example(row["prompt"], row["completion"]) for row in ROWS]


def write(path, rows=ROWS):
    if path.name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.name.endswith(".jsonl.gz"):
        with gzip.open(path, "wt") as file:
            file.write("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif path.suffix == ".tsv":
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t")
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.parquet"])
def test_every_format_gives_the_same_examples(tmp_path, name):
    assert read_examples(write(tmp_path / name)) == EXPECTED


def test_plain_text_and_instructions(tmp_path):
    assert read_examples(write(tmp_path / "a.jsonl", [{"text": "once"}])) == [Example("", "once")]
    rows = [
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "Sing.", "input": "", "output": "la"},
    ]
    assert read_examples(write(tmp_path / "b.jsonl", rows)) == [Example("Add.\n1 2\n", "3"), Example("Sing.\n", "la")]


def test_numbers_are_text_and_empty_completions_are_left_out(tmp_path):
    rows = [{"prompt": "good film", "completion": 1}, {"prompt": "bad film", "completion": ""}]
    assert read_examples(write(tmp_path / "a.jsonl", rows)) == [Example("good film", "1")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "a.jsonl has no examples: it is empty"),
        ("a.csv", "", "a.csv has no examples: it is empty"),
        ("a.jsonl", '{"prompt": "a", "completion": null}\n', "every completion is empty"),
        ("a.jsonl", '{"prompt": "a", "completion": ["b"]}\n', "line 1: 'completion' must be text, got list"),
        ("a.jsonl", '{"puzzle": "a", "answer": "b"}\n', "has the columns 'puzzle', 'answer': expected messages"),
        ("a.csv", "x,y\n1,2\n", "has the columns 'x', 'y': expected messages"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "a"}]}\n', "line 1: there is no assistant turn"),
        ("a.jsonl", '{"Conversations": [{"from": "human"}]}\n', "line 1: there is no assistant turn"),
        ("a.jsonl", '{"prompt": "a"', "not valid JSON"),
        ("a.jsonl", "[1, 2]\n", "row 1 must be an object"),
        ("a.json", '{"prompt": "a"}', "must hold a list"),
        ("a.parquet", "no table", "cannot be read as .parquet"),
        ("a.xml", "<a/>", "unknown kind: expected one of .json"),
        ("a.jsonl", '{"prompt": "a", "completion": ""}\n', "every completion is empty"),
        ("a.jsonl.gz", "not zipped", "cannot be read as .jsonl"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_examples(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_missing_files_and_unknown_tasks():
    with pytest.raises(InputError, match=r"no such task file: nowhere/data.jsonl"):
        read_task("nowhere/data.jsonl")
    with pytest.raises(InputError, match="no task 'nonsense': give a file"):
        read_task("nonsense")


def test_splits_of_one_file(tmp_path):
    task = read_task(write(tmp_path / "a.jsonl"), eval_fraction=0.2)
    assert (task.name, len(task.train), len(task.validation), len(task.test)) == ("a", 72, 8, 20)
    assert sorted([*task.train, *task.validation, *task.test], key=EXPECTED.index) == EXPECTED
    assert task.fingerprint == read_task(tmp_path / "a.jsonl", eval_fraction=0.2).fingerprint
    assert task.fingerprint != read_task(tmp_path / "a.jsonl", eval_fraction=0.2, seed=1).fingerprint


def test_an_eval_file_is_the_test(tmp_path):
    task = read_task(write(tmp_path / "a.jsonl"), eval_file=write(tmp_path / "b.jsonl", ROWS[:3]))
    assert task.test == tuple(EXPECTED[:3])
    assert len(task.train) + len(task.validation) == 100


def test_a_folder_of_splits(tmp_path):
    for i, split in enumerate(("train", "validation", "test")):
        write(tmp_path / f"{split}.jsonl.gz", ROWS[i : i + 1])
    assert read_task(tmp_path) == Task(tmp_path.name, (EXPECTED[0],), (EXPECTED[1],), (EXPECTED[2],))
    (tmp_path / "test.jsonl.gz").unlink()
    with pytest.raises(InputError, match="has no test file"):
        read_task(tmp_path)


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=3)


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), WORDS), min_size=30, max_size=60))
def test_no_prompt_is_on_two_sides_unless_it_is_said(rows):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", [{"prompt": p, "completion": c} for p, c in rows])
        try:
            task = read_task(path, eval_fraction=0.2)
        except InputError:
            reject()
    if any("rows are held out" in note or "rows repeat" in note for note in task.notes):
        return
    sides = [{e.prompt for e in split} for split in (task.train, task.validation, task.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_subsets_are_nested(small, large, seed):
    task = Task("t", tuple(EXPECTED[:40]), (), ())
    small, large = sorted((small, large))
    assert task.subset(large, seed)[:small] == task.subset(small, seed)
    assert len(set(task.subset(large, seed))) == large


def test_subsets_are_bounded():
    with pytest.raises(ValueError, match="0 to 2, got 3"):
        Task("t", tuple(EXPECTED[:2]), (), ()).subset(3)
