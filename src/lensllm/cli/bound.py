"""`lensllm bound`: the bound on the test loss of fine-tuned models, term by term."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.theory.bound import Bound, Decay

LEFT_OUT = (
    "The bound is its computable part: of O(n^-3/4) only the confidence term has known constants, h is a maximum over "
    "{sample} training examples, and C is {largest}."
)


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
) -> None:
    """Bound the test loss of fine-tuned models by their curvature (Zeng et al. 2025), beside the true loss."""
    import transformers

    from lensllm.candidates import find_candidate
    from lensllm.tasks import read_task
    from lensllm.theory.bound import bounds_of_ladder, fit_decay, save_bounds
    from lensllm.tuning.training_config import TrainingConfig

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    candidate, data = find_candidate(model), read_task(task)
    options: dict[str, Any] = {"clip": clip, "per": "matrix" if per_matrix else "block"}
    if tuned is None:
        if not sizes:
            raise InputError("give --sizes, the numbers of examples to fine-tune on, or a folder of fine-tuned weights")
        bounds = bounds_of_ladder(candidate, data, sizes, TrainingConfig(), _told, **options)
        if not bounds:
            raise InputError(f"every run of {candidate.name} diverged: there is nothing to bound")
    else:
        bounds = [_of_weights(tuned, candidate, data, sizes, options)]
    decay = fit_decay(bounds) if len(bounds) >= 3 else None
    if output_dir is not None:
        save_bounds(output_dir, data.name, bounds)
    if html is not None:
        _write(html, bounds, decay)
    if as_json:
        record = {"task": data.name, "bounds": [b.to_dict() for b in bounds], "decay": vars(decay) if decay else None}
        print(json.dumps(finite(record), indent=2))
        return
    _show(candidate.name, data.name, bounds, decay)


def _of_weights(tuned: Path, candidate: Any, data: Any, sizes: list[int] | None, options: dict[str, Any]) -> Bound:
    from lensllm.candidates import find_candidate
    from lensllm.candidates.load import load_model
    from lensllm.theory.bound import bound as bound_of
    from lensllm.tuning.fine_tune import EncodedTask
    from lensllm.tuning.training_config import TrainingConfig

    if sizes and len(sizes) > 1:
        raise InputError(f"{tuned} was fine-tuned on one number of examples, got --sizes {' '.join(map(str, sizes))}")
    examples = sizes[0] if sizes else len(data.train)
    if not 1 <= examples <= len(data.train):
        raise InputError(f"size {examples} is outside 1 to {len(data.train)}, the task's training examples")
    encoded = EncodedTask(candidate, data, TrainingConfig())
    pretrained = {name: p.detach() for name, p in load_model(candidate).named_parameters()}
    model = load_model(find_candidate(str(tuned), tokenizer=False), attn_implementation="eager")
    train, test = encoded.split("train")[:examples], encoded.split("test")
    return bound_of(candidate.name, pretrained, model, train, test, **options)


def _told(run: Any, found: Bound | None) -> None:
    if sys.stderr.isatty():
        said = f"bound {found.value:.3f}, test loss {found.test_loss:.3f}" if found else run.error
        print(f"{run.candidate} on {run.examples:,}: {said}", file=sys.stderr)


def _show(name: str, task: str, bounds: list[Bound], decay: Decay | None) -> None:
    print(f"{name} on {task}: mean loss of an example in nats a byte, bounded with probability 0.99")
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
    print(f"The bound is above the test loss in {held} of {len(bounds)} runs.")
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
    html.write_text(page("bound.html.j2", figures, bounds=bounds, decay=decay), encoding="utf-8")
