"""Searches by a score, replayed: what is lost is counted in points of the score, and dials read the same walk."""

import numpy as np
import pytest

from evidence.scores import score_search
from evidence.second_study.config import STUDY, SecondStudy
from lensllm.curves import Curves
from lensllm.objectives import Between
from lensllm.search.regret import ExpectedRegret


def case(values, losses=None):
    """Sizes 100, 200, ...; each rung costs its examples."""
    values = np.array(values, float)
    names = tuple("abcdefgh"[: len(values)])
    sizes = 100.0 * 2 ** np.arange(values.shape[1])
    curves = Curves(names, sizes, values)
    errors = np.full(values.shape, 0.02)
    known = None if losses is None else Curves(names, sizes, np.array(losses, float))
    return score_search._case(Between("score"), curves, values, errors, np.broadcast_to(sizes, values.shape), known)


CLEAR = [[0.2, 0.3, 0.4, 0.5, 0.6], [0.5, 0.6, 0.7, 0.8, 0.9]]
FALLING = [[1.0, 0.9, 0.8, 0.7, 0.6], [1.2, 1.15, 1.1, 1.05, 1.0]]


def test_fine_tuning_everything_costs_1_and_its_ladder_nearly_2():
    made = case(CLEAR)
    assert made.costs[:, -1].sum() == pytest.approx(1)
    walk = score_search.walked(ExpectedRegret(p_best=1.0, selector=score_search.GaussianProcess()), made.odds, made)
    assert walk[-1, 0] <= 31 / 16 + 1e-9
    assert (walk[:, 3] == 0).all()


def test_going_by_the_loss_loses_what_the_score_says():
    """By loss a is better, by score b, by 30 points."""
    made = score_search.of_task(score_search.Searched("made", Between("score"), [case(CLEAR, FALLING)]))
    assert made["searches"][score_search.SHIPPED]["P(best) 0.95"][1] == 0
    assert made["searches"][score_search.BY_LOSS]["P(best) 0.95"][1] == pytest.approx(30)
    assert made["best_over_median"] == pytest.approx(15)
    beside = score_search.against([made, made])[score_search.BY_LOSS]
    assert (beside["tasks"], beside["points"]) == (2, pytest.approx(30))
    said = score_search.page({"tasks": [made], "against": score_search.against([made])})
    assert "+30.00" in said
    assert "1 pools of 2, 5 sizes" in said


def test_dials_read_the_walk():
    walk = np.array([[0.1, 0.5, 0.05, 4.0], [0.25, 0.85, 0.008, 2.0], [0.6, 0.9, 0.002, 0.0]])
    found = score_search.at_dials([walk])
    assert found["P(best) 0.7"] == [0.25, 2.0]
    assert found["P(best) 0.95"] == [0.6, 0.0]
    assert found["regret 0.01"] == [0.25, 2.0]
    assert found["budget 0.2"] == [0.1, 4.0]
    assert found["budget 0.3"] == [0.25, 2.0]


def test_only_design_tasks_are_searched():
    """The halves for the report, and the report tasks of both studies, are not looked at."""
    study = SecondStudy.read(STUDY)
    names = [task.name for task in score_search.searched(study, 1)]
    assert {"own: sentiment", "peft: gsm8k", "setfit: ag_news"} <= set(names)
    hidden = {"name", "sst5", "SentEval-CR", *(source.rsplit("/")[-1] for source in study.report_tasks)}
    assert not any(name.split(": ")[1].split(",")[0] in hidden for name in names)
    assert all(
        len(case.final) <= score_search.MODELS for task in score_search.searched(study, 1) for case in task.cases
    )
