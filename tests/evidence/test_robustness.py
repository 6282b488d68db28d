"""Spoiled tables of losses: read as they were meant, or refused in one sentence; nothing changes in silence."""

import pytest

from evidence.robustness.damaged_stores import counts
from evidence.robustness.hostile_tables import spoiled
from lensllm.curves import Curves
from lensllm.errors import InputError


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_no_table_is_read_wrongly_without_a_word(first, tmp_path):
    for seed in range(first, first + 50):
        table = spoiled(seed)
        path = tmp_path / "curves.csv"
        path.write_bytes(table.raw)
        about = f"seed {seed}, {table.kind}:\n{table.raw!r}"
        curves = _read(path)
        if isinstance(curves, str):
            assert table.verdict == "refused", f"{about}\n{curves}"
            assert "\n" not in curves, about
            continue
        assert table.verdict != "refused", about
        if table.kind != "tabs":
            assert bool(curves.notes) == (table.verdict == "noted"), f"{about}\n{curves.notes}"
        assert _losses(curves) == pytest.approx(table.meant), about
        curves.write_csv(path)
        assert _losses(Curves.read_csv(path, ours=True)) == pytest.approx(table.meant), about


def _read(path):
    """The curves, or the sentence that refuses the table."""
    try:
        return Curves.read_csv(path)
    except InputError as error:
        return str(error)


def _losses(curves):
    return {
        (name, int(size)): loss
        for name, row in zip(curves.candidates, curves.losses, strict=True)
        for size, loss in zip(curves.sizes, row, strict=True)
        if loss == loss
    }


def test_no_damage_of_a_store_changes_a_record_in_silence():
    assert set(counts(range(120))) <= {"unharmed", "refused"}
