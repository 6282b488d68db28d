"""The default forecast: what the network brings, and that its errors are what they are said to be."""

import numpy as np
import pytest
from scipy.stats import kstest
from scipy.stats import t as student

from lensllm.curves import Curves
from lensllm.prior import draw_pools
from lensllm.selectors import GrowingSlopes, PriorFitted
from lensllm.selectors.prior_prediction import predict_pool

SIZES = [50, 100, 200, 400]
LOSSES = [[1.9, 1.82, 1.75, 1.68], [2.0, 1.88, 1.77, 1.67], [1.7, 1.69, 1.66, 1.65], [2.3, 2.0, 1.8, 1.7]]


def pool():
    return Curves(tuple("abcd"), SIZES, LOSSES)


def drawn(seed, count, candidates, sizes):
    """Pools of the prior as curves, their targets and what became of them."""
    pools = draw_pools(np.random.default_rng(seed), count, candidates, sizes)
    for b in range(count):
        curves = Curves(tuple(f"m{k:02}" for k in range(candidates)), 2.0 ** pools.x[b], np.exp(pools.y[b]))
        yield curves, float(2.0 ** (pools.x[b, -1] + pools.ahead[b])), np.exp(pools.truth[b])


def test_own_errors_are_the_mixture_that_the_network_says_at_every_size():
    made = PriorFitted().forecast(pool(), 3200, [800, 6400])
    prediction = predict_pool(pool(), made.sizes, -1)
    for s in range(3):
        for k in range(4):

            def below(x, s=s, k=k):
                parts = (x[:, None] - prediction.place[s, k]) / prediction.scale[s, k]
                return (prediction.weight[s, k] * student.cdf(parts, 4)).sum(axis=1)

            assert kstest(made.own_errors[:, s, k], below).pvalue > 1e-3


def test_at_measured_sizes_nothing_is_uncertain_but_the_test_set():
    made = PriorFitted().forecast(pool(), 3200, [100, 400])
    assert not made.at(100).own_errors[:, 0].any()
    np.testing.assert_allclose(made.at(400).mean, np.array(LOSSES)[:, 3])
    np.testing.assert_allclose(made.means[0], np.array(LOSSES)[:, 1])


def test_half_of_the_worlds_share_what_the_slopes_say_and_half_what_the_network_says():
    made, slopes = (s.forecast(pool(), 3200) for s in (PriorFitted(), GrowingSlopes()))
    np.testing.assert_array_equal(made.common_errors[::2], slopes.common_errors[::2])
    assert not np.isclose(made.common_errors[1::2], slopes.common_errors[1::2]).any()


def test_the_own_part_of_the_means_is_three_quarters_of_the_slopes():
    wide, plain, net = (
        np.log(s.forecast(pool(), 3200).mean) for s in (PriorFitted(), GrowingSlopes(), PriorFitted(own_weight=1.0))
    )
    np.testing.assert_allclose(wide, 0.75 * plain + 0.25 * net, atol=1e-12)
    assert np.abs(plain - net).max() > 1e-3


def test_a_single_candidate_has_the_forecast_of_the_slopes():
    alone = Curves(("a",), SIZES, LOSSES[:1])
    made, slopes = (s.forecast(alone, 3200) for s in (PriorFitted(), GrowingSlopes()))
    np.testing.assert_array_equal(made.samples, slopes.samples)


def test_those_that_were_never_measured_get_nothing_and_change_nothing():
    more = Curves((*"abcd", "e"), SIZES, [*LOSSES, [np.nan] * 4])
    made, plain = (PriorFitted().forecast(c, 3200) for c in (more, pool()))
    np.testing.assert_allclose(made.samples[:, :4], plain.samples, rtol=1e-12)
    assert np.isnan(made.samples[:, 4]).all()


@pytest.mark.parametrize("sizes", [1, 3, 6])
def test_on_pools_of_the_prior_it_is_calibrated_and_knows_more_than_the_slopes(sizes):
    """90 % intervals of own moves beside the pool hold 85 to 95 % of them; P(best) has the better log score."""
    inside, score = [], {"prior": [], "slopes": []}
    for curves, target, truth in drawn(sizes, 120, 8, sizes):
        made, slopes = (s.forecast(curves, target) for s in (PriorFitted(), GrowingSlopes()))
        score["prior"].append(-np.log(max(made.p_best[truth.argmin()], 1e-4)))
        score["slopes"].append(-np.log(max(slopes.p_best[truth.argmin()], 1e-4)))
        prediction = predict_pool(curves, np.array([target]), -1)
        move = np.log(truth) - prediction.last
        parts = (move - move.mean() - (prediction.own[0] - prediction.own[0].mean()))[:, None] - prediction.place[0]
        below = (prediction.weight[0] * student.cdf(parts / prediction.scale[0], 4)).sum(axis=1)
        inside.append(np.mean((below > 0.05) & (below < 0.95)))
    assert 0.8 < np.mean(inside) < 0.96
    assert np.mean(score["prior"]) < np.mean(score["slopes"])


def test_the_kind_is_one_of_those_that_are_known():
    with pytest.raises(ValueError, match="novels"):
        PriorFitted(kind="novels")
