"""Scores from the outside: a selection with them, and scores that cannot be taken."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from commands import refused, run

from lensllm.candidates import find_candidate
from lensllm.config import SelectConfig
from lensllm.execution import InProcess, Processes
from lensllm.inputs import read_scoring
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

QUICK = ["--num-train-epochs", 1, "--max-test-examples", 20, "--score-examples", 20, "--workers", 1]
MODELS = ["gpt2-0.2m-random", "gpt2-0.2m-glosses-5m"]


@pytest.fixture
def labels_file(tmp_path):
    """A task with two labels."""
    path = tmp_path / "parity.jsonl"
    rows = [{"text": f"{i} plus {i % 7}", "label": ["even", "odd"][(i + i % 7) % 2]} for i in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_and_words_of_the_zoo_end_to_end(capsys, tmp_path):
    """Likelihoods on `sentiment`, generation on `name`; what tuning on it does to `define`."""
    for task, scores in (("sentiment", ["accuracy", "f1"]), ("name", ["exact_match", "chrf"])):
        folder = tmp_path / task
        command = [
            "select",
            task,
            "--models",
            *MODELS,
            "--sizes",
            50,
            "--score",
            *scores,
            "--output-dir",
            folder,
            *QUICK,
        ]
        printed = run(capsys, *command, "--keep-score", "define")
        saved = json.loads((folder / "selection.json").read_text())["scored"]
        for name in MODELS:
            for size in ("0", "50"):
                made = saved["candidates"][name][size]
                assert set(made["scores"]) == set(scores)
                for score in scores:
                    found = made["scores"][score]
                    assert (found["examples"], found["failed"], found["error"]) == (20, 0, "")
                    assert 0 <= found["value"] <= 1
                    assert f"{found['value']:.3f}±{found['standard_error']:.3f}" in printed
                assert len(made["samples"]) == 3
                assert made["samples"][0]["reference"]
                assert made["kept"]["nats_per_byte"] > 0
        page = (folder / "report.html").read_text()
        assert all(f"<h2>{score}</h2>" in page for score in scores)
        assert "What is forgotten: define" in page
        assert "as it came</td>" in page
        assert len(pd.read_csv(folder / "scores.csv")) >= 8
        before = Store(folder).records(Run)
        assert all(one.flops > one.scoring_flops > 0 for _, one in before)
    assert run(capsys, *command, "--keep-score", "define") == printed
    assert Store(folder).records(Run) == before


@pytest.mark.parametrize(("task", "score"), [("sentiment", "accuracy"), ("name", "exact_match")])
def test_scores_of_the_zoo_are_forecast_ranked_by_and_planned(task, score, capsys, tmp_path):
    """Three sizes, then the plan of the folder."""
    command = ["select", task, "--models", MODELS[1], "--sizes", 50, 100, 200, "--score", score, "--rank-by", score]
    run(capsys, *command, "--output-dir", tmp_path, *QUICK)
    saved = json.loads((tmp_path / "selection.json").read_text())
    assert saved["rank_by"] == score
    assert saved["notes"][-1] == f"ranked by the forecast of {score}"
    assert MODELS[1] in [row["candidate"] for row in saved["scored"]["forecasts"][score]]
    planned = json.loads(run(capsys, "plan", tmp_path, "--score", score, "--target-score", 0.9, "--json"))
    assert (planned["score"], planned["needs"][0]["candidate"]) == (score, MODELS[1])


def test_a_label_that_is_learned_is_told_from_one_that_is_not(capsys, labels_file, model_folders, tmp_path):
    """All rows have the same label in the training part that counts: accuracy rises to that label's share."""
    rows = [json.loads(line) for line in labels_file.read_text().splitlines()]
    for i, row in enumerate(rows):
        row["label"] = "odd" if i % 10 else "even"
    labels_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["select", labels_file, "--models", model_folders["gpt"], "--sizes", 100, "--score", "accuracy", *QUICK]
    run(capsys, *command, "--num-train-epochs", 8, "--output-dir", tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "selection.json").read_text())["scored"]["candidates"]["gpt"]
    test = read_task(labels_file).test[:20]
    share = sum(one.completion == "odd" for one in test) / len(test)
    assert saved["100"]["scores"]["accuracy"]["value"] == pytest.approx(share)
    assert {one["completion"] for one in saved["100"]["samples"]} == {"odd"}


@pytest.mark.parametrize("name", ["gpt", "t5"])
def test_a_bad_function_fails_its_score_and_no_run_whatever_the_executor(name, model_folders, sums_file, tmp_path):
    (tmp_path / "bad.py").write_text(
        "import time\n"
        "def hangs(prompt, completion, reference):\n    time.sleep(60)\n"
        "def raises(prompt, completion, reference):\n    raise ValueError('no')\n"
        "def length(prompt, completion, reference):\n    return len(completion)\n"
    )
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,))
    candidate = find_candidate(str(model_folders[name]))
    spelled = [f"{tmp_path / 'bad.py'}:{function}" for function in ("hangs", "raises", "length")]
    settings = SelectConfig(task=str(sums_file), score=["exact_match", *spelled], score_examples=10)
    scoring, _ = read_scoring(settings, task, [candidate])
    quick = tuple(replace(one, seconds=0.3) if hasattr(one, "seconds") else one for one in scoring.scored.scores)
    scoring = replace(scoring, scored=replace(scoring.scored, scores=quick))
    found = []
    for executor in (InProcess(), Processes(1, threads=1)):
        with executor:
            executor.submit(FineTune(candidate, task, config, 50, scoring=scoring))
            found.append(executor.wait()[1])
    assert [one.status for one in found] == ["done", "done"]
    assert repr(found[0].untimed) == repr(found[1].untimed)
    scores = found[0].scores
    assert scores["exact_match"].failed == 0
    assert scores["bad.py:hangs"].error.startswith("took longer than 0.3 seconds")
    assert scores["bad.py:raises"].error == "raised ValueError: no (line 5) (on 10 of 10 answers)"
    assert scores["bad.py:length"].value >= 0
    plain = FineTune(candidate, task, config, 50)
    assert plain.key != FineTune(candidate, task, config, 50, scoring=scoring).key
    unscored = plain.run(InProcess()._context)
    assert unscored.nats_per_byte == found[0].nats_per_byte
    assert unscored.flops == pytest.approx(found[0].flops - found[0].scoring_flops)


