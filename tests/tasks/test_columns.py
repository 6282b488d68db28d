"""Layouts of columns: nothing that may be meant is passed over in silence."""

import json

import pytest

from lensllm.errors import InputError
from lensllm.tasks import Example, read_task
from lensllm.tasks.columns import ColumnNames
from lensllm.tasks.examples import Reading, read_examples, read_part


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(count=60, **more):
    return [{"prompt": f"q {i}", "completion": f"a {i}", **more} for i in range(count)]


@pytest.mark.parametrize("nothing", ["", "  ", None, float("nan"), "missing"])
def test_nothing_to_learn_is_left_out_and_counted(tmp_path, nothing):
    last = {"prompt": "q"} if nothing == "missing" else {"prompt": "q", "completion": nothing}
    part = read_part([lines(tmp_path / "a.jsonl", *pairs(3), last)])
    assert len(part.examples) == 3
    assert part.notes == ("a.jsonl: 1 of 4 rows has nothing to learn and is left out (line 4)",)


def test_nothing_to_learn_in_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion\nq,a\nr,\ns\n")
    part = read_part([tmp_path / "a.csv"])
    assert part.examples == [Example("q", "a")]
    assert part.notes == ("a.csv: 2 of 3 rows have nothing to learn and are left out (row 3, 4)",)


def test_rows_without_a_prompt_are_said(tmp_path):
    part = read_part([lines(tmp_path / "a.jsonl", *pairs(3), {"completion": "a"}, {"prompt": None, "completion": "b"})])
    assert part.examples[3:] == [Example("", "a"), Example("", "b")]
    assert part.notes == ("a.jsonl: 2 of 5 rows without a prompt, learned as plain text",)


def test_text_and_label_is_classification(tmp_path):
    rows = [{"text": f"film {i}", "label": i % 2} for i in range(60)]
    task = read_task(lines(tmp_path / "a.jsonl", *rows))
    assert {e.completion for e in task.train} == {"0", "1"}
    assert all(e.prompt.startswith("film") and e.prompt.endswith("\n") for e in task.train)
    assert any("the label the completion (2 labels: 0, 1)" in note for note in task.notes)


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({"text": "t", "labels": 1}, "labels"),
        ({"text": "t", "sentiment": "good"}, "sentiment"),
        ({"text": "t", "target": "x"}, "target"),
        ({"prompt": "p", "completion": "c", "weight": 0.5}, "weight"),
        ({"prompt": "p", "completion": "c", "text": "t"}, "text"),
        ({"prompt": "p", "completion": "c", "history": [["q", "a"]]}, "history"),
        ({"instruction": "i", "output": "o", "text": "t"}, "text"),
        ({"text": "t", "label": 1, "split": "test"}, "split"),
    ],
)
def test_a_column_that_would_not_be_read_ends_the_command(tmp_path, row, unread):
    with pytest.raises(
        InputError, match=rf"without the column '{unread}' \(from line 1 on\).*--messages-column, --prompt-column"
    ):
        read_examples(lines(tmp_path / "a.jsonl", row))


def test_where_a_row_comes_from_is_not_read_and_said(tmp_path):
    part = read_part([lines(tmp_path / "a.jsonl", *pairs(3, id=1, source="web", page_url="x", empty=None, none=[]))])
    assert part.examples == [Example(f"q {i}", f"a {i}") for i in range(3)]
    assert part.notes == ("a.jsonl: not read: id, source, page_url",)


def test_columns_are_named(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"Review": "fine", "stars": 4, "weight": 1})
    named = read_part([path], Reading(ColumnNames(prompt="review", completion="stars")))
    assert named.examples == [Example("fine", "4")]
    assert named.notes == ("a.jsonl: not read: weight",)
    assert read_examples(path, ColumnNames(text="Review")) == [Example("", "fine")]
    for wanted, message in (
        ({"prompt": "nope", "completion": "stars"}, "has no column 'nope': it has 'Review', 'stars', 'weight'"),
        ({"prompt": "Review"}, "has no column 'completion'"),
        ({"prompt": "stars", "completion": "stars"}, "cannot be both"),
        ({"prompt": "stars", "text": "Review"}, "exclude each other"),
    ):
        with pytest.raises(InputError, match=message):
            read_examples(path, ColumnNames(**wanted))
