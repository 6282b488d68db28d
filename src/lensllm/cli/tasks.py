"""`lensllm tasks show`: an example as each model reads and learns it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, print_table, say
from lensllm.cli.options import config_of, options_of
from lensllm.config import SelectConfig


@options_of(SelectConfig, positional="task")
def show(
    task: Annotated[str, typer.Argument(help="A shipped task's name, a file, a folder or a hub id.")],
    example: Annotated[int, typer.Option("--example", help="Which training example, from 1.")] = 1,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Show a training example as each model reads it: tokens, which are learned, what was cut."""
    from lensllm.tasks_pipeline import show_task

    shown = show_task(config_of(SelectConfig, {**options, "task": task}), example)
    if as_json:
        print(json.dumps([one.to_dict() for one in shown], indent=2))
        return
    for one in shown:
        learned = sum(token.use != "read" for token in one.tokens)
        say(f"{one.model}: {len(one.tokens):,} tokens, {learned:,} learned")
        table = empty_table("", "tokens", "text, | between tokens", names=1)
        for use, texts in one.runs:
            table.add_row(use, f"{len(texts):,}", "|".join(texts))
        table.columns[2].justify = "left"
        print_table(table)
        for note in one.notes:
            say(f"note: {note}")
        print()
