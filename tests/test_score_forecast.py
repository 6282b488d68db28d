"""Forecasts of scores: within floor and ceiling, mirrored where less is better, wider with more error; as shown."""

import json
from itertools import pairwise

import numpy as np
import pytest
from commands import refused, run
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.cli.select import show
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast
from lensllm.objectives import Between, ScoreObjective
from lensllm.planning import plan_score, plan_sizes
from lensllm.report import write_report
from lensllm.score_forecast import ScoreForecast, forecasts_of, odds_of, range_of, read_scores
from lensllm.scored import Scored
from lensllm.scores import ScoreValue, score_named
from lensllm.selection import Selection, rank
from lensllm.selectors import GaussianProcess, GrowingSlopes
from lensllm.tuning.run import Run

EXACT = Between("exact_match")
SIZES = np.array([50.0, 100.0, 200.0, 400.0])
scores = st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=4)
errors = st.floats(0.0, 0.2)


def curves_of(values, error=0.02, sizes=SIZES):
    values = np.array(values, dtype=float)
    names = tuple(f"m{k}" for k in range(len(values)))
    return Curves(names, sizes, values, standard_errors=np.full(values.shape, error))


def forecast(curves, objective=EXACT, target=3200.0, draws=200):
    return ScoreForecast.of(curves, objective, target, GaussianProcess(draws=draws))


@settings(max_examples=40, deadline=None)
@given(scores, errors, st.floats(-5, 5), st.floats(0.1, 100))
def test_no_forecast_leaves_floor_and_ceiling(values, error, floor, width):
    objective = Between("s", floor=floor, ceiling=floor + width)
    made = forecast(curves_of(floor + width * np.array(values), error * width), objective)
    samples = objective.from_loss(made.forecast.samples)
    assert np.all((floor <= samples) & (samples <= floor + width))
    for row in made.rows:
        assert floor <= row.interval[0] <= row.interval[1] <= floor + width


@settings(max_examples=20, deadline=None)
@given(scores, errors)
def test_less_is_better_is_the_mirror(values, error):
    values = np.array(values)
    more = forecast(curves_of(values, error))
    less = forecast(curves_of(1 - values, error), Between("error", greater_is_better=False))
    assert [row.candidate for row in more.rows] == [row.candidate for row in less.rows]
    for one, other in zip(more.rows, less.rows, strict=True):
        assert one.forecast == pytest.approx(1 - other.forecast, abs=1e-6)
        assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-6)
        assert one.p_best == pytest.approx(other.p_best, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 0.7), st.floats(0.0, 0.1))
def test_more_sampling_error_gives_wider_intervals(value, rise):
    values = [[value, value + rise, value + rise, value + 2 * rise]]
    widths = [np.ptp(forecast(curves_of(values, error)).rows[0].interval) for error in (0.005, 0.03, 0.1)]
    assert all(wider > 0.98 * width for width, wider in pairwise(widths))


def test_a_reading_at_the_edge_is_low_and_no_more():
    odds, error = Between("exact_match").to_loss(np.array([0.0, 0.0]), np.array([0.0051, np.nan]))
    assert odds == pytest.approx([194.9, 49.0], rel=0.01)
    assert np.all(error >= odds)


def test_the_same_forecast_whatever_else_is_asked_for():
    """To the bit: other sizes, the order of candidates; and other candidates' normals are their own."""
    odds = odds_of(curves_of([[0.4, 0.5, 0.6, 0.65], [0.3, 0.5, 0.55, 0.7], [0.2, 0.2, 0.3, 0.3]]), Between("s"))
    alone = GaussianProcess().forecast(odds, 3200)
    many = GaussianProcess().forecast(odds, 3200, plan_sizes(odds, 3200))
    turned = GaussianProcess().forecast(odds.of(["m2", "m0", "m1"]), 3200).of(odds.candidates)
    for other in (many, turned):
        assert np.array_equal(alone.mean, other.mean)
        assert np.array_equal(alone.samples, other.samples)
        assert np.array_equal(alone.p_best, other.p_best)


def test_a_candidate_without_a_score_gets_no_forecast_and_spoils_no_other():
    values = np.array([[0.4, 0.5, 0.6, 0.65], [np.nan] * 4, [0.3, np.nan, 0.5, 0.55]])
    made = forecast(curves_of(values))
    assert made.row("m1") is None
    assert made.best.candidate == "m0"
    assert sum(row.p_best for row in made.rows) == pytest.approx(1)
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))[-1]["candidate"] == "m2"


