"""`lensllm plan`: how much data a loss takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, print_table, say, say_notes, to_be_finite, to_write
from lensllm.cli.costs import MEMORY, memory_table
from lensllm.cli.curve_options import SOURCE, Evaluation, Examples, Metric, RunNames, how_read
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.curve_sources import HowRead
    from lensllm.curves import Curves
    from lensllm.objectives import Between
    from lensllm.planning import Cost, Plan

AXES = {
    "training_flops": "training",
    "training_memory": "memory in training",
    "parameters": "size",
    "serving_memory": "memory in serving",
    "flops_per_byte": "serving",
}


def plan(
    what: Annotated[str, typer.Argument(metavar="DIR", help=f"The output folder of a selection, or else: {SOURCE}")],
    target_loss: Annotated[float | None, typer.Option("--target-loss", help="The loss to be reached.")] = None,
    gain: Annotated[
        float | None, typer.Option("--gain", help="Or how far below the best now, as a part: 0.05 is 5 % less loss.")
    ] = None,
    score: Annotated[str, typer.Option("--score", help="A score of the selection, which --target-score is of.")] = "",
    target_score: Annotated[
        float | None, typer.Option("--target-score", help="The score to be reached, in place of a loss: 0.9 is 90 %.")
    ] = None,
    floor: Annotated[float, typer.Option("--floor", help="The lowest score, where a CSV file is given.")] = 0.0,
    ceiling: Annotated[float, typer.Option("--ceiling", help="The highest, likewise.")] = 1.0,
    target_size: Annotated[
        float | None, typer.Option("--target-size", help="Training examples at hand, where a CSV file is given.")
    ] = None,
    metric: Metric = "",
    evaluation: Evaluation = "last",
    run_names: RunNames = "",
    examples: Examples = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the plan with its pictures here.")] = None,
    as_json: Json = False,
) -> None:
    """Say how many examples a loss takes, what twice the data would bring, and which candidates are worth it."""
    from lensllm.planning import plan as make

    to_write(html)
    for name, value in (("--target-size", target_size), ("--target-loss", target_loss), ("--gain", gain)):
        to_be_finite(name, value)
    if target_score is not None or score:
        given = [("--target-loss", target_loss), ("--gain", gain), ("--html", html)]
        if odd := [name for name, value in given if value is not None]:
            raise InputError(f"{odd[0]} is for losses: leave it out with --target-score")
        if target_score is None:
            raise InputError("--score says of which score --target-score is: give that, too")
        to_be_finite("--target-score", target_score)
        _plan_score(Path(what), score, target_score, (floor, ceiling), target_size, as_json)
        return
    how = how_read(metric, evaluation, run_names, examples)
    curves, size, costs, unit = _read(what, target_size, how)
    made = make(curves, size, target_loss=target_loss, gain=gain, costs=costs)
    if html is not None:
        from lensllm.report import write_plan

        write_plan(made, unit, html)
    if as_json:
        print(json.dumps({**made.to_dict(), "notes": list(curves.notes)}, indent=2, allow_nan=False))
    else:
        say_notes(curves.notes)
        _show(made, unit)


def _read(source: str, target_size: float | None, how: HowRead) -> tuple[Curves, float, dict[str, Cost], str]:
    """Curves, examples at hand, costs where known and the unit of the losses."""
    from lensllm.curve_sources import HowRead, is_tracked
    from lensllm.curves import Curves
    from lensllm.planning import Cost

    what = Path(source)
    is_selection = (what / "curves.csv").is_file() and (what / "selection.json").is_file()
    if not is_selection:
        if what.is_dir() and target_size is None and how == HowRead():
            raise InputError(
                f"{what} holds no selection: give the output folder of one that has ended, or --target-size with a "
                "folder of runs"
            )
        if target_size is None:
            raise InputError(f"{source} does not say how many training examples there are: give --target-size")
        unit = "the unit of the runs" if is_tracked(source) else "the unit of the file"
        return Curves.read(source, how), target_size, {}, unit
    if target_size is not None:
        raise InputError(f"--target-size is for losses from elsewhere: {what} says how many examples there are")
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
        if (memory := memory_table({offer.candidate: offer.cost for offer in made.offers})) is not None:
            print()
            print_table(memory)
            say(MEMORY)
    say(made.sentence)


def _plan_score(
    what: Path, score: str, target: float, ends: tuple[float, float], target_size: float | None, as_json: bool
) -> None:
    """Print the plan for a score, of a selection's output folder or of a CSV file."""
    from lensllm.curve_sources import HowRead
    from lensllm.objectives import Between
    from lensllm.planning import plan_score
    from lensllm.planning.plan import rounded
    from lensllm.score_forecast import read_scores

    if what.is_dir():
        curves, size, _, _ = _read(str(what), target_size, HowRead())
        objective = _objective(what, score)
        scores = read_scores(what / "scores.csv", objective, objective.name)
        scores = scores.of([name for name in curves.candidates if name in scores.candidates])
    else:
        if target_size is None:
            raise InputError(f"{what} does not say how many training examples there are: give --target-size")
        objective, size = Between(score or "score", floor=ends[0], ceiling=ends[1]), target_size
        scores = read_scores(what, objective)
    made = plan_score(scores, objective, size, target)
    if as_json:
        print(json.dumps({**made.to_dict(), "notes": list(scores.notes)}, indent=2, allow_nan=False))
        return
    say_notes(scores.notes)
    say(f"{objective.name}; {size:,.0f} training examples at hand")
    columns = ("candidate", "now", f"examples for {target:g}", "90 % interval", "P(not with 16x)", "with 2x", "90 %")
    table = empty_table(*columns)
    rows = {row.candidate: row for row in made.doublings}
    for need in made.needs:
        cells = [rounded(need.examples), " - ".join(map(rounded, need.interval)), f"{need.p_never:.0%}"]
        row = rows.get(need.candidate)
        more = [f"{row.doubled_score:.3f}", "{:+.3f} - {:+.3f}".format(*row.gain_interval)] if row else []
        table.add_row(need.candidate, f"{row.score:.3f}" if row else "", *cells, *more)
    print_table(table)
    say(made.sentence)


def _objective(folder: Path, name: str) -> Between:
    """A score of a selection with its ends, the first where none is named.

    Raises:
        InputError: if there is none, or it has no known range.
    """
    from lensllm.objectives import Between

    known = json.loads((folder / "selection.json").read_text()).get("scored", {}).get("scores", {})
    chosen = name or next(iter(known), "")
    if chosen not in known:
        raise InputError(f"{folder} has no score {chosen!r}: it has {', '.join(known) or 'none'}")
    one = known[chosen]
    if one.get("floor") is None or one.get("ceiling") is None:
        raise InputError(f"{chosen} of {folder} has no known floor and ceiling: it is measured, not forecast")
    return Between(chosen, one["unit"], one["floor"], one["ceiling"])
