"""The picture of a kernel: spectrum, F(t), and the kernel curve beside measured losses."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensllm.probes.measure import Measurement
from lensllm.report.figures import COLOURS, FONT, QUIET, log_axis

LONGEST = 1e4


def kernel_figure(made: Measurement, measured: dict[int, float]) -> go.Figure:
    """Three panels: eigenvalues by rank; F(t) / F(0); the kernel curve with two standard errors and measured losses.

    Args:
        made: of one candidate.
        measured: examples -> loss after fine-tuning, nats a byte; 0 is the model as it came.
    """
    probe = made.probe
    titles = ("eigenvalues of the kernel", "F(t) / F(0): squared error left", "loss after training on d examples")
    figure = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.09)
    values = made.spectrum.eigenvalues / made.spectrum.eigenvalues[0]
    kept = values > 1e-8
    ranks = np.arange(1, len(values) + 1)[kept]
    line = {"color": COLOURS[0], "width": 2}
    figure.add_scatter(
        x=ranks,
        y=values[kept],
        mode="lines",
        line=line,
        showlegend=False,
        hovertemplate="rank %{x}: %{y:.3g} of the largest<extra></extra>",
        row=1,
        col=1,
    )
    times = np.concatenate([[0.0], np.geomspace(0.1, LONGEST, 60)])
    left = made.spectrum.loss(times) / made.spectrum.loss(0.0)
    figure.add_scatter(
        x=times[1:],
        y=left[1:],
        mode="lines",
        line=line,
        showlegend=False,
        hovertemplate="t = %{x:.3g}: %{y:.3f}<extra></extra>",
        row=1,
        col=2,
    )
    figure.add_scatter(
        x=probe.sizes,
        y=probe.losses,
        error_y={"array": [2 * spread for spread in probe.standard_errors], "thickness": 1.2},
        mode="lines+markers",
        line=line,
        name="kernel curve, nothing trained",
        hovertemplate="%{x} examples: %{y:.4f}<extra>kernel curve</extra>",
        row=1,
        col=3,
    )
    tuned = sorted(d for d in measured if d > 0)
    if tuned:
        figure.add_scatter(
            x=tuned,
            y=[measured[d] for d in tuned],
            mode="lines+markers",
            line={"color": COLOURS[1], "width": 2},
            marker={"size": 8},
            name="measured by fine-tuning",
            hovertemplate="%{x:,} examples: %{y:.4f}<extra>measured</extra>",
            row=1,
            col=3,
        )
    figure.add_hline(y=probe.zero_shot_probe_loss, line_dash="dash", line_color=QUIET, row=1, col=3)
    figure.add_annotation(
        xref="x3 domain",
        x=1,
        y=np.log10(probe.zero_shot_probe_loss),
        yref="y3",
        text="before training",
        showarrow=False,
        xanchor="right",
        yshift=9,
    )
    figure.update_xaxes(type="log", exponentformat="power", dtick=1)
    figure.update_xaxes(title="rank", row=1, col=1)
    figure.update_xaxes(title="t, in units of 1 / (step x largest eigenvalue)", range=[-1.15, 4.1], row=1, col=2)
    figure.update_xaxes(title="training examples", row=1, col=3, exponentformat="none", tickformat=",")
    figure.update_yaxes(type="log", title="part of the largest", exponentformat="power", dtick=1, row=1, col=1)
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=2)
    ends = [probe.zero_shot_probe_loss, *probe.losses, *(measured[d] for d in tuned)]
    margin = (max(ends) / min(ends)) ** 0.08 * 1.002
    low, high = min(ends) / margin, max(ends) * margin
    round_ones = [digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5)]
    labels = [f"{tick:g}" for tick in round_ones]
    decades = {
        "type": "log",
        "range": [np.log10(low), np.log10(high)],
        "tickvals": round_ones,
        "ticktext": labels,
    }
    figure.update_yaxes(title="nats a byte", **(decades if high > 4 * low else log_axis(low, high)), row=1, col=3)
    figure.update_layout(
        template="plotly_white",
        height=430,
        font={"family": FONT, "size": 13},
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": -0.2},
    )
    figure.update_yaxes(automargin=True)
    return figure
