"""What scores will cost, foretold without a weight, against what is charged; and that plans have it in them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import refused, run

from lensllm.candidates import find_candidate
from lensllm.config import SelectConfig
from lensllm.execution import InProcess
from lensllm.inputs import read_scoring
from lensllm.planning.candidate_plan import plan_candidate
from lensllm.planning.selection_plan import plan_selection
from lensllm.search.cost import Budget
from lensllm.tasks import read_task
from lensllm.tuning.device_memory import device_memory
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.training_config import TrainingConfig

QUICK = TrainingConfig(max_test_examples=10)
TOLERANCE = 0.01
"""Of FLOPs that are foretold, where every answer is as long as it may be."""


def foretold(task, model, **settings):
    data, candidate = read_task(task), find_candidate(model)
    asked = SelectConfig(task=task, score_examples=10, max_test_examples=10, **settings)
    scoring, _ = read_scoring(asked, data, [candidate])
    plan = plan_candidate(candidate, data, QUICK, device_memory(), float("inf"), scoring=scoring)
    return plan, FineTune(candidate, data, QUICK, 0, scoring=scoring).run(InProcess()._context)


@pytest.mark.parametrize(
    ("task", "model", "settings"),
    [
        ("name", "gpt2-0.2m-random", {"score": ["exact_match", "chrf"]}),
        ("sentiment", "gpt2-0.2m-random", {"score": ["accuracy"]}),
        ("sentiment", "t5-0.2m-glosses-1.5m", {"score": ["accuracy"]}),
        ("name", "gpt2-0.2m-random", {"score": ["exact_match"], "keep_score": "define"}),
    ],
)
def test_what_is_foretold_is_what_is_charged(task, model, settings):
    plan, made = foretold(task, model, **settings)
    assert plan.scoring_flops == pytest.approx(made.scoring_flops, rel=TOLERANCE)
    assert plan.as_it_came.scoring_flops == plan.scoring_flops
    compared, scored = plan.scoring.compared, made.scores[settings["score"][0]].examples
    kept = 10 if "keep_score" in settings else 0
    assert compared == (3 * scored if task == "sentiment" else kept)
    assert plan.scoring.written == (0 if task == "sentiment" else scored + (10 if kept else 0))


def test_answers_that_end_early_cost_less(model_folders, sums_file):
    """An encoder-decoder whose answers may be empty: what is foretold is the most."""
    plan, made = foretold(str(sums_file), str(model_folders["t5"]), score=["exact_match"])
    assert 0 < made.scoring_flops <= (1 + TOLERANCE) * plan.scoring_flops


def test_hours_of_a_selection_have_the_scores_in_them(model_folders, sums_file, tmp_path):
    task, candidate = read_task(sums_file), find_candidate(str(model_folders["gpt"]))
    scoring, _ = read_scoring(SelectConfig(task="t", score=["exact_match"]), task, [candidate])

    def planned(scoring):
        made = plan_selection([candidate], task, QUICK, Budget(), [50, 100], 1, folder=tmp_path, scoring=scoring)
        [one] = made.candidates
        known = replace(one, speed=replace(one.speed, flops_a_second=1e9))
        if one.scoring:
            known = replace(known, scoring_seconds=7.0)
        return made, known

    (plain, without), (made, one) = planned(None), planned(scoring)
    assert (without.scoring, without.scoring_seconds, without.scoring_flops) == (None, None, 0.0)
    assert one.flops == pytest.approx(without.flops + one.scoring_flops)
    assert one.seconds(one.flops) == pytest.approx(without.seconds(without.flops) + 7.0)
    assert not any("Scoring" in said for said in plain.sentences)
    [said] = [said for said in made.sentences if said.startswith("Scoring")]
    assert f"gpt {one.scoring.written} answers of up to {one.scoring.most_tokens} tokens (" in said
    assert said in made.lines


def test_the_command_plans_scores_and_refuses_those_that_the_task_has_not(model_folders, sums_file, tmp_path, capsys):
    command = ["check", sums_file, "--models", model_folders["gpt"], "--output-dir", tmp_path, "--score-examples", 10]
    told = json.loads(run(capsys, *command, "--score", "exact_match", "--json"))
    [one] = told["candidates"]
    assert one["scoring"]["written"] == 10
    assert one["scoring"]["flops"] == one["scoring"]["generation_flops"] > 0
    assert one["scoring_seconds"] > 0
    assert any(said.startswith("Scoring, as it came and after each run: gpt 10 answers") for said in told["sentences"])
    assert "accuracy needs a task with labels" in refused(capsys, *command, "--score", "accuracy")
    assert "expected one of loss" in refused(capsys, *command, "--rank-by", "chrf")


def test_runs_that_were_scored_tell_the_speed_with_scores(model_folders, sums_file, tmp_path, capsys):
    models = ["--models", model_folders["gpt"], "--output-dir", tmp_path / "out"]
    score = ["--score", "exact_match", "--score-examples", 10, "--max-test-examples", 10]
    printed = run(capsys, "select", sums_file, *models, "--sizes", 50, "--num-train-epochs", 1, "--workers", 1, *score)
    assert "exact_match: " in printed
    assert Path(tmp_path / "out" / "scores.csv").is_file()
    [one] = json.loads(run(capsys, "check", sums_file, *models, *score, "--json"))["candidates"]
    assert (one["measured_runs"], one["scoring_seconds"]) == (1, None)