def test_what_fails_is_said_beside_the_answer(capsys, model_folders, sums_file, tmp_path):
    (tmp_path / "s.py").write_text("def f(prompt, completion, reference):\n    return float('nan')\n")
    command = ["select", sums_file, "--models", model_folders["gpt"], "--sizes", 50, "--score", f"{tmp_path}/s.py:f"]
    printed = run(capsys, *command, *QUICK, "--output-dir", tmp_path / "out")
    assert "s.py:f failed for gpt on 0 examples, gpt on 50 examples: returned nan (on 16 of 16 answers)" in printed
    assert "s.py:f failed for gpt" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "selection.json").read_text())["failures"] == []


def test_a_model_that_cannot_generate_fails_the_score_alone(model_folders, sums_file, monkeypatch):
    from transformers import GPT2LMHeadModel

    monkeypatch.setattr(GPT2LMHeadModel, "can_generate", classmethod(lambda cls: False))
    task, candidate = read_task(sums_file), find_candidate(str(model_folders["gpt"]))
    scoring, _ = read_scoring(SelectConfig(task="t", score=["exact_match"]), task, [candidate])
    found = FineTune(candidate, task, TrainingConfig(), 0, scoring=scoring).run(InProcess()._context)
    assert found.status == "done"
    assert found.scores["exact_match"].error == "GPT2LMHeadModel cannot generate"


@pytest.mark.parametrize(
    ("score", "told"),
    [
        ("bleu", "no score is named 'bleu'"),
        ("nowhere.py:f", "no such file: nowhere.py"),
        ("accuracy", "accuracy needs a task with labels"),
        ("json_fields", "json_fields needs references that are JSON objects: sums.jsonl line "),
    ],
)
def test_scores_that_the_task_has_not_what_they_need_for_are_refused(score, told, capsys, model_folders, sums_file):
    assert told in refused(capsys, "select", sums_file, "--models", model_folders["gpt"], "--score", score)


@pytest.mark.parametrize("kept", ["nowhere.jsonl", "empty.jsonl"])
def test_a_second_task_that_cannot_be_read_is_refused(kept, capsys, model_folders, sums_file, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    told = refused(capsys, "select", sums_file, "--models", model_folders["gpt"], "--keep-score", tmp_path / kept)
    assert kept in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def g(): pass\n", "there is no function 'f' in it (it has g)"),
        ("def f(\n", "raised SyntaxError"),
        (None, "no such file"),
        ("\udcff", "cannot be read"),
    ],
)
def test_function_files_that_cannot_be_used_are_refused(text, told, capsys, model_folders, sums_file, tmp_path):
    if text is not None:
        (tmp_path / "s.py").write_text(text, encoding="utf-8", errors="surrogateescape")
    command = ("select", sums_file, "--models", model_folders["gpt"], "--score", f"{tmp_path}/s.py:f")
    assert told in refused(capsys, *command)


def test_plain_text_has_no_score(capsys, model_folders):
    said = refused(capsys, "select", "austen", "--models", model_folders["gpt"], "--score", "exact_match")
    assert "no test example of austen has both a prompt and an answer" in said


def test_examples_without_a_prompt_are_counted(capsys, model_folders, tmp_path):
    rows = [{"prompt": f"{i} plus 1 is" if i % 4 else "", "completion": f" {i + 1}"} for i in range(200)]
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["select", tmp_path / "some.jsonl", "--models", model_folders["gpt"], "--score", "exact_match"]
    printed = run(capsys, *command, "--sizes", 50, *QUICK, "--output-dir", tmp_path / "out")
    left_out, of = map(int, re.search(r"scores: (\d+) of (\d+) test examples have no prompt", printed).groups())
    assert 0 < left_out < of == 20
    saved = json.loads((tmp_path / "out" / "selection.json").read_text())["scored"]
    assert saved["candidates"]["gpt"]["50"]["scores"]["exact_match"]["examples"] == of - left_out


def test_a_budget_pays_for_scores(capsys, model_folders, sums_file, tmp_path):
    """The default search with few examples: what scoring takes is part of the plan."""
    command = ["select", sums_file, "--models", model_folders["gpt"], model_folders["llama"], "--score", "exact_match"]
    printed = run(capsys, *command, "--workers", 1, "--num-train-epochs", 1, "--output-dir", tmp_path / "out")
    assert "exact_match: share of answers that equal the reference" in printed
