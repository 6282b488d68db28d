"""What commands that read losses from elsewhere can be told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lensllm.curve_sources import HowRead

SOURCE = (
    "Measured losses: a CSV table, a folder of runs (trainer_state.json, MLflow, TensorBoard), a CSV of W&B or MLflow, "
    "trackio:PROJECT or wandb:ENTITY/PROJECT."
)
Metric = Annotated[str, typer.Option("--metric", help="Of runs: name of the loss, where they have several.")]
Evaluation = Annotated[
    str, typer.Option("--evaluation", help="Of runs: last or best, which of its evaluations a run counts by.")
]
RunNames = Annotated[
    str,
    typer.Option(
        "--run-names", help="Of runs: what their names say, as '{candidate}-{examples}', with {seed} and * besides."
    ),
]
Examples = Annotated[
    list[str] | None,
    typer.Option("--examples", help="Of runs: RUN=N, the training examples of one, where nothing else tells."),
]


def how_read(metric: str, evaluation: str, run_names: str, examples: list[str] | None) -> HowRead:
    """What these options say.

    Raises:
        InputError: as `HowRead.of`.
    """
    from lensllm.curve_sources import HowRead

    return HowRead.of(metric, evaluation, run_names, examples or [])
