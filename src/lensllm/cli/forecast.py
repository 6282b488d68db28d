"""`lensllm forecast`: losses that were measured elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say_notes, to_be_finite, to_write
from lensllm.files import write_whole


def forecast(
    curves_csv: Annotated[Path, typer.Argument(metavar="CURVES.csv", help="Measured losses, tidy or wide.")],
    target_size: Annotated[float, typer.Option("--target-size", help="Number of training examples to forecast.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the curves and their forecast here.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast losses that were measured elsewhere: CSV with columns candidate, examples, loss. Trains nothing."""
    from lensllm.curves import Curves
    from lensllm.forecast import with_zero_shot
    from lensllm.selectors import default_selector, forecast_path

    to_write(html)
    to_be_finite("--target-size", target_size)
    curves = Curves.read_csv(curves_csv)
    made = with_zero_shot(forecast_path(default_selector(curves), curves, target_size), curves)
    if html is not None:
        from lensllm.report.figures import curves_figure

        write_whole(html, curves_figure(curves, made, "unit of the file").to_html(include_plotlyjs=True))
    low, high = made.interval(0.9).T
    columns = (made.mean, low, high, made.p_best, made.expected_regret)
    rows = [(made.candidates[k], *(float(column[k]) for column in columns)) for k in made.order]
    if as_json:
        keys = ("candidate", "forecast", "low", "high", "p_best", "expected_regret")
        candidates = [
            dict(zip(keys, row, strict=True)) | {"model": made.models[k], "method": made.methods[k]}
            for k, row in zip(made.order, rows, strict=True)
        ]
        shown = {"target_size": target_size, "level": 0.9, "candidates": candidates, "notes": list(curves.notes)}
        print(json.dumps(finite(shown), indent=2))
        return
    say_notes(curves.notes)
    table = empty_table("candidate", f"loss at {target_size:,.0f}", "90 % interval", "P(best)", "expected regret")
    for name, mean, least, most, p_best, regret in rows:
        table.add_row(name, f"{mean:.4f}", f"{least:.4f} - {most:.4f}", f"{p_best:.0%}", f"{regret:.4f}")
    print_table(table)
