"""The picture of a kernel: spectrum, F(t), and the kernel curve beside measured losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensllm.probes.measure import Measurement
from lensllm.report.figures import COLOURS, FONT, QUIET, log_axis

LONGEST = 1e4
"""Training time that F(t) is drawn to: by then only the smallest modes are left."""
SMALLEST_SHOWN = 1e-8
"""Part of the largest eigenvalue below which rounding is all there is, in single precision."""
WIDE = 4
"""Highest over lowest loss from which an axis is labelled at 1, 2 and 5."""
LINE = {"color": COLOURS[0], "width": 2}


def kernel_figure(made: Measurement, measured: dict[int, float]) -> go.Figure:
    """Three panels: eigenvalues by rank; F(t) / F(0); the kernel curve with two standard errors and measured losses.

    Args:
        made: of one candidate.
        measured: examples -> loss after fine-tuning, nats a byte; 0 is the model as it came.
    """
    titles = ("eigenvalues of the kernel", "F(t) / F(0): squared error left", "loss after training on d examples")
    figure = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.09)
    figure.update_xaxes(type="log", exponentformat="power", dtick=1)
    _spectrum_panel(figure, made)
    _loss_over_time_panel(figure, made)
    _curve_panel(figure, made, measured)
    figure.update_layout(
        template="plotly_white",
        height=430,
        font={"family": FONT, "size": 13},
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": -0.2},
    )
    return figure.update_yaxes(automargin=True)


def _spectrum_panel(figure: go.Figure, made: Measurement) -> None:
    values = made.spectrum.eigenvalues / made.spectrum.eigenvalues[0]
    kept = values > SMALLEST_SHOWN
    figure.add_scatter(
        x=np.arange(1, len(values) + 1)[kept],
        y=values[kept],
        mode="lines",
        line=LINE,
        showlegend=False,
        hovertemplate="rank %{x}: %{y:.3g} of the largest<extra></extra>",
        row=1,
        col=1,
    )
    figure.update_xaxes(title="rank", row=1, col=1)
    figure.update_yaxes(type="log", title="part of the largest", exponentformat="power", dtick=1, row=1, col=1)


def _loss_over_time_panel(figure: go.Figure, made: Measurement) -> None:
    times = np.geomspace(0.1, LONGEST, 60)
    left = np.asarray(made.spectrum.loss(times)) / made.spectrum.loss(0.0)
    figure.add_scatter(
        x=times,
        y=left,
        mode="lines",
        line=LINE,
        showlegend=False,
        hovertemplate="t = %{x:.3g}: %{y:.3f}<extra></extra>",
        row=1,
        col=2,
    )
    figure.update_xaxes(title="t, in units of 1 / (step x largest eigenvalue)", range=[-1.15, 4.1], row=1, col=2)
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=2)


def _curve_panel(figure: go.Figure, made: Measurement, measured: dict[int, float]) -> None:
    probe = made.probe
    tuned = {d: measured[d] for d in sorted(measured) if d > 0}
    figure.add_scatter(
        x=probe.sizes,
        y=probe.losses,
        error_y={"array": [2 * spread for spread in probe.standard_errors], "thickness": 1.2},
        mode="lines+markers",
        line=LINE,
        name="kernel curve, nothing trained",
        hovertemplate="%{x} examples: %{y:.4f}<extra>kernel curve</extra>",
        row=1,
        col=3,
    )
    if tuned:
        figure.add_scatter(
            x=list(tuned),
            y=list(tuned.values()),
            mode="lines+markers",
            line={"color": COLOURS[1], "width": 2},
            marker={"size": 8},
            name="measured by fine-tuning",
            hovertemplate="%{x:,} examples: %{y:.4f}<extra>measured</extra>",
            row=1,
            col=3,
        )
    start = probe.zero_shot_probe_loss
    figure.add_hline(y=start, line_dash="dash", line_color=QUIET, row=1, col=3)
    place = {"xref": "x3 domain", "x": 1, "yref": "y3", "y": np.log10(start), "xanchor": "right", "yshift": 9}
    figure.add_annotation(text="before training", showarrow=False, **place)
    figure.update_xaxes(title="training examples", row=1, col=3, exponentformat="none", tickformat=",")
    figure.update_yaxes(title="nats a byte", **_loss_axis([start, *probe.losses, *tuned.values()]), row=1, col=3)


def _loss_axis(losses: list[float]) -> dict[str, Any]:
    """Around these losses; labelled at 1, 2 and 5 where they span much, evenly where they do not."""
    margin = (max(losses) / min(losses)) ** 0.08 * 1.002
    low, high = min(losses) / margin, max(losses) * margin
    if high <= WIDE * low:
        return log_axis(low, high)
    round_ones = [digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5)]
    labels = [f"{tick:g}" for tick in round_ones]
    return {"type": "log", "range": [np.log10(low), np.log10(high)], "tickvals": round_ones, "ticktext": labels}
