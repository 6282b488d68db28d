"""What scores say beside losses: other choices, falls, forgetting, failures."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from lensllm.cli.select import show
from lensllm.curves import Curves
from lensllm.objectives import ScoreObjective
from lensllm.planning import plan_sizes
from lensllm.report import write_report
from lensllm.scored import Scored
from lensllm.scores import ScoreValue, score_named
from lensllm.scores.record import Kept, Sample
from lensllm.search.journal import AskedScores
from lensllm.selection import Entrant, Selection, rank
from lensllm.selectors import default_selector, forecast_path
from lensllm.tuning.run import Run

EXACT = ScoreObjective(score_named("exact_match"))
HOSTILE = '<img src=x onerror="alert(1)">'


def run(name, size, loss, score=None, error=0.02, **more):
    scores = {"exact_match": ScoreValue(score, error, 271)} if score is not None else {}
    return Run(name, size, "done", nats_per_byte=loss, scores=scores, **more)


def scored(*runs, **more):
    found = {}
    for one in runs:
        found.setdefault(one.candidate, {})[one.examples] = one
    return Scored((EXACT,), found, 271, **more)


def selected_by_exact_match(curves):
    """`curves`: candidate -> its losses and scores at 50, 100 and 200 examples, parameters."""
    runs = [
        run(name, size, loss, score, max(np.sqrt(score * (1 - score) / 271), 0.002), parameters=parameters, flops=1.0)
        for name, (losses, scores, parameters) in curves.items()
        for size, loss, score in zip((50, 100, 200), losses, scores, strict=True)
    ]
    asked = AskedScores((EXACT.to_dict(),), 271, "", 0.05, "exact_match", "exact_match")
    entrants = [Entrant(name, name, "gpt2", "full") for name in curves]
    found = Selection.from_records(runs, entrants, task="made", target_size=800, flops_everything=10.0)
    return found.with_scores(runs, asked)


def test_scores_at_their_floor_leave_the_choice_to_the_losses():
    """Small models are no tie there: nothing says that they do as well."""
    small = ([3.0, 2.95, 2.9], [0.004, 0.0, 0.0], 10)
    chosen = selected_by_exact_match({"a": small, "b": ([2.0, 1.8, 1.6], [0.0, 0.0, 0.0], 100), "c": small})
    assert chosen.best == "b"
    assert chosen.ranking[0].candidate == "b"
    assert any(re.fullmatch(r"exact_match alone has [ac] first; .* b is", said) for said in chosen.score_advice)


@pytest.mark.parametrize(("score", "at_floor"), [(0.0, True), (0.01, True), (0.03, False), (None, True)])
def test_a_score_is_at_its_floor_within_two_standard_errors(score, at_floor):
    assert scored(run("a", 50, 1.0, score, 0.006)).at_floor(EXACT, "a") == at_floor


def test_the_floor_of_an_accuracy_is_a_guess():
    accuracy = ScoreObjective(score_named("accuracy"), guess=0.5)
    value = {"accuracy": ScoreValue(0.55, 0.03, 271)}
    made = Scored((accuracy,), {"a": {50: Run("a", 50, "done", scores=value)}}, 271)
    assert made.at_floor(accuracy, "a")


def test_scores_that_are_alike_and_sure_are_a_tie_whatever_the_losses():
    curves = {"a": ([2.0, 1.9, 1.8], [0.97, 0.975, 0.98], 10), "b": ([1.8, 1.6, 1.4], [0.97, 0.975, 0.98], 100)}
    assert selected_by_exact_match(curves).best == "a"


def test_another_choice_is_said_where_both_were_measured():
    made = scored(run("a", 50, 1.2, 0.5), run("a", 100, 1.1, 0.6), run("b", 50, 1.3, 0.7), run("c", 50, 1.5, 0.54))
    [told] = made.differing("a", "a", True)
    assert told == (
        "loss and score differ: by exact_match b is better than a, the choice by loss (0.700±0.020 and 0.500±0.020, "
        "measured on 50 examples)"
    )
    assert made.differing("b", "b", True) == ()


@pytest.mark.parametrize(("theirs", "says"), [(0.54, False), (0.55, True)])
def test_a_difference_within_the_errors_is_none(theirs, says):
    """1.645 sqrt(2) 0.02 is 0.0465."""
    made = scored(run("a", 50, 1.2, 0.5), run("b", 50, 1.3, theirs))
    assert bool(made.differing("a", "a", True)) is says


def test_the_more_are_compared_the_larger_a_difference_has_to_be():
    """2.576 sqrt(2) 0.02 is 0.0728 with ten others, of which one is ahead by luck; 1.645 are enough with one."""
    others = [run(f"c{k}", 50, 1.3, 0.5) for k in range(9)]
    for ahead, says in ((0.56, False), (0.58, True)):
        made = scored(run("a", 50, 1.2, 0.5), run("b", 50, 1.3, ahead), *others)
        assert bool(made.differing("a", "a", True)) is says
    assert scored(run("a", 50, 1.2, 0.0), run("b", 50, 1.3, 0.0), *others[:0]).differing("a", "a", True) == ()


def test_the_best_of_many_sizes_is_no_peak():
    """A reading of eight that is 1.8 standard errors of the difference above the last is luck; above one it is not."""
    sizes = [50 * 2**k for k in range(9)]
    values = [0.5, 0.551, *[0.5] * 7]
    runs = [run("a", n, 2 - 0.1 * k, value) for k, (n, value) in enumerate(zip(sizes, values, strict=True))]
    assert scored(*runs).falling == ()
    assert len(scored(*runs[1:3]).falling) == 1


def test_a_model_used_as_it_is_is_compared_with_what_others_became():
    made = scored(run("a", 0, 1.0, 0.3), run("a", 50, 1.1, 0.3), run("b", 0, 1.3, 0.1), run("b", 100, 1.2, 0.6))
    [told] = made.differing("a (not fine-tuned)", "a", False)
    assert "b is better than a (not fine-tuned)" in told
    assert "0.600±0.020 and 0.300±0.020" in told


def test_a_score_that_falls_while_the_loss_falls_is_said():
    falls = scored(run("a", 0, 2.0, 0.1), run("a", 50, 1.5, 0.6), run("a", 100, 1.2, 0.4))
    assert falls.falling == (
        "exact_match of a falls while its loss falls: from 0.600±0.020 at 50 examples to 0.400±0.020 at 100, the loss "
        "from 1.500 to 1.200 nats/byte",
    )
    assert scored(run("a", 50, 1.5, 0.6), run("a", 100, 1.6, 0.4)).falling == ()
    assert scored(run("a", 50, 1.5, 0.6), run("a", 100, 1.4, 0.58)).falling == ()


def test_what_is_forgotten_beyond_the_stated_drop_is_marked():
    kept = [
        Kept(loss, 0.01, 300, {"exact_match": ScoreValue(score, 0.03, 271)}) for loss, score in ((2.0, 0.5), (2.2, 0.4))
    ]
    runs = [run("a", 0, 1.6, kept=kept[0]), run("a", 50, 1.4, kept=kept[0]), run("a", 100, 1.2, kept=kept[1])]
    made = scored(*runs, kept_name="general")
    [one] = made.forgotten
    assert (one.examples, one.gain, one.loss_rise) == (100, pytest.approx(0.25), pytest.approx(0.1))
    assert made.warnings == (
        "a forgets: on general loss +10.0%, exact_match 0.500 to 0.400 after 100 examples (more than the 5% that may "
        "be lost)",
    )
    assert dataclasses.replace(made, keep_drop=0.2).warnings == ()
    assert scored(*runs[:2], kept_name="general").warnings == ()
    failed = scored(run("a", 0, 1.6, kept=Kept(error="too long")), run("a", 50, 1.4, kept=Kept(error="too long")))
    assert failed.forgotten == ()
    assert failed.failures == ("loss on  failed for a on 0 examples, a on 50 examples: too long",)


def test_failed_scores_are_said_once_a_reason():
    bad = [ScoreValue(examples=9, failed=n, error=f"returned nan (on {n} of 9 answers)") for n in (9, 3)]
    runs = [Run("a", size, "done", scores={"s.py:f": one}) for size, one in zip((0, 50), bad, strict=True)]
    assert scored(*runs).failures == (
        "s.py:f failed for a on 0 examples, a on 50 examples: returned nan (on 9 of 9 answers)",
    )
    assert scored(*runs).value("s.py:f", "a", 0) is None


def test_a_score_is_an_objective():
    accuracy = ScoreObjective(score_named("accuracy"), guess=1 / 3)
    assert accuracy.greater_is_better
    assert accuracy.read(Run("a", 0, "failed")) == (pytest.approx(np.nan, nan_ok=True),) * 2
    values = np.array([0.34, 0.5, 0.9, 0.99])
    scale = accuracy.to_scale(values)
    assert np.all(np.diff(scale) > 0)
    assert accuracy.from_scale(scale) == pytest.approx(values)
    assert np.isfinite(accuracy.to_scale(np.array([0.0, 1.0]))).all()
    free = ScoreObjective(score_named(f"{__file__}:run"))
    assert free.from_scale(free.to_scale(values)) == pytest.approx(values)


@pytest.fixture
def selection():
    """b is chosen by loss, a is better by score; texts are hostile; the second task is forgotten."""
    curves = Curves(("a", "b", "<c>"), [0, 50, 100], [[2.0, 1.5, 1.2], [1.9, 1.2, 1.0], [2.0, 1.9, 1.8]])
    path = forecast_path(default_selector(curves), curves, 800, plan_sizes(curves, 800))
    ranking, joint = rank(curves, path, [])
    kept = Kept(2.0, 0.1, 9, {"exact_match": ScoreValue(0.5, 0.1, 9)})
    sample = [Sample(HOSTILE, HOSTILE, HOSTILE)]
    runs = [run(name, size, 1.0, 0.5, samples=sample, kept=kept) for name in "ab" for size in (0, 50)]
    runs += [run("a", 100, 0.9, 0.9, samples=sample, kept=dataclasses.replace(kept, nats_per_byte=4.0))]
    runs += [run("b", 100, 0.9, 0.6, samples=sample, kept=kept), run("<c>", 50, 1.4)]
    made = scored(*runs, kept_name=HOSTILE)
    return Selection("t", 800, ranking, curves, joint, 30.0, 300.0, 1.0, "the end", scored=made)


def test_table_report_and_files_show_scores(selection, tmp_path, capsys):
    show(selection, False, tmp_path)
    printed = capsys.readouterr().out
    assert re.search(r"^a +0\.500±0\.020 +0\.500±0\.020 +0\.900±0\.020$", printed, re.MULTILINE)
    assert "by exact_match a is better than b, the choice by loss" in printed
    assert "a forgets: on" in printed
    assert "+100.0%" in printed

    selection.save(tmp_path)
    saved = json.loads((tmp_path / "selection.json").read_text())["scored"]
    assert saved["candidates"]["a"]["100"]["scores"]["exact_match"]["value"] == 0.9
    assert saved["advice"] == list(selection.score_advice)
    table = pd.read_csv(tmp_path / "scores.csv")
    row = table[(table.candidate == "a") & (table.examples == 100) & (table.task == "test")].iloc[0]
    assert (row.score, row.value, row.standard_error, row.scored) == ("exact_match", 0.9, 0.02, 271)
    assert len(table) == 6 + 6 * 2

    write_report(selection, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert "0.900±0.020" in page
    assert page.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;") > 8
    assert "Measured, not forecast" in page
    assert "a forgets: on" in page


def test_without_scores_nothing_of_them_is_shown(selection, tmp_path, capsys):
    plain = dataclasses.replace(selection, scored=None)
    show(plain, False, tmp_path)
    assert "exact_match" not in capsys.readouterr().out
    plain.save(tmp_path)
    assert "scored" not in json.loads((tmp_path / "selection.json").read_text())
    assert not (tmp_path / "scores.csv").exists()
    write_report(plain, tmp_path / "report.html")
    assert "Answers</h2>" not in (tmp_path / "report.html").read_text()
