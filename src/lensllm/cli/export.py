"""`lensllm export`: the answer as files of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, say, say_notes


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    to: Annotated[str, typer.Option("--to", help="trl, axolotl, llama-factory, unsloth or oumi.")],
    candidate: Annotated[str, typer.Option("--candidate", help="Which candidate; by default the best.")] = "",
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="An empty folder for the files; by default DIR/export-TOOL.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the configuration and data files with which another tool trains what was measured."""
    from lensllm.exporters import export as write

    target, made = write(folder, to, output_dir or "", candidate)
    if as_json:
        files = [str(target / name) for name in made.files]
        print(json.dumps({"folder": str(target), "files": files, "command": made.command, "notes": list(made.notes)}))
        return
    for name in made.files:
        say(target / name)
    say_notes(made.notes)
    say(f"Train with: cd {target} && {made.command}")
