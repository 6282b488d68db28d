"""The error of the test set, what a measured alternative rules out, and answers that have no basis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import with_zero_shot
from lensllm.objectives import Loss
from lensllm.search.policy import State
from lensllm.search.regret import ExpectedRegret
from lensllm.selection import doubts
from lensllm.selectors import GrowingSlopes, PriorFitted
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

SIZES = np.array([0.0, 50, 100, 200, 400])
LOSSES = np.array([[2.0, 1.5, 1.4, 1.3, 1.2], [2.1, 1.6, 1.49, 1.38, 1.28]])


def curves(error=np.nan, losses=LOSSES):
    return Curves(("a", "b"), SIZES, losses, standard_errors=np.full(losses.shape, error))


def forecast(error=np.nan, target=3200, sizes=(200, 800)):
    return with_zero_shot(PriorFitted().forecast(curves(error), target, sizes), curves(error))


@pytest.mark.parametrize("error", [0.0, np.nan])
def test_unknown_errors_change_nothing(error):
    plain = PriorFitted().forecast(Curves(("a", "b"), SIZES, LOSSES), 3200, [800])
    np.testing.assert_array_equal(PriorFitted().forecast(curves(error), 3200, [800]).paths, plain.paths)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 1.0))
def test_it_widens_every_interval_and_makes_p_best_modest(error):
    plain, made = forecast(), forecast(error)
    assert (np.diff(made.interval()) > np.diff(plain.interval())).all()
    assert made.p_best.max() <= plain.p_best.max() + 0.02
    assert (np.diff(made.at(200).interval()) > 0).all()


def test_it_has_the_size_of_the_standard_error_and_half_of_it_is_shared():
    log = np.log(forecast(0.13).at(200).samples[:, :2]) - np.log([1.3, 1.38])
    np.testing.assert_allclose(log.std(axis=0), 0.13 / LOSSES[:, 4], rtol=0.06)
    assert np.corrcoef(log.T)[0, 1] == pytest.approx(0.5, abs=0.06)


def test_with_an_error_as_large_as_the_loss_nobody_is_sure():
    assert forecast(1.0).p_best.max() < 0.7 < forecast().p_best.max()


def test_readings_do_not_tell_of_it():
    plain, made = (GrowingSlopes().forecast(curves(error), 3200, [800]).learned([0, 1]) for error in (0.0, 0.1))
    np.testing.assert_array_equal(plain, made)


def test_it_is_read_from_runs_and_comes_back_from_a_table(tmp_path):
    runs = [Run("a", n, "done", nats_per_byte=2.0, standard_error=0.1 * n) for n in (0, 50)]
    made = Curves.from_records(runs, Loss())
    assert made.standard_errors.tolist() == [[0.0, 5.0]]
    assert made.ceiling == pytest.approx(np.log(256))
    made.write_csv(tmp_path / "curves.csv")
    again = Curves.read_csv(tmp_path / "curves.csv")
    np.testing.assert_array_equal(again.standard_errors, made.standard_errors)
    assert again.ceiling == np.inf
    np.testing.assert_array_equal(Curves.from_tidy(made.tidy()).standard_errors, made.standard_errors)
    for part in (made.of(["a"]), made.with_features(made.features), made.showing(np.ones((1, 2), dtype=bool))):
        np.testing.assert_array_equal(part.standard_errors, made.standard_errors)
    assert made.up_to(0).standard_errors.tolist() == [[0.0]]
    (tmp_path / "odd.csv").write_text("candidate,examples,loss,standard_error\na,50,1.0,-1\n")
    with pytest.raises(InputError, match="row 2: 'standard_error' is '-1'"):
        Curves.read_csv(tmp_path / "odd.csv")


def test_a_model_that_was_measured_better_when_tuned_is_not_the_best_as_it_came():
    """Rising again by over-fitting: 0.9 was measured and can be used, so 1.0 as it came cannot be the best."""
    losses = np.array([[1.0, 0.9, 1.0, 1.1, 1.2], [2.0, 1.9, 1.8, 1.7, 1.6]])
    for error, sure in ((0.02, True), (0.05, False), (np.nan, True)):
        made = with_zero_shot(PriorFitted().forecast(curves(error, losses), 3200), curves(error, losses))
        assert made.candidates[-1] == "a (not fine-tuned)"
        assert (made.p_best[-1] == 0) == sure
        assert made.p_best.sum() == pytest.approx(1)
        assert (made.best != "a (not fine-tuned)") == sure
        assert (made.expected_regret >= 0).all()
    costs = np.tile(SIZES[1:], (2, 1))
    state = State(curves(0.02, losses), costs)
    assert ExpectedRegret(p_best=1.1, regret=-1).decide(state).choice != "a (not fine-tuned)"


def test_a_model_that_only_got_worse_may_be_the_best_as_it_came():
    losses = np.array([[1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 1.9, 1.8, 1.7, 1.6]])
    assert with_zero_shot(PriorFitted().forecast(curves(0.01, losses), 3200), curves(0.01, losses)).p_best[-1] > 0.9


def test_what_has_no_basis_is_said():
    (few,) = doubts(np.array([0.0, 10, 20, 50]), TrainingConfig())
    assert "10 (6), 20 (9)" in few
    assert "50" not in few
    assert doubts(np.array([0.0, 50, 100]), TrainingConfig()) == ()
