"""Public score curves: the halves are apart, the pools are whole, the committed numbers keep what the docs say."""

import json

import numpy as np
import pandas as pd
import pytest

from evidence.scores.link import linked
from evidence.scores.pools import CURVES, SETS, half, pools
from evidence.scores.scores import RESULT, judged, mean_and_interval, rel_acc


@pytest.mark.parametrize("source", SETS)
def test_design_and_report_share_nothing_and_leave_nothing_out(source):
    table = pd.read_csv(CURVES / f"{source}.csv")
    design, report = (half(source, table, which) for which in (False, True))
    key = ["candidate"] if source == "peft" else ["task"]
    assert not set(map(tuple, design[key].to_numpy())) & set(map(tuple, report[key].to_numpy()))
    assert len(design) + len(report) == len(table)
    assert min(len(design), len(report)) > 0


def test_pools_hide_the_target_and_hold_scores():
    found = list(pools(True))
    assert {pool.source for pool in found} == set(SETS)
    for pool in found:
        assert pool.scores.sizes.max() < pool.target
        assert pool.truth.shape == (len(pool.scores.candidates),)
        assert np.isfinite(pool.truth).all()
        assert pool.objective.floor <= pool.truth.min() <= pool.truth.max() <= 1
        assert np.isfinite(pool.odds.losses).any(axis=1).all()


def test_metrics_of_scores_take_more_for_better():
    truth = np.array([0.2, 0.9, 0.6])
    assert (rel_acc(np.array([0.1, 0.8, 0.3]), truth), rel_acc(np.array([0.9, 0.1, 0.1]), truth)) == (100, 0)
    sure = judged(np.tile(truth, (10, 1)) + 1e-3 * np.linspace(-1, 1, 10)[:, None], truth)
    assert (sure["covered"], sure["brier"]) == (100, 0)
    assert mean_and_interval(np.array([1.0, np.nan, 3.0]))["tasks"] == 2


def test_the_link_never_falls():
    losses = np.log([[2.0, 1.5, 1.2], [1.8, 1.4, 1.1]])
    rising = linked(-losses, np.full((2, 3), 0.1), losses, np.log([[1.0, 0.9]]))
    flat = linked(-losses, np.full((2, 3), 0.1), losses, np.log([[0.1, 0.1]]))
    assert np.array_equal(rising, flat)


def test_the_committed_numbers_are_those_of_the_docs():
    report = json.loads(RESULT.read_text())["report"]
    ours, last = (report["methods"][name]["all"] for name in ("gaussian_process", "last_score"))
    assert round(ours["covered"]["mean"], 1) == 97.7
    assert (round(ours["rmse"]["mean"], 3), round(last["rmse"]["mean"], 3)) == (0.042, 0.056)
    assert round(report["rel_acc_above"]["last_score"]["all"]["mean"], 1) == 0.6
