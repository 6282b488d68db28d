"""`lensllm forecast`: measured losses in, table, JSON and picture out."""

import json

import numpy as np
import pytest

from lensllm.cli import main

TIDY = """candidate,examples,loss
a,0,5.5
a,100,4.0
a,200,3.7
a,400,3.4
b,0,6
b,100,4.4
b,200,3.9
b,400,3.3
<script>alert(1)</script>,100,4.4
<script>alert(1)</script>,200,4.2
untuned,0,5
"""


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["forecast", *map(str, arguments)])
    return stop.value.code


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(TIDY)
    return path


def test_table_ranks_by_forecast(csv, capsys):
    assert run(csv, "--target-size", "6400") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "loss at 6,400" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["b", "a", "<script>alert(1)</script>", "untuned", "untuned"]
    assert lines[4].startswith("untuned (not fine-tuned)")


def test_json_has_every_candidate(csv, capsys):
    assert run(csv, "--target-size", "6400", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["target_size"] == 6400
    rows = record["candidates"]
    assert sum(row["p_best"] for row in rows) == pytest.approx(1)
    assert all(row["low"] < row["forecast"] < row["high"] for row in rows[:3])
    assert (rows[3]["model"], rows[3]["method"], rows[3]["forecast"]) == ("untuned", "none", 5)
    assert rows[4]["forecast"] is None


def test_picture_is_one_offline_file_that_shows_names_as_text(csv, tmp_path):
    page = tmp_path / "forecast.html"
    assert run(csv, "--target-size", "6400", "--html", page) == 0
    text = page.read_text()
    assert "<script>alert(1)" not in text
    assert 'src="http' not in text


def test_wide_table_is_read(tmp_path, capsys):
    path = tmp_path / "wide.csv"
    path.write_text("candidate,100,200,400\na,4,3.5,3.0\nb,3.9,3.7,3.5\n")
    assert run(path, "--target-size", "800", "--json") == 0
    assert json.loads(capsys.readouterr().out)["candidates"][0]["candidate"] == "a"


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        (TIDY, "0", "target_size is 0.0"),
        ("candidate,examples,loss\na,100,high\n", "800", "expected a number"),
        ("candidate,examples,loss\na,0,3\n", "800", "nothing was measured after fine-tuning"),
        ("model\na\n", "800", "neither tidy"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, text, size, message):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    assert run(path, "--target-size", size) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_target_within_what_was_measured_is_read_off(csv, capsys):
    assert run(csv, "--target-size", "200", "--json") == 0
    rows = {row["candidate"]: row for row in json.loads(capsys.readouterr().out)["candidates"]}
    assert np.isclose(rows["a"]["forecast"], 3.7)
