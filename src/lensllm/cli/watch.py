"""`lensllm watch`: whether a run elsewhere keeps the forecast."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensllm.cli.common import Json, say
from lensllm.cli.curve_options import Metric
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.watching import Verdict
    from lensllm.watching.verdict import Unit

OFF = 3
"""Exit code where a run is off its forecast."""


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    log: Annotated[
        str,
        typer.Option(
            "--log",
            help="The run: its folder, trainer_state.json, a TensorBoard file, a CSV, trackio:PROJECT/RUN or "
            "wandb:ENTITY/PROJECT/ID.",
        ),
    ],
    candidate: Annotated[str, typer.Option("--candidate", help="Which candidate it is; by default the best.")] = "",
    examples: Annotated[int, typer.Option("--examples", min=0, help="Training examples, where it has not all.")] = 0,
    metric: Metric = "",
    unit: Annotated[
        str, typer.Option("--unit", help="What its loss is a mean over: token, as trainers log it, or byte.")
    ] = "token",
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Optimizer steps it is to take, where the log does not tell.")
    ] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Look every ten seconds until it can be told.")] = False,
    as_json: Json = False,
) -> None:
    """Say whether a run elsewhere is on forecast; ends with 3 where it is off, 0 where it is on or cannot be told."""
    from lensllm.watching.watch import follow as looking
    from lensllm.watching.watch import watch as look_at

    if unit not in ("token", "byte"):
        raise InputError(f"--unit is {unit!r}, expected token or byte")

    def look() -> Verdict:
        mean_over: Unit = "byte" if unit == "byte" else "token"
        told = {"candidate": candidate, "metric": metric}
        return look_at(folder, log, **told, examples=examples, steps=steps, unit=mean_over)

    for verdict in looking(look) if follow else [look()]:
        _show(verdict, as_json)
    if verdict.is_off:
        sys.exit(OFF)


def _show(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(verdict), "causes": list(verdict.causes)}, indent=2))
        return
    say(f"{verdict.status}: {verdict.sentence}")
    say(f"from: {verdict.basis}")
    if verdict.causes:
        say("what usually causes it:")
    for cause in verdict.causes:
        say(f"- {cause}")
