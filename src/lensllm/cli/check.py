"""`lensllm check`: memory, disk, hours and money before anything is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say, say_notes
from lensllm.cli.options import config_of, options_of
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.text import gibibytes

if TYPE_CHECKING:
    from lensllm.planning.candidate_plan import CandidatePlan
    from lensllm.planning.check import Check

COLUMNS = (
    *("parameters", "trained", "weights", "gradients", "optimizer", "activations", "checkpointed", "logits"),
    *("evaluation", "peak", "batch", "hours"),
)


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
    priced = plan.price_per_hour is not None
    table = empty_table("candidate", *COLUMNS, *["price"] * priced)
    for one in plan.candidates:
        price = [f"{plan.price(one.hours):,.2f}"] if priced else []
        table.add_row(one.candidate, *_cells(one), *price)
    print_table(table)
    for name, reason in plan.refused:
        say(f"refused: {reason if name in reason else f'{name}: {reason}'}")
    say_notes(plan.notes)
    for said in plan.sentences:
        say(said)


def _cells(one: CandidatePlan) -> list[str]:
    memory = one.memory
    sizes = (memory.weights, memory.gradients, memory.optimizer, memory.activations)
    checkpointed = gibibytes(memory.activations_checkpointed) if memory.activations_checkpointed is not None else ""
    more = (memory.logits, memory.logits_evaluation, memory.peak)
    fits = f"{memory.micro_batch}" + " checkpointed" * memory.gradient_checkpointing if memory.fits else "does not fit"
    counts = [f"{one.parameters:,}", f"{one.trained_parameters:,}"]
    return [*counts, *map(gibibytes, sizes), checkpointed, *map(gibibytes, more), fits, f"{one.hours:.2g}"]
