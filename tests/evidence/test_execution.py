"""The simulation of a cluster in short: every part of it runs, on four slots."""

import math

import pytest

pytest.importorskip("ray")

from evidence.execution.execution import at_scale, parts, replayed

pytestmark = pytest.mark.xdist_group("ray")


def test_a_search_is_replayed_on_ray_and_its_costs_are_told(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    told = replayed(20, 4, 0.05, 0.0)
    assert told["stopped"] == "the budget ends"
    assert told["runs"] > 3 * 20
    assert told["decisions"] > 0
    assert told["overhead_a_job_seconds"] > 0
    shares = [told[f"idle_share_by_{who}"] for who in ("machinery", "search")]
    assert all(math.isfinite(share) and share >= 0 for share in shares), shares
    assert told["store_bytes"] > 0 < told["log_bytes"]


def test_the_drivers_share_is_timed_and_extrapolated():
    timed = parts(20)
    assert timed["seconds"] == pytest.approx(sum(timed[part] for part in ("store", "state", "decision", "log")))
    replay = {"driver_a_result_seconds": 0.1, "runs": 5_000, "store_bytes": 5e6}
    told = at_scale(replay, timed)
    assert told["driver_a_result_seconds"] == timed["seconds"] + 0.1
    assert told["run_seconds_below_which_the_driver_is_the_limit"] == 1_000 * told["driver_a_result_seconds"]
    assert told["store_bytes"] == pytest.approx(5e7)
