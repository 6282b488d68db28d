"""The bound as it is printed, without its curvature term, and with eps fixed before the data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evidence.theory.own_bounds import EPSILONS, value

BOUNDS = Path(__file__).parents[2] / "evidence" / "study" / "bounds.csv"


@pytest.fixture(scope="module")
def table():
    rows = pd.read_csv(BOUNDS)
    return rows[rows["status"] == "done"]


def test_the_formula_is_the_one_that_was_printed(table):
    np.testing.assert_allclose(value(table, table["curvature"]), table["bound"], rtol=1e-9)


def test_a_part_of_the_curves_lies_above_the_test_loss_without_the_hessian(table):
    """What the curvature term adds to validity: the other terms alone hold most of them."""
    alone = value(table, 0.0) >= table["test_loss"]
    whole = value(table, table["curvature"]) >= table["test_loss"]
    assert whole.all()
    assert 0.8 < alone.mean() < 1


def test_eps_fixed_before_the_data_costs_more_than_the_best_after(table):
    after, before = (value(table, table["curvature"], eps) for eps in (None, EPSILONS))
    assert (before > after).all()
    dense = value(table, table["curvature"], np.geomspace(0.05, 0.8, 2000))
    assert (dense > before).all()  # more values cost more than they bring
