"""The prior's pools, what the network sees of them, and that numpy says what torch fitted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.prior import KIND_INPUTS, KINDS, draw_pools
from lensllm.prior.features import COUNT, features_of
from lensllm.prior.kinds import MOVED, varied
from lensllm.prior.network import FOLDER, Network, mixture_of, predict


def seen_of(pools, told=-1, add=0.0):
    kind = np.full(len(pools.kind), told)
    zero_shot = pools.zero_shot + add
    return features_of(pools.x, pools.y + add, pools.errors, zero_shot, pools.size, pools.adapter, pools.ahead, kind)


def said_of(seen):
    return predict(seen.rows, seen.unit)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 12))
def test_every_pool_can_be_seen_and_spoken_of(seed, candidates, sizes):
    pools = draw_pools(np.random.default_rng(seed), 5, candidates, sizes)
    assert np.isfinite(pools.truth).all()
    assert np.isfinite(pools.y).any(axis=2).all()
    assert (np.diff(pools.x, axis=1) > 0).all()
    assert ((pools.ahead > 0) & (pools.ahead < 10.001)).all()
    seen = seen_of(pools)
    assert seen.rows.shape == (5, candidates, COUNT)
    assert np.isfinite(seen.rows).all()
    said = said_of(seen)
    np.testing.assert_allclose(said.weight.sum(axis=2), 1)
    assert (said.scale > 0).all()
    assert np.isfinite(said.mean).all()


def test_the_same_seed_draws_the_same_pools():
    first, again = (draw_pools(np.random.default_rng(3), 4, 5, 6) for _ in range(2))
    for one, other in zip(vars(first).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_said_depends_on_no_unit_and_on_no_order():
    pools = draw_pools(np.random.default_rng(1), 6, 7, 4)
    seen = seen_of(pools)
    np.testing.assert_allclose(seen_of(pools, add=3.0).rows, seen.rows, atol=1e-9)
    order = np.random.default_rng(2).permutation(7)
    straight, turned = said_of(seen), predict(seen.rows[:, order], seen.unit[:, order])
    for name in ("weight", "place", "scale"):
        np.testing.assert_allclose(getattr(turned, name), getattr(straight, name)[:, order], atol=1e-4)
    np.testing.assert_allclose(turned.common, straight.common, atol=1e-4)


def test_of_equal_candidates_the_same_is_said():
    pools = draw_pools(np.random.default_rng(8), 4, 6, 4)
    for values in (pools.y, pools.errors, pools.zero_shot, pools.size, pools.adapter):
        values[:, 1] = values[:, 3]
    said = said_of(seen_of(pools))
    np.testing.assert_array_equal(said.place[:, 1], said.place[:, 3])
    np.testing.assert_array_equal(said.scale[:, 1], said.scale[:, 3])


def test_what_is_expected_beside_the_others_adds_up_to_nothing_in_log_loss():
    """Also where some were measured further than others, and so have another unit."""
    seen = seen_of(draw_pools(np.random.default_rng(9), 60, 8, 6))
    assert (np.ptp(seen.unit, axis=1) > 0).any()
    for file in sorted(FOLDER.glob("*.safetensors")):
        moved = Network(file)(seen.rows, seen.unit).mean * seen.unit
        np.testing.assert_allclose(moved.mean(axis=1), 0, atol=1e-9)


def test_a_pool_is_spoken_of_alike_whatever_else_is_asked():
    seen = seen_of(draw_pools(np.random.default_rng(4), 5, 9, 3))
    all_said, alone = said_of(seen), predict(seen.rows[2:3], seen.unit[2:3])
    np.testing.assert_array_equal(all_said.place[2], alone.place[0])
    np.testing.assert_array_equal(all_said.common[2], alone.common[0])


def test_what_is_told_of_the_kind_is_heard():
    pools = draw_pools(np.random.default_rng(5), 40, 9, 3)
    unknown, *known = (said_of(seen_of(pools, told)).common for told in (-1, *range(len(KIND_INPUTS))))
    assert all(np.abs(one - unknown).mean() > 0.01 for one in known)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.safetensors")), ids=lambda file: file.stem)
def test_numpy_says_what_torch_fitted(file):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from evidence.prior.prior_fit import Net

    net = Net()
    net.load_state_dict({name: values.float() for name, values in load_file(file).items()})
    seen = seen_of(draw_pools(np.random.default_rng(6), 8, 11, 5))
    rows = seen.rows
    with torch.no_grad():
        own, common = net(torch.from_numpy(rows.astype(np.float32)))
    said = Network(file)(rows, seen.unit)
    weight, place, scale = (part.numpy() for part in own.double().chunk(3, 2))
    np.testing.assert_allclose(said.weight, np.exp(weight) / np.exp(weight).sum(2, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(said.scale, np.logaddexp(scale, 0) / 2 + 0.01, rtol=1e-3)
    np.testing.assert_allclose(np.diff(said.place, axis=2), np.diff(place, axis=2), atol=2e-3)
    np.testing.assert_allclose(said.common, common.numpy()[:, 0], atol=2e-3)


def test_several_readers_are_believed_alike():
    seen = seen_of(draw_pools(np.random.default_rng(7), 3, 5, 4))
    one = [Network(file)(seen.rows, seen.unit) for file in sorted(FOLDER.glob("*.safetensors"))]
    both = mixture_of(one)
    np.testing.assert_allclose(both.mean, np.mean([each.mean for each in one], axis=0), atol=1e-12)
    np.testing.assert_allclose(both.common, np.mean([each.common for each in one], axis=0))
    assert (both.common_scale >= np.min([each.common_scale for each in one], axis=0)).all()


def test_the_networks_are_small_and_hold_nothing_but_numbers():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 4 * 2**20
    assert {file.suffix for file in FOLDER.iterdir()} == {".safetensors"}


def test_another_reading_of_the_prior_moves_every_setting_that_may_move():
    other = varied(np.random.default_rng(0))
    for kind, moved in zip(KINDS, other, strict=True):
        changed = {name for name in vars(kind) if getattr(kind, name) != getattr(moved, name)}
        assert changed == set(MOVED)
        assert all(0 < getattr(moved, name) < 1 for name in MOVED if isinstance(getattr(moved, name), float)
                   and name != "growth")  # fmt: skip
