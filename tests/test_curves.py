"""The table of curves: shapes, layouts, round trips, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.curves import Curves
from lensllm.errors import InputError


def two_curves():
    losses = np.array([[5.0, 4.0, 3.0], [6.0, np.nan, 2.5]])
    features = pd.DataFrame({"size": [10, 20]}, index=["a", "b"])
    return Curves(("a", "b"), np.array([0, 50, 100]), losses, features)


def test_views_keep_names_sizes_and_features():
    curves = two_curves()
    np.testing.assert_array_equal(curves.at(100), [3.0, 2.5])
    assert list(curves.up_to(60).sizes) == [0, 50]
    turned = curves.of(["b", "a"])
    assert turned.candidates == ("b", "a")
    assert list(turned.features["size"]) == [20, 10]
    np.testing.assert_array_equal(turned.losses[1], curves.losses[0])


def test_seeds_are_averaged_and_failed_runs_left_out():
    table = pd.DataFrame(
        {"candidate": ["a", "a", "a", "b"], "examples": [50, 50, 100, 50], "loss": [1.0, 3.0, np.inf, np.nan]}
    )
    curves = Curves.from_tidy(table)
    assert curves.candidates == ("a", "b")
    np.testing.assert_array_equal(curves.losses, [[2.0], [np.nan]])


@settings(max_examples=30, deadline=None)
@given(
    losses=st.lists(
        st.lists(st.one_of(st.floats(0.01, 99), st.just(np.nan)), min_size=3, max_size=3), min_size=1, max_size=4
    )
)
def test_a_written_table_reads_back_the_same(tmp_path_factory, losses):
    losses = np.array(losses)
    losses[:, 0] = 1.0
    curves = Curves(tuple(f"m, {i}" for i in range(len(losses))), np.array([0, 50, 100]), losses)
    path = tmp_path_factory.mktemp("curves") / "curves.csv"
    curves.write_csv(path)
    read = Curves.read_csv(path)
    assert read.candidates == curves.candidates
    for size in read.sizes:
        np.testing.assert_allclose(read.at(size), curves.at(size))


def test_wide_and_tidy_tables_agree(tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_text("config name,100,50,size\na,3,4,10\nb,2.5,,20\n")
    tidy = tmp_path / "tidy.csv"
    Curves.read_csv(wide).write_csv(tidy)
    for curves in (Curves.read_csv(wide), Curves.read_csv(tidy)):
        assert list(curves.sizes) == [50, 100]
        np.testing.assert_array_equal(curves.losses, [[4, 3], [np.nan, 2.5]])
        assert list(curves.features["size"]) == [10, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV table"),
        ("x,y\n1,2\n", "no column 'candidate'"),
        ("candidate,examples,loss\n", "no rows"),
        ("candidate,colour\na,red\n", "neither tidy"),
        ("candidate,examples,loss\na,50,1\na,x,2\n", "row 3: 'examples' is 'x'"),
        ("candidate,50\na,low\n", "row 2: '50' is 'low'"),
        ("candidate,50\na,1\na,2\n", "two candidates are named 'a'"),
        ("candidate,examples,loss\na,-50,1\n", "sizes must be"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as told:
        Curves.read_csv(path)
    assert "\n" not in str(told.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Curves.read_csv(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("names", "sizes", "shape", "message"),
    [
        (("a",), [50, 100], (1, 3), "expected losses of shape"),
        (("a", "a"), [50], (2, 1), "two candidates"),
        (("a",), [100, 50], (1, 2), "larger than the one before"),
        (("a",), [-1, 50], (1, 2), "larger than the one before"),
    ],
)
def test_inconsistent_curves_are_refused(names, sizes, shape, message):
    with pytest.raises(InputError, match=message):
        Curves(names, np.array(sizes), np.ones(shape))


def test_a_size_not_measured_names_those_that_are():
    with pytest.raises(InputError, match="the sizes are 0, 50, 100"):
        two_curves().at(70)
