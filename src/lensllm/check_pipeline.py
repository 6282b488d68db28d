"""What a selection needs, before it is run and before any weight is downloaded or read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.given import Given
from lensllm.inputs import check_rank_by, read_candidates, read_scoring
from lensllm.planning.check import Check
from lensllm.planning.selection_plan import plan_selection
from lensllm.search.cost import Budget
from lensllm.select_options import Models, SelectOptions, with_options


@with_options
def check(task: Any, models: Models, **options: Unpack[SelectOptions]) -> Check:
    """What `select` with the same arguments needs: memory, which batch fits, disk, hours, money.

    No weight is read. A hub model is not downloaded: its configuration and tokenizer are, and the headers of its
    weights are read by range requests. Memory is that of a step gone through with tensors that have sizes and no
    numbers (`lensllm.tuning.rehearsal`). Hours are FLOPs over the speed that the runs in `output_dir` reached; without
    such runs over a part of that of a bare product, measured now.

    Args:
        task: as for `select`.
        models: local folders, zoo names or hub ids, or `Candidate` objects, as for `select`.
        options: the other fields of `SelectConfig`.

    Raises:
        InputError: for a task or options that cannot be used, or if no candidate is left.

    >>> import lensllm
    >>> [plan] = lensllm.check("define", ["gpt2-0.2m-random"]).candidates
    >>> plan.memory.weights == 4 * plan.parameters, plan.memory.micro_batch, plan.memory.gradient_checkpointing
    (True, 8, False)
    """
    return run_check(*Given.of(task, models, options))


def run_check(config: SelectConfig, given: Given | None = None) -> Check:
    """`check` with all its settings in one object; `given` are objects in place of names."""
    given = given or Given()
    if config.executor != "processes":
        raise InputError(
            "check plans for the machine that it runs on: run it on a node without --executor; select plans for the "
            "largest node before it begins"
        )
    task, found, chosen = read_candidates(config, given, weights=False)
    scoring, said = read_scoring(config, task, found.admitted, given)
    check_rank_by(config, scoring)
    budget = Budget(config.budget, config.budget_flops, config.budget_hours)
    plan = plan_selection(
        found.admitted, task, config.training_config(), budget, config.sizes,
        given.executor.free_slots if given.executor else config.workers,
        gpus_per_run=config.gpus_per_run, folder=Path(config.output_dir), both=True,
        scoring=scoring,
    )  # fmt: skip
    refused = (*((one.name, one.reason) for one in found.refused), *plan.refused)
    if not plan.candidates:
        raise InputError("; ".join(reason for _, reason in refused))
    notes = (*task.notes, *chosen, *said, *plan.notes)
    return replace(plan, price_per_hour=config.price_per_hour, refused=refused, notes=notes)
