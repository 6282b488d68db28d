"""A search that goes by a score: runs are made up, one candidate is better by loss and the other by score."""

import json
import math

import pytest

from lensllm.candidates import find_candidate
from lensllm.execution import Executor
from lensllm.objectives import Loss, ScoreObjective
from lensllm.scores import ScoreValue, score_named
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.cost import Budget
from lensllm.search.driver import drive
from lensllm.search.ladder import doublings
from lensllm.search.ladder_plan import LadderPlan
from lensllm.search.log import FILE_NAME, DecisionLog
from lensllm.search.replay import replay_folder
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

BY_LOSS, BY_SCORE = NAMES = ("gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m")
EXACT = ScoreObjective(score_named("exact_match"))


class MadeUp(Executor):
    """One slot; the run of a job is what these curves say. At `failed` (a candidate and a size) there is no score.

    Scores of sizes up to `floor` are 0.
    """

    def __init__(self, failed=None, floor=0):
        self.failed, self.floor, self.asked, self.running = failed, floor, [], []

    @property
    def free_slots(self):
        return 1 - len(self.running)

    def submit(self, job):
        self.running.append(job)
        self.asked.append((job.candidate.name, job.examples))

    def wait(self, timeout=None):
        job = self.running.pop()
        name, size = job.candidate.name, job.examples
        x = math.log2(size / 25) if size else -1.0
        loss, exact = (1.5 - 0.1 * x, 0.3 + 0.01 * x) if name == BY_LOSS else (1.8 - 0.08 * x, 0.35 + 0.06 * x)
        exact = 0.0 if size <= self.floor else exact
        value = ScoreValue(error="out of paper") if (name, size) == self.failed else ScoreValue(exact, 0.01, 271)
        flops = 3e7 * size or 1e9
        return job, Run(
            name, size, "done", loss, loss, learning_rate=1e-3, validation=loss, flops=flops, test_flops=1e9,
            seconds=1.0, parameters=1, scores={"exact_match": value},
        )  # fmt: skip

    def close(self):
        self.running = []


def search_in(folder, rank_by, failed=None, floor=0, budget=0.5):
    task = read_task("define")
    plan = LadderPlan(doublings(len(task.train)), TrainingConfig(), Budget(part=budget))
    candidates = [find_candidate(name) for name in NAMES]
    search = BudgetSearch(candidates, task, plan, 0.95, 0.0005, kernel=False, folder=folder, rank_by=rank_by)
    executor, store = MadeUp(failed, floor), Store(folder)
    try:
        drive(search, executor, store)
    finally:
        store.close()
    return search, executor.asked


def test_where_all_scores_are_0_the_loss_chooses(tmp_path):
    search, _ = search_in(tmp_path, EXACT, floor=1e9, budget=0.2)
    assert search.decision.choice == BY_LOSS
    assert search.decision.p_best < 0.9


def highest(asked, name):
    return max(size for one, size in asked if one == name)


def test_the_one_that_is_better_by_score_is_kept(tmp_path):
    (by_loss, _), (by_score, asked) = search_in(tmp_path / "loss", None), search_in(tmp_path / "score", EXACT)
    assert (by_loss.decision.choice, by_score.decision.choice) == NAMES
    assert by_score.decision.p_best > 0.9
    assert highest(asked, BY_SCORE) >= highest(asked, BY_LOSS)


def test_its_log_replays_and_goes_on_and_is_no_search_by_loss(tmp_path):
    search, _ = search_in(tmp_path, EXACT)
    log = DecisionLog.read(tmp_path)
    assert (log.objective.name, log.objective.floor, log.objective.ceiling) == ("exact_match", 0.0, 1.0)
    replayed = replay_folder(tmp_path)
    assert all(made.agrees for made in replayed)
    assert replayed[-1].decided == search.decision
    again, asked = search_in(tmp_path, EXACT)
    assert (asked, again.decision) == ([], search.decision)
    other, _ = search_in(tmp_path, None)
    assert other.decision.choice == BY_LOSS
    assert isinstance(DecisionLog.read(tmp_path).objective, Loss)


def test_a_log_from_before_scores_decided_is_one_by_loss(tmp_path):
    search_in(tmp_path, None)
    fields = json.loads((tmp_path / FILE_NAME).read_text())
    assert fields.pop("score") == {}
    (tmp_path / FILE_NAME).write_text(json.dumps({**fields, "version": 3}))
    assert isinstance(DecisionLog.read(tmp_path).objective, Loss)
    assert all(made.agrees for made in replay_folder(tmp_path))


def test_a_candidate_without_the_score_is_run_no_further(tmp_path):
    search, asked = search_in(tmp_path, EXACT, failed=(BY_SCORE, 50))
    assert highest(asked, BY_SCORE) == 50
    assert search.decision.choice == BY_LOSS
    assert highest(asked, BY_LOSS) > 50


def test_a_model_as_it_came_without_a_score_goes_on(tmp_path):
    search, _ = search_in(tmp_path, EXACT, failed=(BY_SCORE, 0))
    assert search.decision.choice == BY_SCORE


@pytest.mark.parametrize(("objective", "expected"), [(Loss(), 0.1823), (EXACT, 0.0455)])
def test_regret_is_of_the_loss_or_of_the_range_of_a_score(objective, expected):
    """Odds of 1.2 and 1: scores of 0.4545 and 0.5."""
    assert float(objective.regret(1.2, 1.0)) == pytest.approx(expected, abs=1e-4)
