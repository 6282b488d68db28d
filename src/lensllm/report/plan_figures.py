"""The pictures of a plan: the examples needed for a loss, and loss against cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensllm.planning import Offer, Plan
from lensllm.planning.pareto import known_costs
from lensllm.planning.plan import LEVEL
from lensllm.report.figures import BANDS, COLOURS, QUIET, add_band, colours_of, dressed, escaped, log_axis

TITLES = {
    "training_flops": "training, FLOPs",
    "training_memory": "training, bytes of memory",
    "parameters": "parameters",
    "serving_memory": "serving, bytes of memory",
    "flops_per_byte": "serving, FLOPs a byte",
}
SHOWN_BEYOND = 64
COLUMNS = 3


def need_figure(plan: Plan, unit: str) -> go.Figure:
    """Sampled curves of the best candidates, their 90 % band, and where they cross the target loss.

    Args:
        plan: with its samples.
        unit: of the losses, for the axis.
    """
    samples = plan.samples
    shown = samples.sizes <= plan.size * SHOWN_BEYOND
    sizes = samples.sizes[shown]
    figure = go.Figure()
    ends = [plan.target_loss]
    for place, row in enumerate(plan.doublings[:BANDS]):
        drawn = samples.losses[shown][:, :, samples.candidates.index(row.candidate)]
        low, middle, high = np.quantile(drawn, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=1)
        colour, name = COLOURS[place % len(COLOURS)], escaped(row.candidate)
        add_band(figure, sizes, low, high, colour, name)
        figure.add_scatter(
            x=sizes,
            y=middle,
            mode="lines",
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 2},
            hovertemplate=f"{name}<br>%{{x:,.0f}} examples: %{{y:.3f}}<extra></extra>",
        )
        ends += [low.min(), high.max()]
    figure.add_hline(y=plan.target_loss, line_dash="dash", line_color="#555b66")
    figure.add_annotation(
        x=0, xref="paper", y=np.log10(plan.target_loss), text=f"wanted: {plan.target_loss:.3f}", showarrow=False,
        xanchor="left", yanchor="bottom",
    )  # fmt: skip
    figure.add_vline(x=plan.size, line_dash="dash", line_color=QUIET)
    figure.add_annotation(
        x=np.log10(plan.size), y=1, yref="paper", text=f"at hand: {plan.size:,.0f}", showarrow=False,
        xanchor="left", xshift=4,
    )  # fmt: skip
    figure.update_yaxes(title=f"test loss, {unit}", **log_axis(min(ends) * 0.98, max(ends) * 1.02))
    figure.update_xaxes(type="log", title="training examples", exponentformat="none", separatethousands=True, dtick=1)
    return dressed(figure, 440)


def pareto_figure(offers: Sequence[Offer], unit: str, order: Sequence[str] = (), *, legend: bool = True) -> go.Figure:
    """Forecast loss against what training and serving cost, as far as it is known, with each Pareto front.

    Args:
        offers: from the lowest loss to the highest.
        unit: of the losses, for the axis.
        order: the candidates as their colours go; that of the offers if empty.
        legend: whether the picture says itself which colour is whose.
    """
    kinds = known_costs([offer.cost for offer in offers])
    rows = -(-len(kinds) // COLUMNS)
    specs: list[list[dict[str, Any] | None]] = [
        [{} if COLUMNS * row + col < len(kinds) else None for col in range(COLUMNS)] for row in range(rows)
    ]
    figure = make_subplots(rows, COLUMNS, specs=specs, shared_yaxes="all", horizontal_spacing=0.03)
    tuned = [offer for offer in offers if offer.method != "none"]
    colours = colours_of([*order] or [offer.candidate for offer in tuned])
    for place, kind in enumerate(kinds):
        at = {"row": 1 + place // COLUMNS, "col": 1 + place % COLUMNS}
        front = sorted((offer for offer in tuned if kind in offer.front), key=lambda o: getattr(o.cost, kind))
        figure.add_scatter(
            x=[getattr(offer.cost, kind) for offer in front],
            y=[offer.loss for offer in front],
            mode="lines",
            line={"color": QUIET, "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
            **at,
        )
        for offer in reversed(tuned):
            _add_offer(figure, offer, kind, colours[offer.candidate], at)
        figure.update_xaxes(type="log", title=TITLES[kind], tickformat="~s", dtick="D2", tickangle=0, **at)
    for offer in offers:
        if offer.method == "none":
            figure.add_hline(y=offer.loss, line_dash="dash", line_color=QUIET)
            figure.add_annotation(
                x=0.5, xref="x domain", y=np.log10(offer.loss), yref="y", text="best model as it came", showarrow=False,
                yanchor="bottom",
            )  # fmt: skip
    losses = [offer.loss for offer in offers]
    figure.update_yaxes(**log_axis(min(losses) * 0.97, max(losses) * 1.03))
    figure.update_yaxes(title=f"forecast loss, {unit}", col=1)
    figure.update_layout(showlegend=legend)
    return dressed(figure, 60 + 340 * rows)


def _add_offer(figure: go.Figure, offer: Offer, kind: str, colour: str, at: dict[str, int]) -> None:
    """One candidate's point, filled where it is on the front."""
    name, symbol = escaped(offer.candidate), "circle" if kind in offer.front else "circle-open"
    figure.add_scatter(
        x=[getattr(offer.cost, kind)],
        y=[offer.loss],
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=at == {"row": 1, "col": 1},
        marker={"color": colour, "size": 11, "symbol": symbol},
        hovertemplate=f"{name}<br>%{{y:.3f}} for %{{x:.3g}}<extra></extra>",
        **at,
    )
