"""`lensllm train`: the winner of a selection on all the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lensllm.cli.common import Json, say, say_notes
from lensllm.config import SelectConfig


def _as_selected(name: str) -> Any:
    """The flag of `select` for a setting, which has here what the selection had where it is not given."""
    said = (SelectConfig.model_fields[name].description or "").removesuffix(".")
    return typer.Option(f"--{name.replace('_', '-')}", help=f"{said}; by default as in the selection.")


def train(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    candidate: Annotated[
        str | None, typer.Option("--candidate", metavar="NAME", help="Train this one; by default the winner.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option("--examples", help="Train on so many of the examples; by default on all.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Add the adapter to its base as well, as one model in merged/.")
    ] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", help="Where the model goes; by default trained/NAME in the selection's folder."),
    ] = None,
    save_steps: Annotated[
        float, typer.Option("--save-steps", min=0.001, help="Steps between checkpoints; below 1 a part of all steps.")
    ] = 0.1,
    executor: Annotated[Literal["processes", "ray"] | None, _as_selected("executor")] = None,
    ray_address: Annotated[str | None, _as_selected("ray_address")] = None,
    as_json: Json = False,
) -> None:
    """Train the winner of a selection on all the data, exactly as it was measured; run again to go on.

    The model or adapter is saved with tokenizer, chat template and model card, and what was forecast is compared with
    what was reached.
    """
    from lensllm.selection import Selection

    options = {"candidate": candidate, "examples": examples, "merge": merge, "output_dir": output_dir}
    where = {"executor": executor, "ray_address": ray_address}
    trained = Selection.load(folder).train(**options, **where, save_steps=save_steps, progress=True)
    if as_json:
        print(json.dumps(trained.to_dict(), indent=2, allow_nan=False))
        return
    say_notes(trained.notes)
    for one in trained.outcomes[1:]:
        say(one.told)
    say(trained.sentence)
    if trained.merged:
        say(f"Merged: {trained.merged}, loss {trained.merged_loss:.3f} nats/byte on the same test")
    say(f"Model: {trained.folder}")
