"""Scores by rung, and what was gained on the task against what was lost on another."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from lensllm.report.figures import COLOURS, QUIET, colours_of, dressed, escaped
from lensllm.scored import Forgotten, Scored


def score_figure(scored: Scored, name: str, candidates: Sequence[str]) -> go.Figure:
    """A score of every candidate by rung, with a standard error to either side.

    Args:
        scored: the scores.
        name: of the score.
        candidates: in the order of the ranking, as in the figure of the losses.
    """
    figure = go.Figure()
    rungs = sorted({size for candidate in candidates for size in scored.sizes(name, candidate)})
    colours = colours_of(candidates)
    for candidate in reversed(candidates):
        sizes = scored.sizes(name, candidate)
        values = [value for size in sizes if (value := scored.value(name, candidate, size))]
        figure.add_scatter(
            x=[rungs.index(size) for size in sizes],
            y=[value.value for value in values],
            error_y={"array": [value.standard_error for value in values], "thickness": 1, "width": 2},
            mode="lines+markers",
            name=escaped(candidate),
            line={"color": colours[candidate], "width": 1.1 if colours[candidate] == QUIET else 2},
            showlegend=False,
            hovertemplate=f"{escaped(candidate)}<br>%{{y:.3f}}<extra></extra>",
        )
    ticks = [f"{size:,}" if size else "as it came" for size in rungs]
    figure.update_xaxes(title="training examples", tickvals=list(range(len(rungs))), ticktext=ticks)
    figure.update_yaxes(title=escaped(name))
    return dressed(figure, 380)


def forgotten_figure(forgotten: Sequence[Forgotten], kept_name: str) -> go.Figure:
    """Gain on the task against the loss added on the second one; up is forgetting."""
    figure = go.Figure()
    for one in forgotten:
        figure.add_scatter(
            x=[one.gain],
            y=[one.loss_rise],
            mode="markers+text",
            text=escaped(one.candidate),
            textposition="top center",
            marker={"size": 11, "color": COLOURS[3] if one.marked else COLOURS[0]},
            hovertemplate=f"{escaped(one.candidate)}<br>%{{x:.1%}}, %{{y:+.1%}}<extra></extra>",
            showlegend=False,
        )
    figure.add_hline(y=0, line_color=QUIET)
    figure.update_xaxes(title="part of the loss on the task that tuning took away", tickformat=".0%")
    figure.update_yaxes(title=f"change of the loss on {escaped(kept_name)}", tickformat="+.0%")
    return dressed(figure, 380)
