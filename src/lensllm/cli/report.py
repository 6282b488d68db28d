"""`lensllm report`: the page of a selection, built anew from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import say


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
) -> None:
    """Build `report.html` of a selection anew, from what its folder holds; nothing is measured."""
    from lensllm.report import write_report
    from lensllm.selection import Selection

    selection = Selection.load(folder)
    write_report(selection, folder / "report.html")
    say(selection.sentence)
    say(f"Report: {folder / 'report.html'}")
