"""`lensllm check`: memory, disk, hours and money before anything is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lensllm.cli.common import Json, empty_table, finite, has_room, print_table, say, say_notes
from lensllm.cli.options import config_of, options_of
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.text import gibibytes

if TYPE_CHECKING:
    from lensllm.planning.candidate_plan import CandidatePlan
    from lensllm.planning.check import Check

SHORT = ("trained", "weights", "peak", "batch", "hours", "price")
"""Columns that are left where there is no room for all."""


@options_of(SelectConfig, positional="task")
def check(
    task: Annotated[str, typer.Argument(help="A shipped task's name, a file, a folder or a hub id.")],
    as_json: Json = False,
    **options: Any,
) -> None:
    """Say what fits this machine and what it costs, before a weight is downloaded or read; 2 if nothing fits."""
    say_check(config_of(SelectConfig, {**options, "task": task}), as_json)


def say_check(config: SelectConfig, as_json: bool) -> None:
    """Print what fits this machine and what it costs.

    Raises:
        InputError: if nothing fits.
    """
    from lensllm.check_pipeline import run_check

    plan = run_check(config)
    if as_json:
        print(json.dumps(finite(plan.to_dict()), indent=2))
    else:
        _show(plan)
    if plan.none_fits:
        raise InputError(plan.none_fits)


def _show(plan: Check) -> None:
    say(f"{plan.task}: {plan.target_size:,} training examples; bytes and hours are estimates")
    rows = {one.candidate: _cells(one) for one in plan.candidates}
    if plan.price_per_hour is not None:
        for one in plan.candidates:
            rows[one.candidate]["price"] = f"{plan.price(one.hours):,.2f}"
    whole = _table(rows)
    if has_room(whole):
        print_table(whole)
    else:
        print_table(_table({name: {key: cells[key] for key in SHORT if key in cells} for name, cells in rows.items()}))
        say("What the peak is made of is shown where there is room, in a wider window or a file, and by --json.")
    for name, reason in plan.refused:
        say(f"refused: {reason if name in reason else f'{name}: {reason}'}")
    say_notes(plan.notes)
    for said in plan.sentences:
        say(said)


def _table(rows: Mapping[str, Mapping[str, str]]) -> Table:
    columns = next(iter(rows.values()), {})
    table = empty_table("candidate", *columns)
    for name, cells in rows.items():
        table.add_row(name, *cells.values())
    return table


def _cells(one: CandidatePlan) -> dict[str, str]:
    memory, twice = one.memory, one.memory.activations_checkpointed
    checkpointed = " checkpointed" * memory.gradient_checkpointing
    return {
        "parameters": f"{one.parameters:,}",
        "trained": f"{one.trained_parameters:,}",
        "weights": gibibytes(memory.weights),
        "gradients": gibibytes(memory.gradients),
        "optimizer": gibibytes(memory.optimizer),
        "activations": gibibytes(memory.activations),
        "checkpointed": gibibytes(twice) if twice is not None else "",
        "logits": gibibytes(memory.logits),
        "evaluation": gibibytes(memory.logits_evaluation),
        "peak": gibibytes(memory.peak),
        "batch": f"{memory.micro_batch}{checkpointed}" if memory.fits else "does not fit",
        "hours": f"{one.hours:.2g}",
    }
