"""What the page says of a folder, by how the selection in it stands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from page_cases import HOSTILE, SCRIPT, beginning, running

import lensllm
from lensllm.errors import InputError
from lensllm.objectives import ScoreObjective
from lensllm.page.reasons import FIRST, START, Reasons
from lensllm.page.so_far import SoFar, read_so_far, selection_so_far
from lensllm.page.state import state
from lensllm.scores import ScoreValue, score_named
from lensllm.search.journal import FILE_NAME, AskedScores, Entrant, Journal, JournalRead
from lensllm.search.orders import Order
from lensllm.tuning.run import Run


def told(folder):
    return state(read_so_far(folder), Reasons())


def test_before_anything_is_there(tmp_path):
    assert told(tmp_path)["sentence"].startswith("The selection has not begun yet")
    with Journal(tmp_path, beginning()):
        seen = told(tmp_path)
    assert seen["status"] == "running"
    assert seen["sentence"].startswith("Every candidate is measured as it came")
    assert seen["controls"]["why_not"].startswith("The search can be steered once")


@pytest.mark.parametrize(("jobs", "why"), [(1, FIRST), (5, START)])
def test_why_the_first_runs_are_made(tmp_path, jobs, why):
    with running(tmp_path, jobs):
        assert [one["why"] for one in told(tmp_path)["now"]] == [why]


def test_a_search_that_runs(tmp_path):
    with running(tmp_path, jobs=17) as journal:
        Order("stop").ask(tmp_path)
        seen = told(tmp_path)
        assert json.dumps(seen, allow_nan=False)
        assert (seen["status"], seen["task"], seen["target"]) == ("running", "define", 6400)
        assert seen["sentence"].startswith("So far: Fine-tune ")
        assert sum(one["p"] for one in seen["best"]) == pytest.approx(1)
        lines = {line["name"]: line for line in seen["curves"]["lines"]}
        assert lines["fails-2b"]["sizes"] == [50]
        assert lines["plain-1b"]["ahead"][-1] == seen["curves"]["target"] == 6400
        assert lines["plain-1b"]["ahead"][0] == lines["plain-1b"]["sizes"][-1]
        (now,) = seen["now"]
        assert "expected to take the most regret away a FLOP" in now["why"]
        flops, hours, money = seen["spending"]["rows"]
        assert flops["budget"].count("e1") == 1
        assert hours["left"].startswith("at most ")
        assert money["what"] == "money, at 3 an hour"
        rows = {row["name"]: row for row in seen["table"]["rows"]}
        assert rows["fails-2b"]["state"] == "failed"
        assert rows["plain-1b"]["memory"] == "3.0 GiB"
        assert rows["plain-1b"]["scores"] == ["0.500±0.100"]
        assert rows["plain-1b"]["speed"]
        assert seen["failures"][0]["error"] == f"OutOfMemoryError: {SCRIPT}"
        assert seen["failures"][0]["remedy"].startswith("It needs more memory")
        assert seen["failures"][1]["what"] == "refused"
        first = next(one for one in seen["answers"] if one["name"] == HOSTILE)
        assert first["rows"][0]["before"] == f"{SCRIPT} after 0"
        assert first["rows"][0]["after"] == f"{SCRIPT} after {first['last']}"
        assert seen["orders"] == [{"text": "you stopped it", "waits": True}]
        assert seen["controls"]["why_not"].startswith("It stops once")
        journal.ended()
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"end": "torn')
    with pytest.raises(InputError, match="holds no selection"):
        told(tmp_path)


def test_one_that_was_interrupted_or_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt), running(tmp_path):
        raise KeyboardInterrupt
    seen = told(tmp_path)
    assert seen["status"] == "interrupted"
    assert seen["now"] == []
    assert not seen["controls"]["stop"]
    with pytest.raises(InputError), Journal(tmp_path, beginning()):
        raise InputError("the disk is full")
    assert told(tmp_path)["sentence"] == "The selection ended without an answer: the disk is full"


def test_sizes_that_were_given_and_a_folder_without_a_journal(tmp_path, model_folders, sums_file):
    few = {"sizes": [16, 32], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    found = lensllm.select(str(sums_file), [str(model_folders["gpt"])], output_dir=str(tmp_path), **few)
    seen = told(tmp_path)
    assert (seen["status"], seen["sentence"]) == ("ended", found.sentence)
    assert seen["spending"]["part"] is None
    assert [row["name"] for row in seen["table"]["rows"]] == ["gpt"]
    (tmp_path / FILE_NAME).unlink()
    earlier = told(tmp_path)
    assert (earlier["status"], earlier["sentence"]) == ("ended", found.sentence)
    with Journal(tmp_path, beginning(sizes=(16, 32))):
        assert told(tmp_path)["controls"]["why_not"].startswith("The sizes to measure are fixed")
    (tmp_path / FILE_NAME).write_text("{}\n")
    with pytest.raises(InputError, match=r"progress.jsonl is damaged .*: run the same command again"):
        told(tmp_path)


SCORE = ScoreObjective(score_named("exact_match"))


def scored_run(name, examples):
    """Of two candidates "gains" has the better loss, "right" the better score."""
    k = ("gains", "right").index(name)
    value = (0.1 + 0.05 * k) * (1 + examples / 50) ** 0.5
    scores = {SCORE.name: ScoreValue(value, 0.01, 600)}
    loss = (2.0 + 0.3 * k) * (examples + 1) ** -0.1
    return Run(name, examples, "done", nats_per_byte=loss, standard_error=0.01, flops=1e9, scores=scores)


def scored_beginning(rank_by):
    scores = AskedScores((SCORE.to_dict(),), 600, "", 0.05, rank_by, rank_by)
    entrants = tuple(Entrant(name, name, "gpt2", "full") for name in ("gains", "right"))
    return replace(beginning(), entrants=entrants, scores=scores)


def so_far_by(rank_by, sizes):
    records = [scored_run(name, size) for name in ("gains", "right") for size in sizes]
    selection = selection_so_far(scored_beginning(rank_by), records, None)
    so_far = SoFar(Path("none"), "running", scored_beginning(rank_by), selection, dict(enumerate(records)))
    return state(so_far, Reasons())


@pytest.mark.parametrize(("rank_by", "best"), [("loss", "gains"), ("exact_match", "right")])
def test_the_answer_so_far_goes_by_what_was_asked_for(rank_by, best):
    seen = so_far_by(rank_by, (0, 50, 100, 200, 400))
    assert f"Fine-tune {best} on all" in seen["sentence"]
    assert max(seen["best"], key=lambda row: row["p"])["name"] == best
    assert max(seen["table"]["rows"], key=lambda row: row["p_best"])["name"] == best


def test_an_answer_so_far_by_loss_because_the_score_has_no_forecast_yet_says_so():
    seen = so_far_by("exact_match", (0, 50))
    assert "forecast loss" in seen["sentence"]
    assert "ranked by loss, as exact_match could not be forecast" in seen["notes"]


def test_what_is_scored_is_in_the_journal(tmp_path):
    with Journal(tmp_path, scored_beginning("exact_match")):
        assert JournalRead.of(tmp_path).beginning.scores == scored_beginning("exact_match").scores
