"""`lensllm page`: a live page of a selection."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import say
from lensllm.errors import InputError


def page(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1; by default one that is free.")
    ] = 0,
) -> None:
    """Show a selection that runs or is done as a page in the browser of this machine, until Ctrl-C."""
    from lensllm.page.serve import serve
    from lensllm.page.so_far import read_so_far

    if not folder.is_dir() or read_so_far(folder).status == "waiting":
        raise InputError(f"{folder} holds no selection: give the output folder of a selection that has begun")

    def opened(address: str) -> None:
        say(f"Open this address in a browser of this machine; Ctrl-C ends it: {address}")
        sys.stdout.flush()

    with suppress(KeyboardInterrupt):
        serve(folder, opened, port=port)
