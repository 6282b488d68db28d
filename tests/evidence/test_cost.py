"""The replay is the measure of the reference numbers, and what it reports is what happened."""

import numpy as np
import pandas as pd
import pytest

from evidence.accuracy.published import TARGET
from evidence.accuracy.random_pools import random_subsets
from evidence.cost import cost
from evidence.cost.cost_page import tables
from evidence.study.config import StudyConfig
from evidence.study.runs import COLUMNS
from lensllm.curves import Curves
from lensllm.search.successive_halving import SuccessiveHalving

TASKS = list(cost.TASKS)


@pytest.fixture(scope="module")
def pools():
    return cost.published_pools(100)


def test_halving_on_the_current_loss_costs_what_was_measured_elsewhere(pools):
    """0.35 of fine-tuning everything for RelAcc >= 99 in 80 % of cases, 0.41 in 95 %."""
    for start, cost_known, certainty in ((5, 0.35, 0.8), (6, 0.41, 0.95)):
        policy = SuccessiveHalving(start, 0.75)
        points = {t: np.array([cost._end(policy, pool, rows) for rows in pool.subsets]) for t, pool in pools.items()}
        assert cost.spent(points, TASKS) == pytest.approx(cost_known, abs=0.005)
        assert cost.success(points, TASKS, 99) >= certainty - 0.005


def test_a_case_costs_1_to_fine_tune_and_2_with_its_ladder(pools):
    curves, costs, losses = pools["flan"].case(pools["flan"].subsets[0])
    assert costs[:, -1].sum() == pytest.approx(1)
    assert costs.sum() == pytest.approx(2, abs=1e-3)
    assert losses.tolist() == curves.at(TARGET).tolist()


def test_stopping_earlier_is_reading_the_trace_up_to_there(pools):
    [trace] = cost.traces(pools["gigaword"], cost.PriorFitted(), 0.004, subsets=1)
    rows = pools["gigaword"].subsets[0]
    curves, costs, losses = pools["gigaword"].case(rows)
    for budget in (0.02, 0.05):
        last = cost.replay(cost.ExpectedRegret(p_best=1.0, start_part=0.004), curves, costs, budget=budget)[-1]
        at = trace.within(budget)
        assert trace.spent[at] == pytest.approx(last.spent)
        assert trace.rel_acc[at] == cost.rel_acc(losses, curves.candidates.index(last.decision.choice))
    at = trace.at(trace.p_best >= 0.7)
    last = cost.replay(cost.ExpectedRegret(p_best=0.7, start_part=0.004), curves, costs)[-1]
    assert trace.spent[at] == pytest.approx(last.spent)


def outcomes(points):
    """Outcomes of one policy from {shape: {dial: {task: [(cost, rel_acc)]}}}."""
    return {"p": {s: {d: {t: np.array(v) for t, v in by.items()} for d, by in ds.items()} for s, ds in points.items()}}


def test_settings_come_from_the_other_tasks():
    """On a, dial 2 is needed; on b and c dial 1 does: a is run at 1 and fails, b and c are run at 2."""
    easy, hard = [(0.1, 100.0)], [(0.1, 50.0)]
    made = outcomes({(1.0,): {1.0: {"a": hard, "b": easy, "c": easy}, 2.0: {t: [(0.4, 100.0)] for t in "abc"}}})
    good = lambda p, t: cost.success(p, t, 99) >= 0.9  # noqa: E731
    row = cost.needed(made, dict.fromkeys("abc", made), list("abc"), good)["p"]
    assert row["hindsight"]["cost"] == pytest.approx(0.4)
    assert row["left_out"]["cost"] == pytest.approx((0.1 + 0.4 + 0.4) / 3)
    assert cost.success(row["left_out"]["points"], list("abc"), 99) == pytest.approx(2 / 3)
    assert row["shape_left_out"]["cost"] == pytest.approx(0.4)


def test_never_is_none():
    made = outcomes({(1.0,): {1.0: {t: [(0.1, 50.0)] for t in "ab"}}})
    row = cost.needed(made, dict.fromkeys("ab", made), ["a", "b"], lambda p, t: cost.success(p, t, 99) >= 0.9)["p"]
    assert row == {"hindsight": None, "shape_left_out": None, "left_out": None}


