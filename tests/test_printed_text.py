"""Names from outside are printed as text, and files that cannot be written are told at once."""

import json

import numpy as np
import pytest
from commands import refused, run

from lensllm.curves import Curves
from lensllm.text import visible

LOSSES = (1.41, 1.30, 1.19, 1.10, 1.03)
NAMES = ["[/x]", "oak[bold]", "elm [v2]", ":smile:", "a\x1b[2J", "b\x1b]0;owned\x07", "c\nd", "e\u202ef"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "curves.csv"
    names = np.array(NAMES)
    losses = np.array([[loss + 0.05 * i for loss in LOSSES] for i in range(len(names))])
    Curves(tuple(names), np.array([50, 100, 200, 400, 800]), losses).write_csv(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("forecast", "--target-size", 6400),
        ("plan", "--target-size", 6400, "--gain", 0.05),
        ("dynamics",),
    ],
)
def test_names_are_printed_as_they_are(table, capsys, command):
    printed = run(capsys, command[0], table, *command[1:])
    for name in NAMES:
        assert visible(name) in printed
    assert "\x1b" not in printed
    assert "\u202e" not in printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]", "plain [b]"),
        ("é 漢 🙂", "é 漢 🙂"),
        ("\x1b[2J\n\t", "\\x1b[2J\\n\\t"),
        ("\u202e\u2028\ud800", "\\u202e\\u2028\\ud800"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert visible(text) == shown


def test_names_in_errors_are_visible(tmp_path, capsys):
    path = tmp_path / "curves.csv"
    path.write_text("candidate,50\na\x1b[2J,1\na\x1b[2J,2\n")
    assert "\x1b" not in refused(capsys, "forecast", path, "--target-size", 800)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+x", "-x", "@SUM(1)", "'=x", "''@x", "'plain", "plain"])
def test_a_name_is_no_formula_and_reads_back(tmp_path, name):
    path = tmp_path / "curves.csv"
    Curves((name, "b"), np.array([50, 100]), np.array([[2.0, 1.0], [2.0, 1.5]])).write_csv(path)
    assert not any(line.lstrip('"').startswith(("=", "+", "-", "@")) for line in path.read_text().splitlines())
    assert Curves.read_csv(path).candidates == (name, "b")


@pytest.mark.parametrize(
    "command", [("forecast", "--target-size", 800), ("plan", "--target-size", 800, "--gain", 0.05), ("dynamics",)]
)
def test_a_missing_folder_is_told_before_anything_is_computed(table, tmp_path, capsys, command):
    page = tmp_path / "nowhere" / "page.html"
    assert f"there is no folder {tmp_path / 'nowhere'}" in refused(
        capsys, command[0], table, *command[1:], "--html", page
    )
    assert "it is a folder" in refused(capsys, command[0], table, *command[1:], "--html", tmp_path)


def test_notes_are_printed_and_in_json(tmp_path, capsys):
    path = tmp_path / "curves.csv"
    rows = [
        f"{name},{size},{loss + 0.01 * seed},{seed}"
        for name in "ab"
        for seed in (0, 1)
        for size, loss in zip((50, 100, 200), LOSSES[:3], strict=True)
    ]
    path.write_text("\n".join(["candidate,examples,loss,seed", *rows]))
    said = "the mean is taken where a point was measured more than once, at 6 points"
    assert f"note: {said}" in run(capsys, "forecast", path, "--target-size", 800)
    for command in (("forecast", "--target-size", 800), ("plan", "--target-size", 800, "--gain", 0.01), ("dynamics",)):
        assert json.loads(run(capsys, command[0], path, *command[1:], "--json"))["notes"] == [said]


@pytest.mark.parametrize("value", ["nan", "inf", "1e+300"])
def test_a_target_is_a_number(table, capsys, value):
    assert f"--target-size is {value}" in refused(capsys, "forecast", table, "--target-size", value)
