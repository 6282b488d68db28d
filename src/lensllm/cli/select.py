"""`lensllm select` and `lensllm demo`: the main job, and its result as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lensllm.cli.check import say_check
from lensllm.cli.common import Json, empty_table, has_room, print_table, say, say_notes
from lensllm.cli.costs import MEMORY, memory_table
from lensllm.cli.options import config_of, options_of
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.progress import progress

if TYPE_CHECKING:
    from lensllm.scored import Forgotten
    from lensllm.selection import Selection


@options_of(SelectConfig, positional="task")
def select(
    context: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="TASK [CONFIG.yaml]", help="The task, and settings in YAML.")],
    as_json: Json = False,
    page: Annotated[
        bool, typer.Option("--page", help="Show it as a page in the browser of this machine while it runs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what fits and what it costs, as lensllm check does, and run nothing.")
    ] = False,
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
    if dry_run:
        say_check(config, as_json)
        return
    with shown_page(Path(config.output_dir)) if page else nullcontext():
        from lensllm.pipeline import run_selection

        with progress() as callbacks:
            selection = run_selection(config, callbacks, command=context.find_root().obj)
    show(selection, as_json, Path(config.output_dir))


@contextmanager
def shown_page(folder: Path) -> Iterator[None]:
    """The page of a folder, its address said on stderr."""
    from lensllm.page.child import PageProcess

    with PageProcess(folder) as served:
        say(f"page: {served.address}", error=True)
        yield


def demo(
    context: typer.Context,
    real: Annotated[
        bool, typer.Option("--real", help="Add SmolLM2-135M, which is fetched first; some ten minutes more.")
    ] = False,
    chats: Annotated[
        bool, typer.Option("--chats", help="Conversations, and two models each tuned in full and by LoRA.")
    ] = False,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where the results go.")] = Path("out/demo"),
    as_json: Json = False,
) -> None:
    """Pick a model for a shipped task at a tenth of the compute, then compare the choice with the truth."""
    from lensllm.demo import run_demo

    with progress() as callbacks:
        selection = run_demo(output_dir, real, callbacks, context.find_root().obj, chats=chats)
    show(selection, as_json, output_dir)


def show(selection: Selection, as_json: bool, folder: Path) -> None:
    """Print a selection: the ranking, what failed, the answer in one sentence."""
    if as_json:
        print(json.dumps(selection.to_dict(), indent=2, allow_nan=False))
        return
    sizes = [int(size) for size in selection.curves.sizes]
    table = ranking_table(selection, sizes)
    if not has_room(table):
        table = ranking_table(selection, sizes[-1:])
    say(f"{selection.task}: loss in nats a byte, forecast at {selection.target_size:,} training examples")
    print_table(table)
    if any(row.method not in ("full", "none") for row in selection.ranking):
        costs = {row.candidate: selection.costs[row.candidate] for row in selection.ranking if row.method != "none"}
        if (memory := memory_table(costs)) is not None:
            print_table(memory)
            say(MEMORY)
    if selection.scored:
        show_scores(selection, sizes)
    if selection.phases_known:
        for said in selection.phase_advice:
            say(said)
    for one in selection.refused:
        say(f"refused: {one.reason}")
    for run in selection.failures:
        say(f"{run.status}: {run.candidate} on {run.examples:,} examples: {run.error}")
    for said in selection.score_advice:
        say(said)
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
    for step in selection.next_steps:
        say(f"next: {step.sentence}")


def show_scores(selection: Selection, sizes: list[int]) -> None:
    """Print the scores by rung, a table each, and what tuning did to the second task."""
    assert selection.scored is not None
    for objective in selection.scored.objectives:
        ahead = f", forecast at {selection.target_size:,}" if selection.scored.forecast(objective.name) else ""
        say(f"{objective.name}: {objective.unit}, measured on {selection.scored.examples:,} test examples{ahead}")
        table = score_table(selection, objective.name, sizes)
        if not has_room(table):
            table = score_table(selection, objective.name, [0, *sizes[-1:]])
        print_table(table)
    if forgotten := selection.scored.forgotten:
        say(f"{selection.scored.kept_name}: loss in nats a byte before and after tuning on the task")
        print_table(forgotten_table(forgotten))


def score_table(selection: Selection, name: str, sizes: list[int]) -> Table:
    """A score by rung with its standard error and its forecast, candidates in the order of the ranking."""
    assert selection.scored is not None
    made = selection.scored.forecast(name)
    ahead = ["forecast", "90 % interval", "P(best)"] if made else []
    table = empty_table("candidate", *ahead, *[f"D={size:,}" for size in sizes])
    for row in selection.ranking:
        found = made.row(row.candidate) if made else None
        if row.method == "none" and found is None:
            continue
        cells = [""] * len(ahead)
        if found:
            cells = [f"{found.forecast:.3f}", "{:.3f}-{:.3f}".format(*found.interval), f"{found.p_best:.0%}"]
        values = [selection.scored.value(name, row.model, size) for size in sizes]
        shown = [value.shown if value and (row.method != "none" or not size) else ""
                 for value, size in zip(values, sizes, strict=True)]  # fmt: skip
        table.add_row(row.candidate, *cells, *shown)
    return table


def forgotten_table(forgotten: Sequence[Forgotten]) -> Table:
    """The second task before and after tuning, beside what was gained on the task."""
    table = empty_table("candidate", "tuned on", "gain on the task", "before", "after", "change", "scores there")
    for one in forgotten:
        scores = [f"{name} {was.shown} to {one.after.scores[name].shown}" for name, was in one.before.scores.items()]
        losses = (f"{one.before.nats_per_byte:.3f}", f"{one.after.nats_per_byte:.3f}", f"{one.loss_rise:+.1%}")
        table.add_row(one.candidate, f"{one.examples:,}", f"{one.gain:+.1%}", *losses, ", ".join(scores))
    return table


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
