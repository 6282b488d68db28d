"""`lensllm forecast`: losses or scores that were measured elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say_notes, to_be_finite, to_write
from lensllm.cli.curve_options import SOURCE, Evaluation, Examples, Metric, RunNames, how_read
from lensllm.errors import InputError
from lensllm.files import write_whole


def forecast(
    source: Annotated[str, typer.Argument(metavar="CURVES", help=SOURCE)],
    target_size: Annotated[float, typer.Option("--target-size", help="Number of training examples to forecast.")],
    metric: Metric = "",
    evaluation: Evaluation = "last",
    run_names: RunNames = "",
    examples: Examples = None,
    scores: Annotated[bool, typer.Option("--scores", help="The file holds scores, of which more is better.")] = False,
    floor: Annotated[float, typer.Option("--floor", help="The lowest score there is.")] = 0.0,
    ceiling: Annotated[float, typer.Option("--ceiling", help="The highest: 100 for percentages.")] = 1.0,
    html: Annotated[Path | None, typer.Option("--html", help="Write the curves and their forecast here.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast losses that were measured elsewhere: a table, or runs of a trainer or a tracker. Trains nothing.

    With --scores: a table with the columns candidate, examples and score, and standard_error where it is known; or with
    the column candidate and one a number of examples.
    """
    from lensllm.curves import Curves
    from lensllm.forecast import with_zero_shot
    from lensllm.selectors import default_selector, forecast_path

    to_write(html)
    for option, value in (("--target-size", target_size), ("--floor", floor), ("--ceiling", ceiling)):
        to_be_finite(option, value)
    if scores:
        if html is not None:
            raise InputError("--html draws losses: leave it out with --scores")
        forecast_scores(Path(source), target_size, floor, ceiling, as_json)
        return
    curves = Curves.read(source, how_read(metric, evaluation, run_names, examples))
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


def forecast_scores(path: Path, target_size: float, floor: float, ceiling: float, as_json: bool) -> None:
    """Print the forecast of a table of scores."""
    from lensllm.objectives import Between
    from lensllm.score_forecast import ScoreForecast, read_scores

    objective = Between("score", floor=floor, ceiling=ceiling)
    scores = read_scores(path, objective)
    made = ScoreForecast.of(scores, objective, target_size)
    if as_json:
        shown = {"target_size": target_size, "level": 0.9, "floor": floor, "ceiling": ceiling}
        print(json.dumps(finite({**shown, "candidates": made.to_dict(), "notes": list(scores.notes)}), indent=2))
        return
    say_notes(scores.notes)
    table = empty_table("candidate", f"score at {target_size:,.0f}", "90 % interval", "P(best)", "expected regret")
    for row in made.rows:
        interval = "{:.4g} - {:.4g}".format(*row.interval)
        table.add_row(row.candidate, f"{row.forecast:.4g}", interval, f"{row.p_best:.0%}", f"{row.expected_regret:.4g}")
    print_table(table)
