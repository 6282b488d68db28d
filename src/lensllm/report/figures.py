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
COLOURS = [colour for colour in qualitative.D3 if colour != "#7F7F7F"]
INK = "rgb(32, 36, 43)"
"""Of all text that has no colour of its own: the page puts the colour of its own text in place of it."""
QUIET = "#8f96a3"
GRID = "rgba(128, 134, 145, 0.28)"
BANDS = 3
FEW = len(COLOURS)
"""Candidates that have a colour each; of more the first `LEADING` have one, and the others are grey."""
LEADING = 5
AS_IT_CAME = 2.4
"""How far left of the smallest size, as a ratio, 0 examples stand, which a logarithmic axis has no place for."""
HIGHEST = 1.6
"""Times the highest loss after training: what a model has as it came is drawn as a triangle there if it is higher."""
APART = 0.034
"""Part of the height between two labels."""


def colours_of(candidates: Sequence[str]) -> dict[str, str]:
    """Candidate -> colour, from best to worst."""
    coloured = len(candidates) if len(candidates) <= FEW else LEADING
    return {name: COLOURS[place] if place < coloured else QUIET for place, name in enumerate(candidates)}


def curves_figure(
    curves: Curves, forecast: Forecast, unit: str, order: Sequence[str] = (), *, legend: bool = False
) -> go.Figure:
    """Measured points of every candidate, and the forecast from its last one to the target size.

    The 90 % band is drawn for the first three alone, since more of them hide each other. A number at the end of a line
    is its place.

    Args:
        curves: measured losses.
        forecast: of the same candidates at growing sizes; those beyond the target are not drawn.
        unit: of the losses, for the axis.
        order: the candidates from best to worst; that of the forecast if empty.
        legend: whether the picture says itself which colour is whose.
    """
    figure = go.Figure()
    target, tuned = forecast.target_size, forecast.of(curves.candidates)
    order = [*order] or tuned.ranking
    colours, grown = colours_of(order), curves.sizes > 0
    shown = (tuned.sizes >= curves.sizes[grown][0]) & (tuned.sizes <= target)
    seen = curves.losses[:, grown]
    highest = np.nanmax(seen) * HIGHEST
    start = curves.sizes[grown][0] / AS_IT_CAME
    ends = [float(np.nanmin(seen)), float(np.nanmax(seen))]
    for place, name in reversed([*enumerate(order)]):
        line = _Line(curves, tuned, shown, name, colours[name])
        ends += line.draw(figure, 2.2 if colours[name] != QUIET else 1.1, band=place < BANDS, legend=legend)
        ends += line.draw_as_it_came(figure, start, highest)
    low, high = np.log10(min(ends) * 0.97), np.log10(max(ends) * 1.03)
    _number(figure, [name for name in order if colours[name] != QUIET], tuned, colours, (low, high))
    figure.add_vline(x=target, line_dash="dash", line_color=QUIET)
    place_of = {"x": np.log10(target), "y": 1, "yref": "paper", "xanchor": "right", "xshift": -4}
    figure.add_annotation(text=f"all the data: {target:,.0f}", showarrow=False, **place_of)
    figure.update_yaxes(title=f"test loss, {unit}", **log_axis(10**low, 10**high))
    ticks = np.unique([*curves.sizes[grown], target])
    texts = [f"{tick:,.0f}" for tick in ticks]
    if not grown.all():
        ticks, texts = np.array([start, *ticks]), ["0", *texts]
    ends_of_x = [np.log10(ticks[0]) - 0.08, np.log10(target) + 0.1]
    figure.update_xaxes(type="log", title="training examples", tickvals=ticks, ticktext=texts, range=ends_of_x)
    figure.update_layout(showlegend=legend, legend={"orientation": "h", "y": -0.2})
    return dressed(figure, 480)


class _Line:
    """What is drawn of one candidate."""

    def __init__(self, curves: Curves, tuned: Forecast, shown: np.ndarray, name: str, colour: str) -> None:
        self._name, self._colour, self._tuned = name, colour, tuned
        self._k = tuned.candidates.index(name)
        losses = curves.losses[curves.candidates.index(name)]
        seen = (curves.sizes > 0) & np.isfinite(losses)
        self._sizes, self._losses = curves.sizes[seen], losses[seen]
        came = losses[curves.sizes == 0]
        self._came = float(came[0]) if came.size and np.isfinite(came[0]) else None
        last = self._sizes[-1] if self._sizes.size else 0.0
        self._ahead = [at for at in np.flatnonzero(shown) if tuned.sizes[at] > last]

    def draw(self, figure: go.Figure, width: float, *, band: bool, legend: bool) -> list[float]:
        """Points, forecast and, if asked for, the band; what it reaches."""
        ends = [float(self._tuned.means[at, self._k]) for at in self._ahead]
        x = [*self._sizes[-1:], *(float(self._tuned.sizes[at]) for at in self._ahead)]
        if band and self._ahead:
            fan = [self._tuned.at(self._tuned.sizes[at]).interval(LEVEL)[self._k] for at in self._ahead]
            low, high = np.array([*([loss, loss] for loss in self._losses[-1:]), *fan]).T
            add_band(figure, x, low, high, self._colour, self._name)
            ends += [float(low.min()), float(high.max())]
        shared = {"legendgroup": self._name, "showlegend": False}
        figure.add_scatter(
            x=x,
            y=[*self._losses[-1:], *ends[: len(self._ahead)]],
            mode="lines",
            line={"color": self._colour, "dash": "dot", "width": width},
            hovertemplate=f"{escaped(self._name)}<br>%{{x:,}} examples: %{{y:.3f}} (forecast)<extra></extra>",
            **shared,
        )
        figure.add_scatter(
            x=self._sizes,
            y=self._losses,
            mode="lines+markers",
            name=escaped(self._name),
            line={"color": self._colour, "width": width},
            marker={"size": 7 if width > 2 else 4},
            hovertemplate=f"{escaped(self._name)}<br>%{{x:,}} examples: %{{y:.3f}}<extra></extra>",
            **shared | {"showlegend": legend},
        )
        return ends

    def draw_as_it_came(self, figure: go.Figure, start: float, highest: float) -> list[float]:
        """The loss before any training, at the left edge; what it reaches."""
        if self._came is None:
            return []
        above = self._came > highest
        figure.add_scatter(
            x=[start],
            y=[min(self._came, highest)],
            mode="markers",
            marker={"size": 9, "symbol": "triangle-up" if above else "circle-open", "color": self._colour},
            hovertemplate=f"{escaped(self._name)}<br>as it came: {self._came:.3f}<extra></extra>",
            legendgroup=self._name,
            showlegend=False,
        )
        return [min(self._came, highest)]


