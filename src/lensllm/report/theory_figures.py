"""The pictures of the dynamics: the terms of the bound, h by layer, and slopes with the phases shaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensllm.curves import Curves
from lensllm.laws import Prior, RectifiedLaw
from lensllm.planning.phases import Phase, local_slopes
from lensllm.report.figures import COLOURS, QUIET, dressed

if TYPE_CHECKING:
    from lensllm.theory.bound import Bound, Decay

COLUMNS = 3
LOG_TICKS = {
    "tickvals": [digit * 10.0**power for power in range(-8, 5) for digit in (1, 2, 5)],
    "ticktext": [f"{digit * 10.0**power:g}" for power in range(-8, 5) for digit in (1, 2, 5)],
}
PRE_POWER, BETWEEN = "#d1495b", "#edae49"


def bound_figure(bounds: Sequence[Bound], decay: Decay | None) -> go.Figure:
    """Left: the bound, the test loss and the training loss against n. Right: what the bound adds, and the true gap.

    Args:
        bounds: of one candidate, in the order of n.
        decay: (6) and (7) fitted to them, where there are enough.
    """
    n = np.array([b.examples for b in bounds])
    figure = make_subplots(
        1, 2, horizontal_spacing=0.1, subplot_titles=["losses", "what is added to the training loss"]
    )
    lines = [
        ("bound", [b.value for b in bounds], COLOURS[3], "solid"),
        ("test loss", [b.test_loss for b in bounds], COLOURS[0], "solid"),
        ("training loss", [b.train_loss for b in bounds], QUIET, "dot"),
    ]
    for name, values, colour, dash in lines:
        _line(figure, n, values, name, colour, dash, column=1)
    added = [
        ("bound - training loss", [b.value - b.train_loss for b in bounds], COLOURS[3], "solid"),
        ("curvature term", [(1 + b.epsilon) * b.curvature for b in bounds], COLOURS[2], "solid"),
        ("its limit by (5)", [(1 + b.epsilon) * b.curvature_jensen for b in bounds], COLOURS[2], "dot"),
        ("confidence term", [b.confidence for b in bounds], COLOURS[4], "solid"),
        ("true gap (test - training)", [b.gap if b.gap > 0 else math.nan for b in bounds], COLOURS[8], "solid"),
    ]
    for name, values, colour, dash in added:
        _line(figure, n, values, name, colour, dash, column=2)
    if decay is not None:
        power = [decay.c3 * size**-decay.beta3 for size in n.astype(float)]
        _line(figure, n, power, "C3 n^-beta3 (7)", COLOURS[1], "dash", column=2)
    ticks = {"tickvals": n, "ticktext": [f"{size:,}" for size in n]}
    figure.update_xaxes(type="log", title="training examples", **ticks)
    figure.update_yaxes(title="nats a byte", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(type="log", **LOG_TICKS, row=1, col=2)
    return _dressed(figure, 430).update_layout(legend={"orientation": "h", "y": -0.2})


def layers_figure(bounds: Sequence[Bound]) -> go.Figure:
    """h of every layer against n, with its interval, and the mean over the sample dotted."""
    figure = go.Figure()
    n = np.array([b.examples for b in bounds])
    for place, layer in enumerate(term.layer for term in bounds[0].layers):
        terms = [next(term for term in b.layers if term.layer == layer) for b in bounds]
        colour = COLOURS[place % len(COLOURS)]
        high, low = [term.h for term in terms], [term.h_low for term in terms]
        label = {"name": layer, "legendgroup": layer}
        figure.add_scatter(
            x=n,
            y=high,
            mode="lines+markers",
            line_color=colour,
            error_y={"array": np.zeros(len(n)), "arrayminus": np.subtract(high, low), "width": 3, "thickness": 1},
            hovertemplate=f"{layer}<br>%{{x:,}} examples: h = %{{y:.3g}}<extra></extra>",
            **label,
        )
        mean = [term.h_mean for term in terms]
        figure.add_scatter(
            x=n,
            y=mean,
            mode="lines",
            line={"color": colour, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
            **label,
        )
    figure.update_xaxes(type="log", title="training examples", tickvals=n, ticktext=[f"{size:,}" for size in n])
    figure.update_yaxes(type="log", title="h, nats a byte", **LOG_TICKS)
    return _dressed(figure, 400)


def slopes_figure(curves: Curves, phases: Sequence[Phase]) -> go.Figure:
    """Local log-log slope of every candidate against n: measured points, the law's line, the phases shaded.

    The red ground is the pre-power phase, up to where the law's transition is likely (5 % of its posterior), the
    yellow its interval, the white the power phase.
    """
    columns = min(COLUMNS, len(phases))
    rows = math.ceil(len(phases) / columns)
    titles = [f"{_short(p.candidate)}: {p.phase}" for p in phases]
    figure = make_subplots(
        rows, columns, subplot_titles=titles, shared_xaxes="all", horizontal_spacing=0.07, vertical_spacing=0.28 / rows
    )
    tuned = curves.sizes[curves.sizes > 0]
    ends = (tuned[0] / 1.3, tuned[-1] * 1.3)
    grid = np.geomspace(*ends, 80)
    for place, phase in enumerate(phases):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        _add_slopes(figure, curves, phase, grid, ends, at)
    shown = tuned[:: max(1, math.ceil(len(tuned) / 4))]
    figure.update_xaxes(
        type="log",
        range=[math.log10(end) for end in ends],
        tickvals=shown,
        ticktext=[f"{size:,.0f}" for size in shown],
        showticklabels=True,
    )
    figure.update_yaxes(nticks=5)
    figure.update_yaxes(title="slope", col=1)
    figure.update_annotations(font_size=12)
    figure.update_layout(showlegend=False)
    return _dressed(figure, 60 + 190 * rows)


def _add_slopes(
    figure: go.Figure, curves: Curves, phase: Phase, grid: np.ndarray, ends: tuple[float, float], at: dict[str, int]
) -> None:
    """One candidate's panel."""
    losses = curves.losses[curves.candidates.index(phase.candidate)]
    seen = (curves.sizes > 0) & np.isfinite(losses) & (losses > 0)
    sizes, losses = curves.sizes[seen], losses[seen]
    if phase.phase != "unknown":
        law = RectifiedLaw(prior=Prior()).fit(sizes, losses)
        middle, slope = local_slopes(grid, law.predict(grid)[0])
        figure.add_scatter(x=middle, y=slope, mode="lines", line={"color": "#555", "width": 1.5}, **at)
    if sizes.size > 1:
        middle, slope = local_slopes(sizes, losses)
        figure.add_scatter(
            x=middle,
            y=slope,
            mode="markers",
            marker={"size": 7, "color": COLOURS[0]},
            hovertemplate="%{x:,.0f} examples: slope %{y:.3f}<extra></extra>",
            **at,
        )
    if phase.phase != "unknown":
        low, high = (min(max(edge, ends[0]), ends[1]) for edge in (phase.by_law.low, phase.by_law.high))
        figure.add_vrect(x0=ends[0], x1=low, fillcolor=PRE_POWER, opacity=0.16, line_width=0, layer="below", **at)
        figure.add_vrect(x0=low, x1=high, fillcolor=BETWEEN, opacity=0.2, line_width=0, layer="below", **at)


def _line(
    figure: go.Figure, n: np.ndarray, values: Sequence[float], name: str, colour: str, dash: str, column: int
) -> None:
    figure.add_scatter(
        x=n,
        y=list(values),
        name=name,
        mode="lines+markers" if dash == "solid" else "lines",
        line={"color": colour, "dash": dash},
        hovertemplate=f"{name}<br>%{{x:,}} examples: %{{y:.4g}}<extra></extra>",
        row=1,
        col=column,
    )


def _short(name: str) -> str:
    """A name that fits above a panel, as text: plotly reads a little HTML."""
    name = name.split("/")[-1]
    name = name if len(name) <= 26 else name[:25] + "…"
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _dressed(figure: go.Figure, height: int) -> go.Figure:
    figure.update_xaxes(showline=True, linecolor=QUIET)
    return dressed(figure, height).update_layout(margin_t=40)
