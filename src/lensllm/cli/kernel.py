"""`lensllm kernel`: what a model's neural tangent kernel says before any training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say, say_notes, to_write
from lensllm.cli.options import given_of, options_of
from lensllm.config import MethodConfig
from lensllm.files import write_whole

if TYPE_CHECKING:
    from lensllm.kernel_pipeline import KernelReport


@options_of(MethodConfig, positional="task")
def kernel(
    model: Annotated[str, typer.Option("--model", help="A local folder, a zoo name or a hub id.")],
    task: Annotated[str, typer.Option("--task", help="A shipped task's name, a file or a folder of splits.")],
    probe: Annotated[int, typer.Option("--probe", help="Number of training examples to probe with.")] = 64,
    save: Annotated[Path | None, typer.Option("--save", help="Write gram, residual and index here (.npz).")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the picture here.")] = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Measured losses of the model (CSV), nats a byte, for the picture.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", help="A selection's output folder: keeps the probe, lends its measured losses."),
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Measure a model's neural tangent kernel on a few examples: its spectrum, and the loss it expects of training."""
    from lensllm.kernel_pipeline import kernel as compute

    to_write(save, html)
    report = compute(model, task, probe=probe, curves=curves, output_dir=output_dir, **given_of(options))
    if save is not None:
        report.measurement.kernel.save(save)
    if html is not None:
        from lensllm.report.kernel import kernel_figure

        figure = kernel_figure(report.measurement, report.measured)
        write_whole(html, figure.to_html(config={"displayModeBar": False}))
    if as_json:
        print(json.dumps(finite(report.to_dict()), indent=2))
        return
    say_notes(report.notes)
    _show(report)


def _show(report: KernelReport) -> None:
    probe, measured = report.measurement.probe, report.measured
    say(f"{probe.candidate} on {probe.examples} examples of {report.task}, {probe.rows} completion tokens")
    of = f"{probe.trained_parameters:,} of {report.method}" if report.method != "full" else "all weights"
    say(f"The kernel is over what is trained: {of}; nothing trained")
    print("\nSpectrum of the kernel")
    table = empty_table("trace a token", "effective rank", "decay exponent", "alignment", "standard error")
    error = "unknown" if math.isnan(probe.kernel_error) else f"{probe.kernel_error:.1%}"
    numbers = (f"{probe.effective_rank:.1f}", f"{probe.decay:.2f}", f"{probe.alignment:.3f}", error)
    table.add_row(f"{probe.trace:.3g}", *numbers)
    print_table(table)
    print("\nF(t) / F(0), squared error left after training time t (1: the fastest mode shrinks by e)")
    table = empty_table(*[f"t={t:g}" for t in probe.times], names=0)
    table.add_row(*[f"{share:.3f}" for share in probe.remaining])
    print_table(table)
    print("\nKernel curve, nats a byte: loss expected after training on d examples")
    table = empty_table("d", "loss", "standard error", *["measured"] * bool(measured), names=0)
    table.add_row("0", f"{probe.zero_shot_probe_loss:.4f}", "", *[_loss(measured, 0)] * bool(measured))
    for d, loss, spread in zip(probe.sizes, probe.losses, probe.standard_errors, strict=True):
        table.add_row(str(d), f"{loss:.4f}", f"{spread:.4f}", *[_loss(measured, d)] * bool(measured))
    for d in sorted(set(measured) - {0, *probe.sizes}):
        table.add_row(f"{d:,}", "", "", _loss(measured, d))
    print_table(table)
    cost = f"{probe.flops:.1e} FLOPs, {probe.seconds:.1f} s"
    weights = (
        "" if math.isnan(probe.pl_alpha) else f"PL_alpha {probe.pl_alpha:.2f}, E_TPL_lambda {probe.e_tpl_lambda:.3g}"
    )
    labels = "" if math.isnan(probe.log_me) else f"LogME {probe.log_me:.4f}"
    print("\n" + "; ".join(filter(None, [weights, labels, cost])))


def _loss(measured: dict[int, float], d: int) -> str:
    return f"{measured[d]:.4f}" if d in measured else ""
