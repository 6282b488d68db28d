"""`lensllm history`: forecasts, and whether they came true."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, empty_table, print_table, say
from lensllm.errors import InputError


def history(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders of selections, or folders of these; by default out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what was forecast and what training then reached, from the records beside the selections."""
    from lensllm.handover.history import read_all, sentence

    places = folders or [Path("out")]
    rows = read_all(places)
    if not rows:
        where = ", ".join(map(str, places))
        raise InputError(f"{where} holds no history: `lensllm train` writes it beside a selection")
    if as_json:
        print(json.dumps([{**asdict(row), "inside": row.inside} for row in rows], indent=2))
        return
    columns = ("date", "task", "candidate", "measure", "examples", "forecast", "90 % interval", "reached", "came true")
    table = empty_table(*columns, names=4)
    for row in rows:
        told = ["", "", ""]
        if row.inside is not None:
            ends = f"{row.low:.3f}-{row.high:.3f}"
            told = [f"{row.forecast:.3f}", ends, "yes" if row.inside else "NO"]
        about = (row.date[:10], row.task, row.candidate, row.measure, f"{row.examples:,}")
        table.add_row(*about, told[0], told[1], f"{row.reached:.3f}", told[2])
    print_table(table)
    say(sentence(rows))