def _number(
    figure: go.Figure, names: Sequence[str], tuned: Forecast, colours: dict[str, str], ends: tuple[float, float]
) -> None:
    """The place of each candidate at the end of its line, moved where two would lie on each other."""
    heights = {name: float(np.log10(tuned.mean[tuned.candidates.index(name)])) for name in names}
    step, below = APART * (ends[1] - ends[0]), -np.inf
    for name in sorted(names, key=heights.__getitem__):
        below = max(heights[name], below + step)
        text = {"text": f"<b>{names.index(name) + 1}</b>", "font": {"color": colours[name], "size": 13}}
        figure.add_annotation(x=np.log10(tuned.target_size), y=below, xanchor="left", xshift=5, showarrow=False, **text)


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
    """Forecast and 90 % interval of every candidate from best to worst, its name and P(best) above."""
    rows, colours = selection.ranking[::-1], colours_of(tuned_order(selection))
    ends = [end for row in rows for end in (*row.interval, row.forecast)]
    figure = go.Figure()
    for place, row in enumerate(rows):
        colour = colours.get(row.candidate, QUIET)
        hover = f"{escaped(row.candidate)}: %{{x:.3f}}<extra></extra>"
        figure.add_scatter(
            x=list(row.interval), y=[place] * 2, mode="lines", line={"color": colour, "width": 6}, opacity=0.35,
            hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=[row.forecast], y=[place], mode="markers", marker={"color": colour, "size": 11}, hovertemplate=hover
        )
        p_best = selection.p_best(row)
        label_row(figure, place, escaped(row.candidate), f"{p_best:.0%}" if p_best >= 0.005 else "")
    title = "forecast loss on all the data, nats a byte"
    figure.update_xaxes(title=title, **log_axis(min(ends) * 0.97, max(ends) * 1.03))
    figure.update_yaxes(range=[-0.5, len(rows) - 0.2], showticklabels=False, showgrid=False)
    figure.update_layout(showlegend=False)
    return dressed(figure, 80 + (44 if len(rows) <= FEW else 32) * len(rows))


def tuned_order(selection: Selection) -> list[str]:
    """The candidates of the ranking that are fine-tuned."""
    return [row.candidate for row in selection.ranking if row.method != "none"]


def label_row(figure: go.Figure, place: int, left: str, right: str = "", above: int = 13) -> None:
    """Words so many pixels above a row, which need no room beside the picture."""
    for text, x in ((left, 0.0), (right, 1.0)):
        figure.add_annotation(
            text=text, x=x, xref="paper", xanchor="left" if x == 0 else "right", y=place, yshift=above, showarrow=False,
            font_size=12,
        )  # fmt: skip


def cost_figure(selection: Selection) -> go.Figure:
    """Compute spent on the selection, candidate by candidate, and that of fine-tuning every candidate."""
    colours = colours_of(tuned_order(selection))
    figure = go.Figure()
    for row in selection.ranking:
        if row.method != "none":
            figure.add_bar(
                y=[1],
                x=[row.flops],
                orientation="h",
                width=0.3,
                marker_color=colours[row.candidate],
                hovertemplate=f"{escaped(row.candidate)}: %{{x:.3g}} FLOPs<extra></extra>",
            )
    figure.add_bar(
        y=[0],
        x=[selection.flops_everything],
        orientation="h",
        width=0.3,
        marker_color=QUIET,
        hovertemplate="%{x:.3g} FLOPs<extra></extra>",
    )
    label_row(figure, 1, "this selection", f"{selection.flops_fraction:.1%}", above=20)
    label_row(figure, 0, "fine-tuning every candidate on all the data", "100%", above=20)
    figure.update_layout(barmode="stack", showlegend=False)
    figure.update_yaxes(range=[-0.4, 1.6], showticklabels=False, showgrid=False)
    figure.update_xaxes(title="floating-point operations (FLOPs)", exponentformat="power", nticks=5)
    return dressed(figure, 210)


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
    """The figure in the style of the report, on whatever ground the page has."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 10, "r": 10, "t": 16, "b": 10},
        hoverlabel={"font_family": FONT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_yaxes(automargin=True, gridcolor=GRID, zeroline=False)
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    return figure


def escaped(text: str) -> str:
    """Plotly reads a little HTML in its labels; names are shown as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
