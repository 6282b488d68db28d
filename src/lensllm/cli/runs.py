"""`lensllm runs`: what an output folder holds."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
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
    listed = store.listed(Run)
    if as_json:
        rows = [
            {"key": one.key, "recorded": one.recorded, "task": one.task, **finite(one.record.to_dict())}
            for one in listed
        ]
        print(json.dumps(rows, indent=2))
        return
    alike = Counter((one.task, one.record.candidate, one.record.examples) for one in listed)
    several = max(alike.values(), default=0) > 1
    columns = ["task", "candidate", "examples", "status", "nats/byte", "learning-rate", "FLOPs", "seconds", "recorded"]
    table = empty_table(*columns, *["key"] * several, names=2)
    for one in listed:
        run = one.record
        loss = f"{run.nats_per_byte:.4f}" if run.status == "done" else ""
        rate = f"{run.learning_rate:.2g}" if run.learning_rate else ""
        when = datetime.fromtimestamp(one.recorded).strftime("%Y-%m-%d %H:%M")
        key = [one.key[:8]] * several
        costs = (f"{run.flops:.2e}", f"{run.seconds:.1f}")
        table.add_row(one.task, run.candidate, f"{run.examples:,}", run.status, loss, rate, *costs, when, *key)
    for candidate, examples in store.running():
        table.add_row("", candidate, f"{examples:,}", "running", *[""] * (5 + several))
    print_table(table)
    if several:
        say("Records of one candidate on as many examples have other settings, data or versions: other keys.")
    for run in (one.record for one in listed):
        if run.error:
            say(f"{run.candidate} on {run.examples:,} examples {run.status}: {run.error}")
