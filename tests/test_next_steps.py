"""What comes after the answer: sentences that follow from numbers, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lensllm.cli.select import show
from lensllm.curves import Curves
from lensllm.planning import Cost, plan_sizes
from lensllm.provenance import CandidateOrigin, Provenance, Rung, TaskOrigin
from lensllm.report import write_report
from lensllm.selection import Selection, rank
from lensllm.selectors import PriorFitted
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

FALLING = [[2.2, 1.6, 1.5, 1.41, 1.33], [2.4, 1.8, 1.65, 1.49, 1.45]]
SIZES = [0, 50, 100, 200, 400]


def chosen(losses=FALLING, parameters=(1_000_000, 4_000_000), **settings):
    """A selection of `small` and `large` whose runs had 1e9 FLOPs a second; all the data take 7.2e12 FLOPs."""
    curves = Curves(("small", "large"), SIZES, losses)
    runs = [Run(name, 50, "done", parameters=count) for name, count in zip(curves.candidates, parameters, strict=True)]
    ranking, forecast = rank(curves, PriorFitted().forecast(curves, 1600, plan_sizes(curves, 1600)), runs)
    rungs = {0: Rung(0.0, None, 2.2, 1.0, 5e9), 50: Rung(1e-3, 1.6, 1.6, 10.0, 1e10)}
    origins = [CandidateOrigin(n, n, f"/{n}", "", "", "f", "", "full", {}, rungs=rungs) for n in curves.candidates]
    task = TaskOrigin("mine", "/mine.jsonl", (), "prompt + completion", "f", 1600, 80, 100)
    origin = Provenance(
        "lensllm select", "2026", {}, "cpu", task, tuple(origins), TrainingConfig(), (0, 50), settings, "/my runs/out"
    )
    costs = {"small": Cost(7.2e12, 1_000_000, 1e6, 1e6), "large": Cost(2.88e13, 4_000_000, 4e6, 4e6)}
    return Selection(
        "mine", 1600, ranking, curves, forecast, 2e11, 2e12, 60, "it is sure", costs=costs, provenance=origin
    )


def test_train_export_label_and_the_larger_one_in_this_order():
    steps = chosen().next_steps
    assert [step.what for step in steps] == ["train", "export", "label", "larger"]
    train, export, label, larger = steps
    assert train.command == "lensllm train '/my runs/out'"
    assert train.sentence == "Train it: lensllm train '/my runs/out' (about 2.0 h)."
    assert (train.hours, train.price) == (pytest.approx(2.0), None)
    assert export.command == "lensllm export '/my runs/out' --to trl"
    assert label.examples == 1600
    assert 0 <= label.gain_interval[0] < label.gain < label.gain_interval[1]
    assert label.sentence.startswith(f"Label more: 1,600 more examples would take {label.gain:.1%} off the loss")
    assert label.worth_below is None
    assert "worth it" not in label.sentence
    assert larger.command == "lensllm train '/my runs/out' --candidate large"
    assert larger.hours == pytest.approx(8.0)
    assert "large (4.0 times the parameters)" in larger.sentence
    assert larger.gain < 0
    assert f"{-larger.gain:.1%} more loss" in larger.sentence


def test_hours_are_money_where_a_price_is_known():
    train, _, label, larger = chosen(price_per_hour=3.0).next_steps
    assert train.price == pytest.approx(6.0)
    assert "(about 2.0 h, 6.00 at 3 an hour)" in train.sentence
    assert "about 2.0 h, 6.00 at 3 an hour more of training" in label.sentence
    assert larger.price == pytest.approx(24.0)


def test_labels_are_worth_what_less_loss_is_worth_less_the_training():
    *_, label, _ = chosen(price_per_hour=3.0, value_per_percent=100.0).next_steps
    assert label.worth_below == pytest.approx((100 * label.gain * 100.0 - 6.0) / 1600)
    assert f"worth it if an example costs less than {label.worth_below:.3g}." in label.sentence
    *_, label, _ = chosen(price_per_hour=3.0, value_per_percent=0.1).next_steps
    assert label.sentence.endswith("not worth it at any price of an example.")


def test_a_curve_that_is_flat_needs_no_more_labels():
    flat = [[2.2, 1.6001, 1.6, 1.6, 1.6], [2.4, 1.8, 1.8, 1.8, 1.8]]
    step = next(step for step in chosen(flat).next_steps if step.examples)
    assert step.what == "stop"
    assert step.sentence.startswith("Stop labelling: 1,600 more examples")
    assert step.gain < 0.005


def test_a_model_that_is_best_as_it_came_ends_it():
    worse = [[1.0, 1.6, 1.6, 1.61, 1.6], [2.4, 1.8, 1.79, 1.8, 1.8]]
    steps = chosen(worse).next_steps
    assert steps[0].what == "stop"
    assert steps[0].sentence.startswith("Stop: small has 1.000 nats/byte as it came, and small is forecast 1.")
    assert not any(step.what in ("train", "export", "label") for step in steps)


def test_nothing_larger_was_measured():
    assert [step.what for step in chosen(parameters=(1_000_000, 1_100_000)).next_steps] == ["train", "export", "label"]


def test_without_speed_no_hours_and_without_provenance_no_steps():
    found = chosen()
    assert replace(found, costs={}).next_steps[0].sentence == "Train it: lensllm train '/my runs/out'."
    assert replace(found, provenance=None).next_steps == ()


def test_table_report_and_json_end_with_them(tmp_path, capsys):
    found = chosen(price_per_hour=3.0)
    show(found, False, tmp_path)
    assert capsys.readouterr().out.rstrip().endswith(found.next_steps[-1].sentence)
    show(found, True, tmp_path)
    told = json.loads(capsys.readouterr().out)["next"]
    assert [one["sentence"] for one in told] == [step.sentence for step in found.next_steps]
    assert np.isclose(told[0]["price"], 6.0)
    write_report(found, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "What next</h2>" in page
    assert "Train it: lensllm train &#39;/my runs/out&#39;" in page
