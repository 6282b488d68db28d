"""The share of the hypervolume is that of a dense count, and what is handed over is what nothing smaller beats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.accuracy.published import TARGET
from evidence.cost import cost
from evidence.cost.front import REFERENCE, front_share, unbeaten
from lensllm.search.replay import replay
from lensllm.search.successive_halving import SuccessiveHalving
from lensllm.selectors import AcceptThenStop

POOLS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    min_size=2,
    max_size=8,
    unique_by=lambda p: p[:2],
)


def dense(size, loss, chosen, steps=2200):
    """The same area counted in small cells."""
    x, y = (np.asarray((v - v.min()) / (np.ptp(v) or 1.0)) for v in (np.log(size), loss))
    at = (np.arange(steps) + 0.5) * REFERENCE / steps
    best = np.min([np.where(at >= x[k], y[k], REFERENCE) for k in chosen], axis=0)
    return (REFERENCE - best).mean() * REFERENCE


@given(POOLS)
def test_the_volume_is_that_of_a_dense_count(pool):
    size, loss, believed = (np.array(v, float) for v in zip(*pool, strict=True))
    share = front_share(size, believed, loss)
    counted = dense(size, loss, unbeaten(size, believed)) / dense(size, loss, np.arange(len(pool)))
    assert share == pytest.approx(100 * counted, abs=0.5)
    assert front_share(size, loss, loss) == pytest.approx(100)


def test_what_a_smaller_one_beats_is_not_handed_over():
    size, loss = np.array([1.0, 2, 2, 4, 8]), np.array([3.0, 2, 1.5, 1.5, np.nan])
    assert unbeaten(size, loss).tolist() == [0, 2]


def test_a_policy_believes_what_it_decides_by():
    pool = cost.published_pools(1)["flan"]
    rows = pool.subsets[0]
    curves, costs, _ = pool.case(rows)
    plain = replay(SuccessiveHalving(5, 0.5), curves, costs, count=20)
    believed = cost.believed_at_last(plain, curves, None)
    at_rung = [int((believed == curves.losses[:, rung]).sum()) for rung in range(14)]
    assert at_rung == [0, 0, 0, 0, 10, 5, 2, 1, 2, 0, 0, 0, 0, 0]  # 20, 10, 5, 3, 2 and 1 went on
    slope = AcceptThenStop(3, 0.0)
    steps = replay(SuccessiveHalving(14, 0.5, slope), curves, costs, count=20)
    whole = cost.believed_at_last(steps, curves, slope)
    np.testing.assert_array_equal(whole, slope.forecast(curves, TARGET).mean)


def test_the_default_hands_over_a_front_at_every_decision():
    pool = cost.published_pools(1)["gigaword"]
    short = cost.Pool(pool.curves.up_to(6400), pool.costs[:, :6], [pool.subsets[0][:6]])
    [trace] = cost.traces(short, cost.PriorFitted(), 0.004)
    assert trace.front.shape == trace.spent.shape == trace.optimum.shape
    assert (trace.front > 0).all()
    assert (trace.front <= 100 + 1e-9).all()
    assert ((trace.optimum == 100) == (trace.is_best == 1)).all()


def test_processes_make_the_same_traces():
    pool = cost.published_pools(1)["gigaword"]
    short = cost.Pool(pool.curves.up_to(6400), pool.costs[:, :6], [pool.subsets[0][:6]])
    selector = cost.PriorFitted()
    [[apart], _] = cost.traces_of([(short, selector, 0.004, 1)] * 2)
    [here] = cost.traces(short, selector, 0.004)
    assert (apart.spent == here.spent).all()
    assert (apart.p_best == here.p_best).all()
