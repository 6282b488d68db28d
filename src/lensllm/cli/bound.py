"""`lensllm bound`: the bound on the test loss of fine-tuned models, term by term."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say, say_notes, to_write
from lensllm.cli.options import given_of, options_of
from lensllm.config import MethodConfig
from lensllm.files import write_whole
from lensllm.progress import progress

if TYPE_CHECKING:
    from lensllm.theory.bound import Bound, Decay

LEFT_OUT = (
    "The bound is its computable part: of O(n^-3/4) only the confidence term has known constants, h is a maximum over "
    "{sample} training examples, and C is {largest}."
)


@options_of(MethodConfig, positional="task")
def bound(
    model: Annotated[str, typer.Option("--model", help="The pre-trained model: a folder, zoo name or hub id.")],
    task: Annotated[str, typer.Option("--task", help="A shipped task's name, a file of examples or a folder.")],
    tuned: Annotated[
        Path | None,
        typer.Argument(metavar="[TUNED]", help="A folder of fine-tuned weights; without it, fine-tune here."),
    ] = None,
    sizes: Annotated[
        list[int] | None,
        typer.Option("--sizes", help="Numbers of examples to fine-tune on; with TUNED, how many it was tuned on."),
    ] = None,
    clip: Annotated[
        float | None, typer.Option("--clip", help="C: losses above it count as C. [default: the largest loss seen]")
    ] = None,
    per_matrix: Annotated[
        bool, typer.Option("--per-matrix", help="Every weight matrix is a layer, not every transformer block.")
    ] = False,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="A selection's folder: its next report shows the bound.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the pictures here.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Bound the test loss of fine-tuned models by their curvature (Zeng et al. 2025), beside the true loss."""
    from lensllm.bound_pipeline import bound as compute

    to_write(html)
    with progress() as callbacks:
        report = compute(
            model, task, sizes=sizes or (), tuned=tuned, clip=clip, per="matrix" if per_matrix else "block",
            output_dir=output_dir, callbacks=callbacks, **given_of(options),
        )  # fmt: skip
    if html is not None:
        _write(html, report.bounds, report.decay)
    if as_json:
        print(json.dumps(finite(report.to_dict()), indent=2))
        return
    say_notes(report.notes)
    _show(report.candidate, report.task, report.bounds, report.decay)


def _show(name: str, task: str, bounds: list[Bound], decay: Decay | None) -> None:
    say(f"{name} on {task}: mean loss of an example in nats a byte, bounded with probability 0.99")
    table = empty_table(
        "examples", "bound", "test", "train", "curvature", "by (5)", "C3 n^-b3", "confidence", "eps", "C", "test-train"
    )
    for b in bounds:
        power = f"{decay.c3 * b.examples**-decay.beta3:.3f}" if decay else ""
        middle = [f"{value:.3f}" for value in (b.value, b.test_loss, b.train_loss, b.curvature, b.curvature_jensen)]
        rest = [f"{value:.3f}" for value in (b.confidence, b.epsilon, b.largest_loss)]
        table.add_row(f"{b.examples:,}", *middle, power, *rest, f"{b.gap:+.3f}")
    print_table(table)
    h = empty_table("h by layer (interval)", *(f"n={b.examples:,}" for b in bounds))
    for place, term in enumerate(bounds[0].layers):
        h.add_row(term.layer, *(f"{b.layers[place].h:.3g} ({b.layers[place].h_low:.2g})" for b in bounds))
    print_table(h)
    if decay:
        low, high = decay.beta2_interval
        print(
            f"sum of h <= {decay.c2:.3g} n^-beta2 with beta2 = {decay.beta2:.2f} "
            f"(90 % interval {low:.2f} to {high:.2f}), so beta3 = {decay.beta3:.2f} and C3 = {decay.c3:.3g}; "
            f"{_dominance(decay)}."
        )
        if high < 0:
            print("h grows with the data here: the displacement grows faster than the curvature falls, so beta2 < 0.")
    held = sum(b.value >= b.test_loss for b in bounds)
    say(f"The bound is above the test loss in {held} of {len(bounds)} runs.")
    largest = "given, losses above it count as C" if bounds[0].clipped else "the largest loss seen"
    print(LEFT_OUT.format(sample=bounds[0].sample, largest=largest))


def _dominance(decay: Decay) -> str:
    if decay.power_from == 0:
        return "the power term is above C n^-3/4 from the first example on"
    if decay.power_from == float("inf"):
        return "the power term falls as fast as C n^-3/4 or faster, so it never comes to dominate"
    return f"the power term is above C n^-3/4 from n = {decay.power_from:,.0f} on"


def _write(html: Path, bounds: list[Bound], decay: Decay | None) -> None:
    from lensllm.report.html import page
    from lensllm.report.theory_figures import bound_figure, layers_figure

    figures = {"terms": bound_figure(bounds, decay), "layers": layers_figure(bounds)}
    write_whole(html, page("bound.html.j2", figures, bounds=bounds, decay=decay))
