"""`lensllm find`: from the hub to a shortlist for `select`."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say, say_notes
from lensllm.cli.options import config_of, options_of
from lensllm.progress import progress
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.shortlist import FILE
from lensllm.text import gibibytes

if TYPE_CHECKING:
    from lensllm.shortlist.shortlist import Shortlist


@options_of(FindConfig, positional="task")
def find(
    task: Annotated[str, typer.Argument(help="A shipped task's name, a file, a folder or a hub id.")],
    pipeline_tag: Annotated[
        str | None,
        typer.Option("--task", "--pipeline-tag", help=f"{FindConfig.model_fields['pipeline_tag'].description}"),
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """List models of the hub, drop what cannot or need not be tuned, measure the rest, print a shortlist and why."""
    config = config_of(FindConfig, {**options, "task": task, "pipeline_tag": pipeline_tag})
    from lensllm.find_pipeline import run_find

    with progress() as callbacks:
        found = run_find(config, callbacks, callbacks[0].step)
    if as_json:
        print(json.dumps(finite(found.to_dict()), indent=2))
    else:
        _show(found)
        say(f"Next: lensllm select {quote(task)} --models {quote(f'@{Path(config.output_dir) / FILE}')}")


def _show(found: Shortlist) -> None:
    measured = any(one.nats_per_byte is not None for one in found.kept)
    told = f"loss as it came in nats a byte, on {found.examples:,} test examples" if measured else "nothing measured"
    say(f"{found.task}: {told}; memory is an estimate")
    table = empty_table("model", "loss", "parameters", "memory", "context", "licence", "came", "downloads", "kept as")
    for one in found.kept:
        loss = "" if one.nats_per_byte is None else f"{one.nats_per_byte:.3f}"
        sizes = (f"{one.parameters:,}", gibibytes(one.memory_bytes), f"{one.context:,}")
        table.add_row(one.name, loss, *sizes, one.licence, one.created, f"{one.downloads:,}", "; ".join(one.reasons))
    print_table(table)
    say_notes(found.notes)
    say(found.sentence)
    say(f"Every model and its reason: {found.table}")
