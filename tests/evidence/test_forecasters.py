"""What the forecasters are judged by: rivals with their one parameter, the hand-made model, misses by direction."""

import numpy as np
import pandas as pd
import pytest

from evidence.accuracy import metrics
from evidence.prior import forecasters
from evidence.prior.hand_made import hand_made
from evidence.prior.sets import cases
from lensllm.selectors import GrowingSlopes, SubTuning


@pytest.fixture(scope="module")
def case():
    return next(case for case in cases("published") if case.part == 64)


def test_the_hand_made_model_is_the_slopes_with_other_errors(case):
    mean, samples = hand_made(case.seen, case.target)
    made = GrowingSlopes().forecast(case.seen, case.target)
    np.testing.assert_array_equal(mean, np.log(made.mean))
    order = np.argsort([loss[np.isfinite(loss)][-1] for loss in case.seen.losses])
    kept = np.mean([np.corrcoef(np.argsort(np.argsort(one)), np.argsort(order))[0, 1] for one in samples[:200]])
    assert samples.shape == made.samples.shape
    assert kept > 0
    again = hand_made(case.seen, case.target)[1]
    np.testing.assert_array_equal(samples, again)
    far = np.abs(samples - np.median(samples, axis=0))
    plain = np.abs(np.log(made.samples) - np.log(made.mean))
    assert np.quantile(far, 0.999) / np.quantile(far, 0.9) > np.quantile(plain, 0.999) / np.quantile(plain, 0.9)


def test_half_of_its_chances_are_a_softmax_of_the_last_losses(case):
    mean, samples = hand_made(case.seen, case.target)
    row = forecasters._row(forecasters.BY_HAND, case, mean, samples)
    last_losses = np.log(SubTuning().forecast(case.seen, case.target).mean)
    last = forecasters._row(forecasters.LAST, case, last_losses, None)
    table = pd.DataFrame([row, last, forecasters._row(forecasters.OURS, case, mean, samples)])
    made = forecasters.summary(table, {forecasters.LAST: {"published": 0.1}})
    chances = (row["chances"] + metrics.chances(last_losses, 0.1)) / 2
    expected = metrics.log_score(chances, case.truth)
    assert made["means"]["log_score"][forecasters.BY_HAND]["published"] == pytest.approx(expected)
    assert chances.sum() == pytest.approx(1)


def test_both_together_has_the_worlds_of_both(case):
    mean, samples = forecasters.both_together(case.seen, case.target)
    own, theirs = (
        forecasters._asked(forecasters.PriorFitted())(case.seen, case.target),
        hand_made(case.seen, case.target),
    )
    np.testing.assert_allclose(mean, (own[0] + theirs[0]) / 2)
    assert len(samples) == len(own[1]) + len(theirs[1])


def test_misses_are_told_by_direction_and_part():
    rows = [
        {"method": forecasters.OURS, "set": "s", "part": part, "task": task, "covered": covered, "below": below}
        for part, task, covered, below in ((4, "a", 90.0, 10.0), (4, "b", 80.0, 0.0), (8, "a", 100.0, 0.0))
    ]
    rows.append({**rows[0], "method": "another", "covered": 0.0})
    assert forecasters._missed(pd.DataFrame(rows)) == {"s": {"4": [5.0, 10.0], "8": [0.0, 0.0]}}
    assert forecasters._below_above([5.2, 10.0]) == "5 / 10"
    assert forecasters._below_above(None) == ""
