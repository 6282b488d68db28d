"""Losses as a second witness of which candidate is best by score."""

from dataclasses import replace

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.forecast import stream
from lensllm.objectives import Between
from lensllm.odds import odds_of
from lensllm.selectors import GaussianProcess, ScoresBesideLosses, default_selector

SIZES = [50, 100, 200]
NAMES = ("a", "b", "c", "d")
FLOOR = [[0.0, 0.004, 0.0], [0.004, 0.0, 0.0], [0.0, 0.0, 0.004], [0.0, 0.0, 0.0]]
LOSSES = [[3.0, 2.9, 2.8], [2.0, 1.85, 1.7], [3.1, 3.0, 2.9], [3.2, 3.1, 3.0]]


def scores(values=FLOOR, losses=LOSSES, names=NAMES):
    """Of 271 answers, binomial standard errors."""
    values = np.array(values, float)
    errors = np.sqrt(np.maximum(values * (1 - values), 1 / 271) / 271)
    beside = None if losses is None else Curves(names, SIZES, losses)
    return odds_of(Curves(names, SIZES, values, standard_errors=errors, beside=beside), Between("exact_match"))


def test_scores_at_their_floor_leave_the_word_to_the_losses():
    alone, made = GaussianProcess().forecast(scores(), 800), ScoresBesideLosses().forecast(scores(), 800)
    assert alone.p_best.max() < 0.5
    assert (made.best, NAMES[int(made.p_best.argmax())]) == ("b", "b")
    assert made.p_best[1] > alone.p_best[1] + 0.03


def test_losses_do_not_talk_a_clear_score_away():
    clear = scores([[0.5, 0.6, 0.7], [0.1, 0.12, 0.14], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]])
    made = ScoresBesideLosses().forecast(clear, 800)
    assert made.best == "a"
    assert made.p_best[0] > 0.97


def test_without_losses_beside_it_is_the_scores_own_forecast():
    alone, made = (one.forecast(scores(losses=None), 800) for one in (GaussianProcess(), ScoresBesideLosses()))
    assert (alone.mean == made.mean).all()
    assert (alone.samples == made.samples).all()


def test_losses_that_say_nothing_change_nothing():
    nothing = np.full((4, 3), np.nan)
    alone, made = (one.forecast(scores(losses=nothing), 800) for one in (GaussianProcess(), ScoresBesideLosses()))
    assert (alone.samples == made.samples).all()


@pytest.mark.parametrize("seed", range(5))
def test_chances_are_in_proportion_to_both_words(seed):
    """P(truly best) is that of the scores times that of the losses, tempered; counted in 2,000 worlds drawn again."""
    drawn = stream(seed, 90).random((4, 3))
    curves = scores(0.2 + 0.1 * drawn, 2.0 + drawn[::-1])
    alone, made = (one.forecast(curves, 800) for one in (GaussianProcess(), ScoresBesideLosses(misleads=0.6)))
    losses = default_selector(curves.beside).forecast(curves.beside, 800)
    sharp, weighed = (replace(one, test_error=np.zeros(0)) for one in (alone, made))
    expected = sharp.p_best * (0.4 * losses.p_best + 0.6 / 4)
    assert weighed.p_best == pytest.approx(expected / expected.sum(), abs=0.0011)


def test_point_forecasts_and_errors_stay_centred_as_they_were():
    alone, made = (one.forecast(scores(), 800, [400]) for one in (GaussianProcess(), ScoresBesideLosses()))

    def errors(forecast):
        return (forecast.own_errors + forecast.common_errors).mean(axis=0)

    assert errors(made) == pytest.approx(errors(alone), abs=1e-9)
    assert made.mean[1] < alone.mean[1]
    again = ScoresBesideLosses().forecast(scores(), 800)
    assert (again.mean == made.mean).all()
    assert (again.samples == made.samples).all()


def test_the_order_of_candidates_changes_nothing():
    turned = scores().of(NAMES[::-1])
    one, other = (ScoresBesideLosses().forecast(curves, 800) for curves in (scores(), turned))
    assert (one.samples == other.samples[:, ::-1]).all()
    assert (one.mean == other.mean[::-1]).all()


def test_a_score_that_is_known_stays_what_it_is():
    known = odds_of(
        Curves(NAMES, [*SIZES, 800], np.hstack([FLOOR, [[0.1], [np.nan], [np.nan], [np.nan]]])), Between("exact_match")
    )
    beside = Curves(NAMES, [*SIZES, 800], np.hstack([LOSSES, [[2.5], [np.nan], [np.nan], [np.nan]]]))
    made = ScoresBesideLosses().forecast(Curves(known.candidates, known.sizes, known.losses, beside=beside), 800)
    assert np.isfinite(made.mean).all()
    assert np.ptp(np.log(made.samples[:, 0])) < np.ptp(np.log(made.samples[:, 1]))


def test_losses_beside_go_along_when_curves_are_cut():
    curves = scores()
    assert curves.of(["c"]).beside.losses.tolist() == [LOSSES[2]]
    assert curves.up_to(100).beside.sizes.tolist() == [50, 100]
    seen = np.zeros((4, 3), bool)
    seen[:, 0] = True
    assert np.isfinite(curves.showing(seen).beside.losses).sum() == 4