def test_do_not_fine_tune_where_nothing_learned_beats_the_model_as_it_came():
    table = Curves(("a", "b"), np.append(0, SIZES), [[0.9, 0.3, 0.32, 0.3, 0.31], [0.5, 0.4, 0.41, 0.4, 0.42]])
    made = forecast(table, target=800)
    assert (made.best.candidate, made.best.method) == ("a (not fine-tuned)", "none")


def test_a_function_between_0_and_1_is_forecast_and_no_other():
    free = Between("f", floor=-float("inf"), ceiling=float("inf"))
    assert (range_of(free, np.array([0.2, np.nan])).floor, range_of(free, np.array([3.0]))) == (0.0, None)
    assert forecasts_of([(free, curves_of([[1.0, 2.0, 3.0, 4.0]]))], 800) == ()
    assert forecasts_of([(Between("s"), curves_of([[0.1, 0.2]], sizes=SIZES[:2]))], 800) == ()


def test_more_examples_for_a_higher_score():
    table = curves_of([[0.5, 0.58, 0.66, 0.74], [0.5, 0.52, 0.53, 0.55]])
    needs = [plan_score(table, Between("exact_match"), 800, goal).needs[0] for goal in (0.6, 0.8, 0.9)]
    assert [need.candidate for need in needs] == ["m0"] * 3
    assert needs[0].examples < needs[1].examples < needs[2].examples
    with pytest.raises(InputError, match="between 0 and 1"):
        plan_score(table, Between("exact_match"), 800, 90.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("candidate,examples,score\na,50,70\n", "row 2: the score 70 is not between 0 and 1"),
        ("candidate,examples,score\na,50,much\n", "row 2: 'score' is 'much', expected a number"),
        ("candidate,examples,score\na,-50,0.5\n", "row 2: 'examples' is '-50'"),
        ("candidate,examples,loss\na,50,0.5\n", "neither tidy .columns candidate, examples, score."),
        ("", "it is empty"),
    ],
)
def test_tables_that_hold_no_scores_are_refused(text, told, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        read_scores(tmp_path / "s.csv", Between("score"))


def test_the_commands_take_a_table_of_scores(tmp_path, capsys):
    rows = [f"{name},{size:.0f},{100 * (0.4 + rise * k)}" for name, rise in (("a", 0.05), ("b", 0.02))
            for k, size in enumerate(SIZES)]  # fmt: skip
    file = tmp_path / "s.csv"
    file.write_text("candidate,examples,score\n" + "\n".join(rows))
    asked = [str(file), "--target-size", "1600", "--ceiling", "100", "--json"]
    made = json.loads(run(capsys, "forecast", *asked, "--scores"))["candidates"]
    assert made[0]["candidate"] == "a"
    assert 45 < made[0]["interval"][0] < made[0]["forecast"] < made[0]["interval"][1] < 100
    planned = json.loads(run(capsys, "plan", *asked, "--target-score", "80"))
    assert planned["needs"][0]["candidate"] == "a"
    assert planned["doublings"][0]["score"] == pytest.approx(made[0]["forecast"], abs=1e-6)


LOSSES = ((2.0, 1.5, 1.4, 1.3, 1.2), (2.1, 1.7, 1.65, 1.6, 1.56))
EXACT_SCORES = ((0.1, 0.2, 0.2, 0.22, 0.25), (0.1, 0.4, 0.5, 0.6, 0.7))


@pytest.fixture
def selection():
    """By loss a is first, by score b."""
    return selection_of(LOSSES, EXACT_SCORES)


def selection_of(losses, exact, error=0.02):
    losses, exact = np.array(losses), np.array(exact)
    sizes = [0, *map(int, SIZES)]
    runs = [
        Run(name, size, "done", nats_per_byte=losses[k, s], parameters=9 - k,
            scores={"exact_match": ScoreValue(exact[k, s], error, 271)})
        for k, name in enumerate("ab") for s, size in enumerate(sizes)
    ]  # fmt: skip
    curves = Curves(("a", "b"), sizes, losses)
    ranking, joint = rank(curves, GrowingSlopes().forecast(curves, 800, plan_sizes(curves, 800)), runs)
    objective = ScoreObjective(score_named("exact_match"))
    by_name = {name: {run.examples: run for run in runs if run.candidate == name} for name in "ab"}
    made = forecasts_of([(objective, Curves.from_records(runs, objective))], 800)
    scored = Scored((objective,), by_name, 271, forecasts=made, target_size=800)
    return Selection("t", 800, ranking, curves, joint, 30.0, 300.0, 1.0, "the end", scored=scored)


def test_forecasts_that_differ_are_said_with_both(selection):
    [said] = [one for one in selection.score_advice if one.startswith("forecasts")]
    assert "at 800 examples b is first by exact_match (0.7" in said
    assert "a is first by loss (1.1" in said
    assert selection.best == "a"


@pytest.mark.parametrize(
    "exact",
    [
        ((0.0,) * 5, (0.0,) * 5),
        ((0.5,) * 5, (0.5,) * 5),
        ((0.1, 0.4, 0.5, 0.6, 0.7), (0.1, 0.41, 0.51, 0.61, 0.72)),
        ((0.1, 0.41, 0.51, 0.61, 0.71), (0.1, 0.4, 0.5, 0.6, 0.7)),
    ],
)
def test_scores_that_are_equal_or_within_their_errors_cannot_tell_and_do_not_differ(exact):
    """Whichever of the two is first by loss."""
    for losses in (LOSSES, LOSSES[::-1]):
        made = selection_of(losses, exact)
        first = made.scored.forecasts[0].best.candidate
        said = [] if made.best == first else [f"exact_match cannot tell {first} from {made.best}, the choice by loss"]
        assert [one.split(":")[0] for one in made.score_advice] == said


def test_with_smaller_errors_the_same_scores_tell():
    exact = ((0.1, 0.4, 0.5, 0.6, 0.66), (0.1, 0.44, 0.56, 0.66, 0.72))
    for error, told in ((0.1, "exact_match cannot tell b from a"), (0.005, "forecasts of loss and score differ")):
        assert selection_of(LOSSES, exact, error).score_advice[0].startswith(told)


@pytest.mark.parametrize(("odds", "surely"), [(0.112, False), (0.2, True)])
def test_a_sure_difference_that_is_tiny_is_none(odds, surely):
    """0.9001 and 0.8993, or 0.8333."""
    made = ScoreForecast(EXACT, Forecast.from_samples(("a", "b"), 800, [0.111, odds], [[0.111, odds]] * 3))
    assert made.ahead("a", "b") == 1
    assert made.surely_ahead(*made.rows) is surely


def test_where_the_loss_cannot_tell_the_score_decides():
    """b is the smaller of two that do as well by loss; a is better by score."""
    losses = (LOSSES[0], np.array(LOSSES[0]) * 1.001)
    made = selection_of(losses, EXACT_SCORES[::-1])
    assert made.best == "b"
    [said] = [one for one in made.score_advice if "at 800" in one]
    assert said.startswith("loss cannot tell a from b, exact_match can: at 800 examples a is first by exact_match (0.7")
    assert "ahead with probability" in said


def test_table_report_and_json_have_the_forecast(selection, tmp_path, capsys):
    row = selection.scored.forecasts[0].row("b")
    show(selection, False, tmp_path)
    assert f"{row.forecast:.3f}" in capsys.readouterr().out
    write_report(selection, tmp_path / "r.html")
    assert f"{row.interval[0]:.3f} to {row.interval[1]:.3f}" in (tmp_path / "r.html").read_text()
    [first, *_] = selection.to_dict()["scored"]["forecasts"]["exact_match"]
    assert (first["candidate"], first["forecast"]) == ("b", row.forecast)


def test_a_plan_is_made_of_a_selections_folder(selection, tmp_path, capsys):
    selection.save(tmp_path)
    planned = json.loads(run(capsys, "plan", tmp_path, "--target-score", "0.9", "--json"))
    assert (planned["score"], planned["size"], planned["needs"][0]["candidate"]) == ("exact_match", 800, "b")
    assert planned["doublings"][0]["score"] == pytest.approx(selection.scored.forecasts[0].row("b").forecast)


def test_ranked_by_a_score(selection):
    by_score = selection.ranked_by("exact_match")
    assert (selection.best, by_score.best) == ("a", "b")
    assert by_score.sentence.startswith("Fine-tune b on all 800 examples: forecast exact_match 0.7")
    assert {row.candidate for row in selection.ranking} <= {row.candidate for row in by_score.ranking}
    assert "decided by the loss" in by_score.notes[-1]
    assert any(one.startswith("forecasts of loss and score differ") for one in by_score.score_advice)
    assert selection.ranked_by("loss") is selection
    assert selection.ranked_by("chrf").notes[-1] == "ranked by loss, as chrf could not be forecast"


def test_nothing_is_ranked_by_a_score_that_is_not_measured(capsys, model_folders, sums_file):
    command = ("select", sums_file, "--models", model_folders["gpt"], "--rank-by", "chrf")
    assert "rank_by is 'chrf', expected one of loss (scores come by --score)" in refused(capsys, *command)
    assert "expected one of loss, exact_match" in refused(capsys, *command, "--score", "exact_match")
