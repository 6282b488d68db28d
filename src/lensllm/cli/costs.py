"""What candidates train, and what they take in memory, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from lensllm.cli.common import empty_table
from lensllm.text import memory

if TYPE_CHECKING:
    from lensllm.planning import Cost

MEMORY = (
    "Memory: weights, gradients and optimizer in training, weights alone in serving; activations come on top. LoRA is "
    "served merged into its model, QLoRA beside its base in 4 bits."
)


def memory_table(costs: Mapping[str, Cost]) -> Table | None:
    """Parameters trained and served, and the memory of both; None where they are not known."""
    if not any(cost.training_memory is not None for cost in costs.values()):
        return None
    table = empty_table("candidate", "trained", "served", "memory in training", "in serving")
    for name, cost in costs.items():
        table.add_row(
            name,
            f"{cost.trained_parameters:,}",
            f"{cost.served_parameters:,}",
            memory(cost.training_memory),
            memory(cost.serving_memory),
        )
    return table
