import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lensllm.cli.select import show
from lensllm.curves import Curves
from lensllm.demo import compare
from lensllm.forecast import Forecast
from lensllm.planning.phases import NOWHERE, Phase
from lensllm.selection import Selection, rank
from lensllm.tuning.run import Run

LOSSES = np.array([[2.0, 1.5, 1.2], [1.0, 0.99, 0.98], [np.nan, 1.4, np.nan]])
CURVES = Curves(("a", "b", "<c>"), np.array([0, 50, 100]), LOSSES, pd.DataFrame(index=["a", "b", "<c>"]))
RUNS = [Run(name, 50, "done", flops=10.0, parameters=7) for name in CURVES.candidates]


@pytest.fixture
def selection():
    samples = np.array([[0.5, 0.9, 1.3]] * 3 + [[1.1, 1.2, 1.3]])
    forecast = Forecast.from_samples(CURVES.candidates, 800, samples.mean(axis=0), samples)
    ranking, joint = rank(CURVES, forecast, RUNS)
    return Selection("t", 800, ranking, CURVES, joint, 30.0, 300.0, 1.0, "the end")


def test_the_untouched_model_is_a_candidate_of_its_own(selection):
    names = [row.candidate for row in selection.ranking]
    assert names == ["a", "b", "b (not fine-tuned)", "<c>"]
    assert [row.p_best for row in selection.ranking] == [0.75, 0, 0.25, 0]
    zero_shot = selection.ranking[2]
    assert (zero_shot.model, zero_shot.method) == ("b", "none")
    assert [row["method"] for row in selection.to_dict()["ranking"]] == ["full", "full", "none", "full"]
    assert (zero_shot.forecast, zero_shot.interval, zero_shot.measured) == (1.0, (1.0, 1.0), {0: 1.0})
    assert sum(row.flops for row in selection.ranking) == 30
    assert selection.ranking[3].measured == {50: 1.4}


def test_the_sentence_says_what_to_do(selection):
    assert selection.sentence.startswith("Fine-tune a on all 800 examples: forecast loss 0.650 nats/byte")
    assert "with probability 75%; the one to doubt it for is b (not fine-tuned) (25%)" in selection.sentence
    assert "10.0% of the compute" in selection.sentence


def test_not_fine_tuning_can_be_the_answer():
    forecast = Forecast(CURVES.candidates, 800, [800], [[1.1, 1.2, 1.3]])
    ranking, joint = rank(CURVES, forecast, RUNS)
    selection = Selection("t", 800, ranking, CURVES, joint, 30.0, 300.0, 1.0, "the end")
    assert selection.sentence.startswith("Do not fine-tune: use b as it is")
    assert compare(selection, {"a": 1.1, "b": 0.9, "<c>": 1.3})["rank_of_chosen"] == 2


def test_a_notebook_shows_names_as_text(selection):
    assert "&lt;c&gt;" in selection._repr_html_()
    assert "<c>" not in selection._repr_html_()


def test_the_choice_is_compared_with_the_truth(selection):
    truth = compare(selection, {"a": 0.8, "b": 0.7, "<c>": 1.2})
    expected = {"best": "b", "rel_acc": pytest.approx(0.8), "rank_of_chosen": 2, "covered": 1, "candidates": 3}
    assert truth == expected


def test_a_candidate_whose_truth_is_not_known_is_passed_over(selection):
    truth = compare(selection, {"b": 0.7, "<c>": 1.2})
    assert (truth["rank_of_chosen"], truth["candidates"], truth["rel_acc"]) == (1, 2, 1.0)
    assert compare(selection, {"<c>": 1.2, "other": 0.9})["rank_of_chosen"] == 2


def close_pair(parameters, apart=0.002, sd=0.05):
    names = ("big", "small")
    samples = np.exp(sd * np.random.default_rng(0).standard_normal((4000, 2))) * [1.0, 1.0 + apart]
    curves = Curves(names, np.array([50]), np.ones((2, 1)), pd.DataFrame(index=list(names)))
    forecast = Forecast.from_samples(names, 800, np.array([1.0, 1.0 + apart]), samples)
    runs = [Run(name, 50, "done", flops=10.0, parameters=p) for name, p in zip(names, parameters, strict=True)]
    ranking, joint = rank(curves, forecast, runs)
    return Selection("t", 800, ranking, curves, joint, 30.0, 300.0, 1.0, "the end")


def test_of_two_that_cannot_be_told_apart_the_smaller_is_taken():
    either = close_pair((7_000, 1_000))
    assert either.best == "small"
    assert "big cannot be told from it: either will do, the expected difference is 0.2%" in either.sentence
    assert "the first named is the smallest" in either.sentence
    assert close_pair((1_000, 7_000)).best == "big"
    assert close_pair((1_000, 7_000)).to_dict()["alike"] == ["small"]


@pytest.mark.parametrize(("apart", "sd"), [(0.02, 0.05), (0.002, 0.0005)])
def test_a_difference_that_is_large_or_sure_is_told(apart, sd):
    told = close_pair((7_000, 1_000), apart, sd)
    assert told.best == "big"
    assert told.tied == ()


def test_the_table_shows_phases_once_one_is_known(selection, capsys):
    unknown = [Phase(name, 2, 100, "unknown", np.nan, NOWHERE, NOWHERE, 0) for name in CURVES.candidates]
    show(dataclasses.replace(selection, phases=tuple(unknown)), False, Path("out"))
    assert "phase" not in capsys.readouterr().out
    unclear = Phase("a", 4, 100, "unclear", 0.5, NOWHERE, NOWHERE, 2)
    shown = dataclasses.replace(selection, phases=(unclear, *unknown[1:]))
    show(shown, False, Path("out"))
    printed = capsys.readouterr().out
    assert "a: perhaps still in the pre-power phase: measure 2 more sizes before trusting this" in printed
    assert "b, <c>: phase unknown: 2 sizes, 4 needed" in printed
    assert shown.to_dict()["phases"][0]["advice"].startswith("perhaps")
    assert shown.phase("b (not fine-tuned)") is None
