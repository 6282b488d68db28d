"""How places are shared out, and who is surely behind."""

import math

import numpy as np
import pytest

from lensllm.shortlist.behind import difference, surely_behind
from lensllm.shortlist.families import families
from lensllm.shortlist.listed import Listed
from lensllm.shortlist.places import share_out
from lensllm.tuning.run import Run

NAMES = [f"m{i:02}" for i in range(30)]


def orders():
    """Best first by loss; sizes the other way round; the newest in the middle."""
    newest = sorted(NAMES, key=lambda name: abs(int(name[1:]) - 15))
    return {"by loss": NAMES, "smallest": NAMES[::-1], "newest": newest}


def test_half_by_loss_and_a_mix_of_the_others():
    kinds = {name: "one" for name in NAMES} | {"m20": "two", "m25": "three"}
    places = share_out(12, orders(), kinds)
    assert list(places)[:6] == NAMES[:6]
    assert places["m20"][0] == "best of its family: two"
    assert places["m25"][0] == "best of its family: three"
    assert [name for name, why in places.items() if "smallest" in why[0]] == ["m29", "m28"]
    assert [name for name, why in places.items() if "newest" in why[0]] == ["m15", "m14"]
    assert len(places) == 12


def test_one_that_has_a_place_gets_a_reason_and_no_place_is_lost():
    same = {"by loss": NAMES, "smallest": NAMES, "newest": NAMES}
    places = share_out(4, same, dict.fromkeys(NAMES, "one"))
    assert places["m00"] == ["1st by loss", "1st smallest", "1st newest"]
    assert list(places) == NAMES[:4]


@pytest.mark.parametrize("count", [1, 2, 3, 29, 30, 31, 1000])
def test_any_number_of_places(count):
    places = share_out(count, orders(), {name: name for name in NAMES})
    assert len(places) == min(count, 30)
    assert next(iter(places)) == "m00"
    assert all(places.values())


def test_copies_of_copies_are_of_the_family_of_the_first():
    chain = [
        Listed("meta/base", model_type="llama"),
        Listed("a/tuned", tags=("base_model:meta/base",), model_type="llama"),
        Listed("b/again", tags=("base_model:a/tuned", "base_model:finetune:a/tuned"), model_type="llama"),
        Listed("c/elsewhere", tags=("base_model:google/t5",), model_type="t5"),
        Listed("d/one", tags=("base_model:d/two",)),
        Listed("d/two", tags=("base_model:d/one",)),
    ]
    kinds = families(chain)
    assert {kinds[name] for name in ("meta/base", "a/tuned", "b/again")} == {"llama of meta"}
    assert kinds["c/elsewhere"] == "t5 of google"
    assert kinds["d/one"] == kinds["d/two"] == "unknown of d"


def run(name, nats, sizes):
    total = sum(nats) / sum(sizes)
    error = math.sqrt(sum((a - total * s) ** 2 for a, s in zip(nats, sizes, strict=True))) / sum(sizes)
    return Run(name, 0, "done", nats_per_byte=total, standard_error=error, test_nats=list(nats))


def drawn(count=50):
    draw = np.random.default_rng(0)
    sizes = draw.integers(5, 50, count)
    return draw, sizes, sizes * draw.gamma(2.0, 0.5, count)


def test_a_difference_is_told_example_by_example():
    draw, sizes, hard = drawn()
    a, b = run("a", hard + 0.1 * sizes + draw.normal(0, 0.1, 50), sizes), run("b", hard, sizes)
    gap, error = difference(a, b, list(sizes))
    assert gap == pytest.approx(0.1, abs=0.01)
    assert error < 0.01 < a.standard_error
    assert difference(b, a, list(sizes)) == (pytest.approx(-gap), pytest.approx(error))


def test_the_standard_error_is_that_of_drawing_examples_again():
    draw, sizes, hard = drawn(2000)
    a, b = hard * draw.gamma(9.0, 1 / 9, 2000), hard
    gaps = []
    for _ in range(400):
        rows = draw.integers(0, 2000, 50)
        gaps.append(difference(run("a", a[rows], sizes[rows]), run("b", b[rows], sizes[rows]), list(sizes[rows])))
    spread, told = np.std([gap for gap, _ in gaps]), np.mean([error for _, error in gaps])
    assert told == pytest.approx(spread, rel=0.15)


def test_only_those_behind_as_many_as_there_are_places_are_dropped():
    draw, sizes, hard = drawn()
    runs = {f"m{i}": run(f"m{i}", hard + 0.1 * i * sizes + draw.normal(0, 0.1, 50), sizes) for i in range(6)}
    assert set(surely_behind(runs, list(sizes), 3)) == {"m3", "m4", "m5"}
    assert surely_behind(runs, list(sizes), 6) == {}
    told = surely_behind(runs, list(sizes), 5)["m5"]
    assert "surely behind that of 5 others (behind m0 by 0.50" in told


def test_equals_and_near_equals_are_not_behind():
    draw, sizes, hard = drawn()
    runs = {name: run(name, hard, sizes) for name in ("a", "b", "c")}
    assert surely_behind(runs, list(sizes), 1) == {}
    found = 0
    for _ in range(400):
        noisy = {name: run(name, hard + draw.normal(0, 1.0, 50), sizes) for name in ("a", "b")}
        found += len(surely_behind(noisy, list(sizes), 1))
    assert 0.02 < found / 400 < 0.08


def test_runs_without_losses_by_example_are_compared_with_more_care():
    _, sizes, hard = drawn()
    a, b = run("a", hard + 0.1 * sizes, sizes), run("b", hard, sizes)
    assert surely_behind({"a": a, "b": b}, list(sizes), 1)
    old = Run("a", 0, "done", nats_per_byte=a.nats_per_byte, standard_error=a.standard_error)
    assert surely_behind({"a": old, "b": b}, list(sizes), 1) == {}
