"""Search, report, fan, plan and the forecast command say the same of the same curves, to the bit."""

import json

import numpy as np
import pandas as pd
import pytest

from lensllm.cli import main
from lensllm.curves import Curves
from lensllm.forecast import with_zero_shot
from lensllm.planning import CurveSamples, plan, plan_sizes
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret
from lensllm.selection import rank
from lensllm.selectors import GrowingSlopes, GrowingSlopesKernel, PriorFitted, default_selector, forecast_path

RUNGS = 50.0 * 2 ** np.arange(7)
TARGET = float(RUNGS[-1])


def curves_of(probed, zero_shot=np.nan, seed=0):
    rng = np.random.default_rng(seed)
    names = ("delta", "alpha", "charlie", "bravo")
    slope = rng.uniform(0.05, 0.08, (4, 1))
    losses = rng.uniform(2.0, 2.1, (4, 1)) * (RUNGS / 50) ** -slope * np.exp(0.004 * rng.standard_normal((4, 7)))
    done = np.array([[4], [3], [5], [3]])
    losses = np.where(np.arange(7) < done, losses, np.nan)
    losses = np.column_stack([np.array([3.0, 2.8, zero_shot, 3.1]), losses])
    probes = {f"kernel_{d}": 2.6 - 0.1 * k + rng.uniform(0, 0.05, 4) for k, d in enumerate((8, 16, 32))}
    features = pd.DataFrame(probes | {"zero_shot_probe_loss": [3.0, 2.8, 3.0, 3.1]}, index=list(names))
    return Curves(names, np.append(0.0, RUNGS), losses, features if probed else pd.DataFrame())


def measured(curves):
    """As a selection keeps them: without the sizes at which nothing was measured."""
    return Curves.from_tidy(curves.tidy(), curves.features).of(curves.candidates)


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("zero_shot", [3.0, 1.5])
def test_everybody_gives_the_same_p_best(probed, zero_shot, tmp_path, capsys):
    curves = curves_of(probed, zero_shot)
    policy = ExpectedRegret(p_best=1.0)
    costs = np.tile(RUNGS, (4, 1))
    earlier = curves.showing(np.broadcast_to(np.arange(8) < 4, curves.losses.shape))
    policy.decide(State(earlier, costs))  # what it has fitted and drawn for another decision is no matter
    state = State(curves, costs)
    searched = policy.forecast(state)
    decision = policy.decide(state)
    seen = measured(curves)
    fan = forecast_path(default_selector(seen), seen, TARGET, plan_sizes(seen, TARGET))
    rows, joint = rank(seen, fan, [])
    planned = plan(seen, TARGET, gain=0.02).samples
    samples = CurveSamples.of(joint, seen)

    printed = {row.candidate: row.p_best for row in rows}
    assert decision.p_best == printed[decision.choice]
    assert dict(zip(searched.candidates, searched.p_best, strict=True)) == printed
    for made in (planned, samples):
        np.testing.assert_array_equal(made.at(TARGET), fan.samples)
        assert with_zero_shot(made.forecast, seen).p_best.tolist() == joint.p_best.tolist()
    seen.write_csv(tmp_path / "curves.csv")
    with pytest.raises(SystemExit):
        main(["forecast", str(tmp_path / "curves.csv"), "--target-size", str(TARGET), "--json"])
    rows = json.loads(capsys.readouterr().out)["candidates"]
    assert {row["candidate"]: row["p_best"] for row in rows} == printed


def test_the_default_is_chosen_in_one_place():
    plain, probed = curves_of(False), curves_of(True)
    assert [type(default_selector(curves).slopes) for curves in (plain, probed)] == [GrowingSlopes, GrowingSlopesKernel]
    by_kernel = PriorFitted(GrowingSlopesKernel()).forecast(measured(probed), TARGET)
    np.testing.assert_array_equal(plan(measured(probed), TARGET, gain=0.02).samples.points, by_kernel.mean)
    chosen = plan(measured(probed), TARGET, gain=0.02, selector=GrowingSlopes()).samples
    np.testing.assert_array_equal(chosen.points, GrowingSlopes().forecast(measured(probed), TARGET).mean)
