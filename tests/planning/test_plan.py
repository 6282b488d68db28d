import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import lensllm
from lensllm.cli import main
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.planning import Cost, plan
from lensllm.planning.plan import ANY, rounded

SIZES = np.array([0.0, 50, 100, 200, 400])
LOSSES = np.array([[2.5, 1.6, 1.5, 1.41, 1.33], [2.4, 1.8, 1.74, 1.68, 1.63], [2.0, 1.9, 1.899, 1.898, 1.897]])
CURVES = Curves(("<b>a</b>", "b", "flat"), SIZES, LOSSES)
COSTS = {name: Cost(1e12 * (k + 1), 1000 * (k + 1), 2e3, 1e3 * (k + 1)) for k, name in enumerate(CURVES.candidates)}
CSV = "candidate,50,100,200,400\na,1.6,1.5,1.41,1.33\nb,1.8,1.74,1.68,1.63\n"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["plan", *map(str, arguments)])
    out = capsys.readouterr()
    return stop.value.code, out.out, out.err


@pytest.fixture
def folder(tmp_path):
    CURVES.write_csv(tmp_path / "curves.csv")
    record = {"target_size": 3200, "unit": "nats", "costs": {name: vars(cost) for name, cost in COSTS.items()}}
    (tmp_path / "selection.json").write_text(json.dumps(record))
    return tmp_path


def test_lower_losses_need_more_and_may_never_be_reached():
    needs = [plan(CURVES, 3200, target_loss=loss).needs[0] for loss in (1.3, 1.1, 0.9)]
    assert needs[0].examples < needs[1].examples < needs[2].examples
    assert needs[0].p_never < needs[2].p_never
    assert all(need.interval[0] <= need.examples <= need.interval[1] for need in needs)


def test_any_of_them_needs_no_more_than_the_best():
    made = plan(CURVES, 3200, target_loss=1.2)
    assert [need.candidate for need in made.needs] == ["<b>a</b>", "b", "flat", ANY]
    assert made.needs[-1].examples <= min(need.examples for need in made.needs[:-1])
    assert made.needs[-1].p_never <= min(need.p_never for need in made.needs[:-1])


def test_a_gain_is_below_what_the_best_would_reach_in_the_same_sample():
    by_gain = plan(CURVES, 3200, gain=0.05)
    by_loss = plan(CURVES, 3200, target_loss=by_gain.target_loss)
    now = by_gain.doublings[0].loss
    assert by_gain.target_loss == pytest.approx(0.95 * now)
    assert by_gain.needs[0].interval[0] > 3200
    assert by_gain.needs[0].interval[0] > by_loss.needs[0].interval[0]


def test_what_a_doubling_brings_is_what_the_samples_say():
    made = plan(CURVES, 3200, gain=0.05, costs=COSTS)
    row = made.doublings[0]
    k = CURVES.candidates.index(row.candidate)
    ratio = made.samples.at(6400)[:, k] / made.samples.at(3200)[:, k]
    assert row.gain == pytest.approx(1 - np.median(ratio))
    assert row.doubled_loss == pytest.approx(row.loss * np.median(ratio))
    assert 0 <= row.gain_interval[0] <= row.gain <= row.gain_interval[1]
    assert row.training_flops == COSTS[row.candidate].training_flops
    assert "Twice the data (6,400 examples) would bring <b>a</b>" in made.sentence


def test_the_best_model_as_it_came_is_an_offer_without_training():
    made = plan(CURVES, 3200, gain=0.05, costs=COSTS)
    zero_shot = next(offer for offer in made.offers if offer.candidate == "flat (not fine-tuned)")
    assert (zero_shot.loss, zero_shot.cost.training_flops, zero_shot.cost.parameters) == (2.0, 0.0, 3000)
    assert zero_shot.front == ("training_flops",)


def test_the_same_question_has_the_same_answer():
    assert plan(CURVES, 3200, gain=0.05).to_dict() == plan(CURVES, 3200, gain=0.05).to_dict()
    assert lensllm.plan is plan


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give a target loss or a gain, got neither"),
        ({"target_loss": 1.0, "gain": 0.1}, "not both"),
        ({"target_loss": -1.0}, "target loss is -1.0"),
        ({"target_loss": math.nan}, "target loss is nan"),
        ({"gain": 1.5}, "gain is 1.5"),
        ({"target_loss": 0.001}, "below the forecast floor of every candidate"),
        ({"gain": 0.999}, "below the forecast floor of every candidate"),
    ],
)
def test_what_cannot_be_planned(asked, message):
    with pytest.raises(InputError, match=message):
        plan(CURVES, 3200, **asked)


def test_numbers_of_examples_are_shown_to_two_digits():
    assert [rounded(n) for n in (0, 7, 1234, 98765, math.inf)] == ["0", "7", "1,200", "99,000", "no amount"]


def test_a_folder_is_planned_from(folder, capsys):
    code, out, _ = run(capsys, folder, "--target-loss", "1.2", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["size"] == 3200
    assert [need["candidate"] for need in record["needs"]] == ["<b>a</b>", "b", "flat", ANY]
    assert record["offers"][0]["cost"]["training_flops"] == 1e12
    code, out, _ = run(capsys, folder, "--target-loss", "1.2")
    assert code == 0
    assert "3,200 training examples at hand" in out
    assert "training, size, serving" in out
    assert out.splitlines()[-1].startswith("For a loss of 1.200 <b>a</b> needs")


def test_the_page_shows_names_as_text(folder, tmp_path, capsys):
    page = tmp_path / "plan.html"
    assert run(capsys, folder, "--gain", "0.05", "--html", page)[0] == 0
    text = page.read_text()
    assert "<b>a</b>" not in text
    assert text.count("&lt;b&gt;a&lt;/b&gt;") >= 3
    assert 'src="http' not in text


def test_measured_losses_are_planned_from(tmp_path, capsys):
    path = tmp_path / "curves.csv"
    path.write_text(CSV)
    code, out, _ = run(capsys, path, "--gain", "0.05", "--target-size", "3200")
    assert code == 0
    assert "FLOPs" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty", "--gain", "0.05"], "holds no selection"),
        (["curves.csv", "--gain", "0.05"], "give --target-size"),
        (["folder", "--gain", "0.05", "--target-size", "10"], "--target-size is for losses from elsewhere"),
        (["folder", "--gain", "0.05", "--target-loss", "1"], "not both"),
        (["folder"], "got neither"),
        (["folder", "--target-loss", "0.01"], "below the forecast floor"),
        (["damaged", "--gain", "0.05"], "is damaged"),
        (["missing.csv", "--gain", "0.05", "--target-size", "10"], "no such file"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name, record in (("folder", {"target_size": 3200, "unit": "nats"}), ("damaged", {"unit": "nats"})):
        (tmp_path / name).mkdir()
        CURVES.write_csv(tmp_path / name / "curves.csv")
        (tmp_path / name / "selection.json").write_text(json.dumps(record))
    (tmp_path / "empty").mkdir()
    (tmp_path / "curves.csv").write_text(CSV)
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_the_example_of_the_documentation(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "plan.md").read_text()
    csv, command, shown = re.search(
        r"```text\n(candidate,.*?)```.*?```\n(lensllm plan .*?)\n```.*?```\n(.*?)```", text, re.S
    ).groups()
    monkeypatch.chdir(tmp_path)
    Path("losses.csv").write_text(csv)
    code, out, _ = run(capsys, *command.split()[2:])
    assert code == 0
    assert [line.rstrip() for line in out.splitlines()] == [line.rstrip() for line in shown.splitlines()]