def test_reliability_counts_what_was_said_against_what_was():
    trace = cost.Trace(
        *(
            np.array(v, float)
            for v in ([0.0, 0.15], [90, 100], [99, 100], [98, 100], [0.25, 0.85], [0, 0], [0, 0], [0, 1])
        )
    )
    bins = cost.reliability({"a": [trace]})
    before = sum(stop < 0.15 for stop in cost.STOPS)
    assert bins == [
        {"stated": 0.25, "best": 0.0, "cases": before},
        {"stated": 0.85, "best": 1.0, "cases": len(cost.STOPS) - before},
    ]


def test_subsets_are_the_same_every_time():
    first, again = (random_subsets(30, 20, 5, seed=0) for _ in range(2))
    assert all((a == b).all() and len(set(a)) == 20 for a, b in zip(first, again, strict=True))
    assert random_subsets(13, 8, 2, seed=0)[1].tolist() == [3, 4, 5, 6, 7, 8, 9, 11]


def test_the_page_shows_every_policy(pools):
    few = {t: cost.Pool(p.curves.up_to(6400), p.costs[:, :6], p.subsets[:2]) for t, p in pools.items()}
    made = cost.fixed_outcomes(few)
    by_shape = {(0.05,): {t: cost.traces(p, cost.PriorFitted(), 0.05) for t, p in few.items()}}
    all_of_them = made | cost.default_outcomes(by_shape)
    split = {
        "tasks": TASKS, "subsets": 2, "models": 20, "seed": 0,
        **cost.tables(all_of_them, dict.fromkeys(TASKS, all_of_them), TASKS),
        "frontiers": cost.frontiers(all_of_them, TASKS), "reliability": cost.reliability(by_shape[0.05,]),
    }  # fmt: skip
    for own, count in ((None, 8), (split, 16)):
        page = tables({"published": split, "own": own, "own_split": "design"})
        for name in ("successive halving on the current loss", "ASHA", "expected regret, to a budget"):
            assert page.count(f"| {name} |") == count
        assert ("Our own curves (design tasks)" in page) == (own is not None)


def test_a_curve_is_forecast_once_and_the_same():
    asked = []

    class Counting(cost.AcceptThenStop):
        def point(self, curve, target_size):
            asked.append(curve.candidates)
            return super().point(curve, target_size)

    curves = Curves(("a", "b"), np.array([1.0, 2, 4]), np.array([[3.0, 2, 1.5], [3, 2.5, 2]]))
    kept = cost.Remembered(Counting())
    first, again = kept.forecast(curves, 8), kept.forecast(curves, 8)
    np.testing.assert_array_equal(first.mean, cost.AcceptThenStop().forecast(curves, 8).mean)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert len(asked) == 2


def test_our_own_runs_are_charged_the_flops_they_took(tmp_path):
    """The untouched evaluation (7) and a trial at the first rung (x 3) are in; a half-run task is out."""
    rows = []
    for task, models in (("whole", 5), ("half", 4)):
        for k in range(models):
            for size in (0, 50, 100, 200):
                flops = 7.0 if size == 0 else (k + 1) * size * (3 if size == 50 else 1)
                row = {"task": task, "candidate": f"gpt2-{k}", "examples": size, "seed": 0, "flops": flops}
                rows.append(row | {"nats_per_byte": 2.0 + 0.1 * k - size / 1000, "parameters": 9, "status": "done"})
    pd.DataFrame(rows).reindex(columns=COLUMNS).to_csv(tmp_path / "runs.csv", index=False)
    study = StudyConfig(
        design_tasks=["whole", "half"], report_tasks=["whole"], models=[f"gpt2-{k}" for k in range(5)],
        sizes=[50, 100, 200], output_dir=str(tmp_path), table=str(tmp_path / "runs.csv"),
    )  # fmt: skip
    pools = cost.own_pools(study, study.design_tasks, 3)
    assert list(pools) == ["whole"]
    np.testing.assert_allclose(pools["whole"].costs[1], [307.0, 200.0, 400.0])
    assert [len(rows) for rows in pools["whole"].subsets] == [4, 4, 4]
    result = cost.run_own(study, report=False, subsets=2)
    assert result["reach"]["99@70%"]["full"]["hindsight"]["cost"] > 1
    assert cost.run_own(study.model_copy(update={"table": "nowhere.csv"}), report=False) is None
