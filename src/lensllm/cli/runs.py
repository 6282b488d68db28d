"""`lensllm runs`: what an output folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say
from lensllm.errors import InputError


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    as_json: Json = False,
) -> None:
    """List the runs of an output folder."""
    from lensllm.store import FILE_NAME, Store
    from lensllm.tuning.run import Run

    if not (folder / FILE_NAME).is_file():
        raise InputError(f"{folder} holds no runs: give the output folder of a selection")
    store = Store(folder, readonly=True)
    recorded = store.records(Run)
    if as_json:
        rows = [{"task": task, **finite(run.to_dict())} for task, run in recorded]
        print(json.dumps(rows, indent=2))
        return
    table = empty_table(
        *["task", "candidate", "examples", "status", "nats/byte", "nats/token", "learning-rate", "FLOPs", "seconds"],
        names=2,
    )
    for task, run in recorded:
        losses = [f"{run.nats_per_byte:.4f}", f"{run.nats_per_token:.4f}"] if run.status == "done" else ["", ""]
        rate = f"{run.learning_rate:.2g}" if run.learning_rate else ""
        costs = [f"{run.flops:.2e}", f"{run.seconds:.1f}"]
        table.add_row(task, run.candidate, f"{run.examples:,}", run.status, *losses, rate, *costs)
    for candidate, examples in store.running():
        table.add_row("", candidate, f"{examples:,}", "running", "", "", "", "", "")
    print_table(table)
    for _, run in recorded:
        if run.error:
            say(f"{run.candidate} on {run.examples:,} examples {run.status}: {run.error}")
