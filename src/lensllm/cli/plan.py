"""`lensllm plan`: how much data a loss takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, print_table, say, say_notes, to_be_finite, to_write
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.curves import Curves
    from lensllm.planning import Cost, Plan

AXES = {"training_flops": "training", "parameters": "size", "flops_per_byte": "serving"}


def plan(
    what: Annotated[
        Path, typer.Argument(metavar="DIR", help="The output folder of a selection, or measured losses in a CSV file.")
    ],
    target_loss: Annotated[float | None, typer.Option("--target-loss", help="The loss to be reached.")] = None,
    gain: Annotated[
        float | None, typer.Option("--gain", help="Or how far below the best now, as a part: 0.05 is 5 % less loss.")
    ] = None,
    target_size: Annotated[
        float | None, typer.Option("--target-size", help="Training examples at hand, where a CSV file is given.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the plan with its pictures here.")] = None,
    as_json: Json = False,
) -> None:
    """Say how many examples a loss takes, what twice the data would bring, and which candidates are worth it."""
    from lensllm.planning import plan as make

    to_write(html)
    for name, value in (("--target-size", target_size), ("--target-loss", target_loss), ("--gain", gain)):
        to_be_finite(name, value)
    curves, size, costs, unit = _read(what, target_size)
    made = make(curves, size, target_loss=target_loss, gain=gain, costs=costs)
    if html is not None:
        from lensllm.report import write_plan

        write_plan(made, unit, html)
    if as_json:
        print(json.dumps({**made.to_dict(), "notes": list(curves.notes)}, indent=2, allow_nan=False))
    else:
        say_notes(curves.notes)
        _show(made, unit)


def _read(what: Path, target_size: float | None) -> tuple[Curves, float, dict[str, Cost], str]:
    """Curves, examples at hand, costs where known and the unit of the losses."""
    from lensllm.curves import Curves
    from lensllm.planning import Cost

    if not what.is_dir():
        if target_size is None:
            raise InputError(f"{what} does not say how many training examples there are: give --target-size")
        return Curves.read_csv(what), target_size, {}, "the unit of the file"
    if target_size is not None:
        raise InputError(f"--target-size is for CSV files: {what} says how many training examples there are")
    if not (what / "curves.csv").is_file() or not (what / "selection.json").is_file():
        raise InputError(f"{what} holds no selection: give the output folder of one that has ended")
    try:
        record: dict[str, Any] = json.loads((what / "selection.json").read_text())
        costs = {name: Cost(**cost) for name, cost in record.get("costs", {}).items()}
        size, unit = float(record["target_size"]), str(record["unit"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{what / 'selection.json'} is damaged ({error}): run the selection again") from error
    return Curves.read_csv(what / "curves.csv", ours=True), size, costs, unit


def _show(made: Plan, unit: str) -> None:
    from lensllm.planning.plan import rounded

    say(f"Loss in {unit}; {made.size:,.0f} training examples at hand")
    table = empty_table(
        "candidate",
        "now",
        f"examples for {made.target_loss:.3f}",
        "90 % interval",
        "P(never)",
        "with 2x",
        "gain",
        "90 %",
    )
    doubled = {row.candidate: row for row in made.doublings}
    for need in made.needs:
        low, high = need.interval
        cells = [rounded(need.examples), f"{rounded(low)} - {rounded(high)}", f"{need.p_never:.0%}"]
        row = doubled.get(need.candidate)
        if row is None:
            table.add_row(need.candidate, "", *cells)
            continue
        gains = f"{row.gain_interval[0]:.1%} - {row.gain_interval[1]:.1%}"
        table.add_row(need.candidate, f"{row.loss:.3f}", *cells, f"{row.doubled_loss:.3f}", f"{row.gain:.1%}", gains)
    print_table(table)
    if made.offers:
        print()
        table = empty_table(
            "candidate", "now", "training FLOPs", "parameters", "FLOPs/token", "FLOPs/byte", "best for its"
        )
        for offer in made.offers:
            cost = offer.cost
            spent = f"{cost.training_flops:.1e}" if cost.training_flops else "none"
            serving = [f"{cost.parameters:,}", f"{cost.flops_per_token:.1e}", f"{cost.flops_per_byte:.1e}"]
            front = ", ".join(AXES[kind] for kind in offer.front)
            table.add_row(offer.candidate, f"{offer.loss:.3f}", spent, *serving, front)
        print_table(table)
    say(made.sentence)
