"""`lensllm select` and `lensllm demo`: the main job, and its result as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.measure import Measurement
from rich.table import Table

from lensllm.cli.common import Json, console, empty_table, print_table, progress_bar, say, say_notes
from lensllm.cli.options import config_of, options_of
from lensllm.config import SelectConfig
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.selection import Selection


@options_of(SelectConfig, positional="task")
def select(
    what: Annotated[list[str], typer.Argument(metavar="TASK [CONFIG.yaml]", help="The task, and settings in YAML.")],
    as_json: Json = False,
    **options: Any,
) -> None:
    """Find the model to fine-tune on a task: fine-tune all on little data, forecast the rest, rank."""
    files = [Path(item) for item in what if item.endswith((".yaml", ".yml"))]
    tasks = [item for item in what if not item.endswith((".yaml", ".yml"))]
    if len(files) > 1 or len(tasks) > 1:
        raise InputError(f"expected one task and at most one YAML file, got {' '.join(what)}")
    config = config_of(SelectConfig, {**options, "task": tasks[0] if tasks else None}, files[0] if files else None)
    if not config.task:
        raise InputError("no task: name a shipped task or a file of examples")
    from lensllm.pipeline import run_selection

    with progress_bar() as callbacks:
        selection = run_selection(config, callbacks)
    show(selection, as_json, Path(config.output_dir))


def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Add SmolLM2-135M, which is fetched first; some ten minutes more.")
    ] = False,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where the results go.")] = Path("out/demo"),
    as_json: Json = False,
) -> None:
    """Pick a model for a shipped task at a tenth of the compute, then compare the choice with the truth."""
    from lensllm.demo import run_demo

    with progress_bar() as callbacks:
        selection = run_demo(output_dir, real, callbacks)
    show(selection, as_json, output_dir)


def show(selection: Selection, as_json: bool, folder: Path) -> None:
    """Print a selection: the ranking, what failed, the answer in one sentence."""
    if as_json:
        print(json.dumps(selection.to_dict(), indent=2, allow_nan=False))
        return
    sizes = [int(size) for size in selection.curves.sizes]
    table = ranking_table(selection, sizes)
    if Measurement.get(console(), console().options, table).maximum > console().width:
        table = ranking_table(selection, sizes[-1:])
    say(f"{selection.task}: loss in nats a byte, forecast at {selection.target_size:,} training examples")
    print_table(table)
    if selection.phases_known:
        for said in selection.phase_advice:
            say(said)
    for one in selection.refused:
        say(f"refused: {one.reason}")
    for run in selection.failures:
        say(f"{run.status}: {run.candidate} on {run.examples:,} examples: {run.error}")
    say_notes(selection.notes)
    say(selection.sentence)
    say(f"Why it stopped: {selection.stopped}.")
    if selection.truth:
        truth = selection.truth
        known = selection.curves.candidates
        which = "them all" if truth["candidates"] == len(known) else f"{truth['candidates']} of {len(known)}"
        say(
            f"Truth, from fine-tuning {which} on everything: the best is {truth['best']}; the choice among them ranks "
            f"{truth['rank_of_chosen']} of {truth['candidates']}, RelAcc {truth['rel_acc']:.3f}; "
            f"{truth['covered']} of the 90 % intervals hold the truth."
        )
    say(f"Report: {folder / 'report.html'}")


def ranking_table(selection: Selection, sizes: list[int]) -> Table:
    """The ranking, with the losses measured at these sizes."""
    probed = any(row.kernel is not None for row in selection.ranking)
    known = selection.phases_known
    columns = [*["kernel"] * probed, *[f"D={size:,}" for size in sizes], *["phase"] * known]
    table = empty_table("candidate", "forecast", "90 % interval", "P(best)", *columns, "FLOPs")
    for row in selection.ranking:
        interval = f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"
        seen = [f"{row.measured[size]:.3f}" if size in row.measured else "" for size in sizes]
        if probed:
            seen.insert(0, f"{row.kernel:.3f}" if row.kernel is not None else "")
        if known:
            phase = selection.phase(row.candidate)
            seen.append(phase.phase if phase else "")
        spent = f"{row.flops:.1e}" if row.flops else ""
        table.add_row(row.candidate, f"{row.forecast:.3f}", interval, f"{row.p_best:.0%}", *seen, spent)
    return table
