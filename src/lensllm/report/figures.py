"""The pictures: curves with their forecast, the ranking, the cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selection import LEVEL, Selection

FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
COLOURS = [*qualitative.D3, *qualitative.Dark2, *qualitative.Set1]
QUIET = "#b9bec7"
BANDS = 3


def curves_figure(curves: Curves, forecast: Forecast, unit: str) -> go.Figure:
    """Measured points of every candidate, and the forecast from the last of them to the target size.

    Candidates are in the order of the forecast at the target; the 90 % band is drawn for the first three alone, since
    more of them hide each other.

    Args:
        curves: measured losses.
        forecast: of the same candidates at growing sizes; those before the last measured one and beyond the target are
            not drawn.
        unit: of the losses, for the axis.
    """
    figure = go.Figure()
    target = forecast.target_size
    measured = curves.sizes[(curves.sizes > 0) & np.isfinite(curves.losses).any(axis=0)]
    shown = (forecast.sizes >= min(measured[-1], target)) & (forecast.sizes <= target)
    sizes, tuned = forecast.sizes[shown], forecast.of(curves.candidates)
    ends = []
    for place, name in enumerate(tuned.ranking):
        k = curves.candidates.index(name)
        colour = COLOURS[place % len(COLOURS)]
        seen = (curves.sizes > 0) & np.isfinite(curves.losses[k])
        mean = tuned.means[shown, k].tolist()
        if place < BANDS:
            low, high = np.array([tuned.of([name]).at(size).interval(LEVEL)[0] for size in sizes]).T
            add_band(figure, sizes, low, high, colour, name)
        figure.add_scatter(
            x=sizes,
            y=mean,
            mode="lines",
            line={"color": colour, "dash": "dot", "width": 2 if place < BANDS else 1.2},
            legendgroup=name,
            showlegend=False,
            hovertemplate=f"{escaped(name)}<br>%{{x:,}} examples: %{{y:.3f}} (forecast)<extra></extra>",
        )
        figure.add_scatter(
            x=curves.sizes[seen],
            y=curves.losses[k][seen],
            mode="lines+markers",
            name=escaped(name),
            legendgroup=name,
            line={"color": colour, "width": 2 if place < BANDS else 1.2},
            marker={"size": 7},
            hovertemplate=f"{escaped(name)}<br>%{{x:,}} examples: %{{y:.3f}}<extra></extra>",
        )
        ends += mean
    figure.add_vline(x=target, line_dash="dash", line_color=QUIET)
    figure.add_annotation(
        x=np.log10(target),
        y=1,
        yref="paper",
        text=f"all the data: {target:,.0f}",
        showarrow=False,
        xanchor="right",
        xshift=-4,
    )
    seen_losses = curves.losses[:, curves.sizes > 0]
    lowest, highest = np.nanmin([*ends, np.nanmin(seen_losses)]), np.nanmax(seen_losses)
    bounds = (lowest * 0.96, highest * 1.04)
    figure.update_yaxes(title=f"test loss, {unit}", **log_axis(*bounds))
    ticks = np.unique([*curves.sizes[curves.sizes > 0], target])
    figure.update_xaxes(type="log", title="training examples", tickvals=ticks, ticktext=[f"{t:,.0f}" for t in ticks])
    return dressed(figure, 520)


def add_band(
    figure: go.Figure, x: Sequence[float] | Floats, low: Floats, high: Floats, colour: str, group: str
) -> None:
    """Shade what lies between two lines; it comes and goes with its legend group."""
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=colour,
        opacity=0.13,
        line_width=0,
        hoverinfo="skip",
        legendgroup=group,
        showlegend=False,
    )


def ranking_figure(selection: Selection) -> go.Figure:
    """Forecast and 90 % interval of every candidate from best to worst, P(best) beside it."""
    rows = selection.ranking[::-1]
    colours = [_colour(selection, row.candidate) for row in rows]
    figure = go.Figure()
    for row, colour in zip(rows, colours, strict=True):
        figure.add_scatter(
            x=list(row.interval),
            y=[escaped(row.candidate)] * 2,
            mode="lines",
            line={"color": colour, "width": 6},
            opacity=0.35,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=[row.forecast for row in rows],
        y=[escaped(row.candidate) for row in rows],
        mode="markers+text",
        marker={"color": colours, "size": 11},
        text=[f"{row.p_best:.0%}" if row.p_best >= 0.005 else "" for row in rows],
        textposition="top center",
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    ends = [end for row in rows for end in (*row.interval, row.forecast)]
    title = "forecast loss on all the data, nats/byte; bar: 90 % interval, label: P(best)"
    figure.update_xaxes(title=title, **log_axis(min(ends) * 0.97, max(ends) * 1.03))
    figure.update_yaxes(range=[-0.6, len(rows) - 0.3])
    figure.update_layout(showlegend=False)
    return dressed(figure, 130 + 38 * len(rows))


def cost_figure(selection: Selection) -> go.Figure:
    """Compute spent on the selection, the training it recommends, and fine-tuning every candidate."""
    tuned = [row for row in selection.ranking if row.method != "none"]
    figure = go.Figure()
    for row in tuned:
        figure.add_bar(
            y=["this selection"],
            x=[row.flops],
            orientation="h",
            name=escaped(row.candidate),
            marker_color=_colour(selection, row.candidate),
            hovertemplate="%{fullData.name}: %{x:.3g} FLOPs<extra></extra>",
        )
    figure.add_bar(
        y=["fine-tuning every candidate"],
        x=[selection.flops_everything],
        orientation="h",
        marker_color=QUIET,
        hovertemplate="%{x:.3g} FLOPs<extra></extra>",
    )
    figure.update_layout(barmode="stack", showlegend=False)
    title = f"FLOPs; the selection took {selection.flops_fraction:.1%} of fine-tuning them all"
    figure.update_xaxes(title=title, exponentformat="power")
    return dressed(figure, 190)


def _colour(selection: Selection, candidate: str) -> str:
    order = [row.candidate for row in selection.ranking if row.method != "none"]
    return COLOURS[order.index(candidate) % len(COLOURS)] if candidate in order else "#555b66"


def log_axis(low: float, high: float) -> dict[str, object]:
    """A logarithmic axis between two losses with a handful of round ticks."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(ticks) <= 9:
            break
    return {
        "type": "log",
        "range": [np.log10(low), np.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{t:g}" for t in ticks],
    }


def dressed(figure: go.Figure, height: int) -> go.Figure:
    """The figure in the style of the report."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        font={"family": FONT, "size": 13},
        margin={"l": 10, "r": 10, "t": 16, "b": 10},
        hoverlabel={"font_family": FONT},
    )
    figure.update_yaxes(automargin=True)
    return figure


def escaped(text: str) -> str:
    """Plotly reads a little HTML in its labels; names are shown as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
