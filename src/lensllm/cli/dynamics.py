"""`lensllm dynamics`: the phase of every candidate, from the losses of an output folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensllm.cli.common import Json, empty_table, print_table, say, say_notes, to_write
from lensllm.errors import InputError
from lensllm.files import write_whole

if TYPE_CHECKING:
    from lensllm.planning.phases import Transition
    from lensllm.theory.bound import Decay


def dynamics(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A selection's output folder, or a CSV of losses.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the pictures here.")] = None,
    as_json: Json = False,
) -> None:
    """Tell the phase of every candidate and where its power phase begins, by three methods. Trains nothing."""
    from lensllm.curves import Curves
    from lensllm.planning.phases import phases
    from lensllm.theory.bound import decays, load_bounds

    to_write(html)
    table_file = folder / "curves.csv" if folder.is_dir() else folder
    if not table_file.is_file():
        raise InputError(f"{folder} holds no curves.csv: give the output folder of a selection or a CSV of losses")
    curves = Curves.read_csv(table_file, ours=folder.is_dir())
    found = phases(curves)
    bounds = load_bounds(folder) if folder.is_dir() else {}
    power = decays(bounds)
    if html is not None:
        from lensllm.report.html import page
        from lensllm.report.theory_figures import bound_figure, slopes_figure

        figures = {"slopes": slopes_figure(curves, found)}
        figures |= {f"bound of {name}": bound_figure(bounds[name], power.get(name)) for name in bounds}
        write_whole(html, page("dynamics.html.j2", figures, phases=found))
    if as_json:
        rows = [{**p.to_dict(), "by_bound": _from(power.get(p.candidate))} for p in found]
        print(json.dumps({"candidates": rows, "notes": list(curves.notes)}, indent=2, allow_nan=False))
        return
    say_notes(curves.notes)
    table = empty_table(
        "candidate", "phase", "P(power)", "last size", "begins: law's slope", "residual test", "bound", names=2
    )
    for p in found:
        chance = f"{p.p_power:.0%}" if math.isfinite(p.p_power) else ""
        by_law, by_residuals = _interval(p.by_law), _interval(p.by_residuals)
        begins = _from(power.get(p.candidate))
        by_bound = f"{begins:,.0f}" if begins is not None else ""
        table.add_row(p.candidate, p.phase, chance, f"{p.last:,.0f}", by_law, by_residuals, by_bound)
    print_table(table)
    for p in found:
        if p.phase != "power":
            say(f"{p.candidate}: {p.advice}")


def _from(decay: Decay | None) -> float | None:
    return decay.power_from if decay is not None and math.isfinite(decay.power_from) else None


def _interval(transition: Transition) -> str:
    """The transition with its interval in examples."""
    if not math.isfinite(transition.size):
        return ""
    size, low, high = (_rounded(value) for value in (transition.size, transition.low, transition.high))
    return f"{size} ({low}-{high})"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value < 1e7 else f"{value:.0e}"
