"""The pictures of docs/how: one idea a picture, made from runs that lie in this repository."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from evidence.cost.cost import own_pools
from evidence.pages import dressed, photographed
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves
from lensllm.laws import RectifiedLaw
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import replay
from lensllm.selectors import PriorFitted, forecast_path

TASK = "define"
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#8d6a9f")
BOUNDS = Path(__file__).parent / "theory" / "bound.json"
BUDGET = 0.5


def draw(study: StudyConfig, folder: Path) -> list[Path]:
    """Write `folder`/how_*.png.

    Raises:
        InputError: if the study lacks the task, or no browser is there.
    """
    made = []
    figures = {"law": law(study), "kernel": kernel(study), "bound": bound(), "forecast": forecast(study)}
    for name, figure in {**figures, "search": search(study)}.items():
        made.append(folder / f"how_{name}.png")
        photographed(dressed(figure, 420), made[-1])
    return made


def law(study: StudyConfig) -> go.Figure:
    """Measured losses of two models and the rectified law through them."""
    curves = own_curves(study, [TASK])[TASK].of(
        ["gpt2-0.2m-random", "llama-0.2m-jargon-1.5m", "gpt2-0.9m-glosses-1.5m"]
    )
    tuned = curves.sizes > 0
    fitted = RectifiedLaw().fit(curves.sizes[tuned], curves.losses[:, tuned])
    line = np.geomspace(10, 60_000, 80)
    figure = go.Figure()
    for name, losses, path, floor, colour in zip(
        curves.candidates, curves.losses, fitted.predict(line), fitted.params_["E"], COLOURS, strict=False
    ):
        figure.add_scatter(x=line, y=path, mode="lines", line={"color": colour}, name=f"{name}, E = {floor:.2f}")
        marks = {"color": colour, "size": 8}
        figure.add_scatter(x=curves.sizes[tuned], y=losses[tuned], mode="markers", marker=marks, showlegend=False)
    return axes(figure)


def kernel(study: StudyConfig) -> go.Figure:
    """What the kernel says of small sizes, and what training then reached."""
    curves = own_curves(study, [TASK])[TASK].of(["gpt2-0.2m-brown-0.3m", "llama-0.2m-jargon-1.5m", "llama-0.9m-mix-5m"])
    figure, sizes = go.Figure(), [8, 16, 32]
    for name, losses, colour in zip(curves.candidates, curves.losses, COLOURS, strict=False):
        told = curves.features.loc[name, [f"kernel_{size}" for size in sizes]].to_numpy(float)
        few = curves.sizes[1:] <= 800
        style = {"color": colour, "dash": "dot"}
        figure.add_scatter(x=sizes, y=told, mode="lines+markers", line=style, name=f"{name}: before training")
        figure.add_scatter(
            x=curves.sizes[1:][few], y=losses[1:][few], mode="lines+markers", line={"color": colour}, name="measured"
        )
    return axes(figure)


def bound() -> go.Figure:
    """The terms of the bound of one model at growing sizes, and the test loss below them."""
    rows = pd.DataFrame(json.loads(BOUNDS.read_text())["runs"])
    rows = rows[(rows["candidate"] == "gpt2-0.2m-bible-1.5m") & (rows["task"] == TASK)].sort_values("examples")
    names = [f"{size:,}" for size in rows["examples"]]
    parts = {
        "training loss": rows["train_loss"],
        "curvature": rows["curvature"],
        "confidence": rows["bound"] - rows["train_loss"] - rows["curvature"],
    }
    figure = go.Figure()
    for (name, values), colour in zip(parts.items(), COLOURS, strict=False):
        figure.add_bar(x=names, y=values, name=name, marker_color=colour)
    figure.add_scatter(
        x=names,
        y=rows["test_loss"],
        mode="markers+lines",
        name="test loss",
        line={"color": "#222222"},
        marker={"size": 9},
    )
    figure.update_layout(barmode="stack", xaxis_title="training examples", yaxis_title="nats a byte")
    return figure


def forecast(study: StudyConfig) -> go.Figure:
    """Losses up to 400 examples, the forecast to all the data with its interval, and what came."""
    curves = own_curves(study, [TASK])[TASK].of(["gpt2-0.2m-random", "gpt2-0.9m-glosses-1.5m", "llama-0.9m-mix-5m"])
    seen = curves.up_to(400)
    path = forecast_path(PriorFitted(), seen, curves.sizes[-1])
    figure = go.Figure()
    for k, (name, colour) in enumerate(zip(curves.candidates, COLOURS, strict=False)):
        low, high = np.quantile(path.paths[:, :, k], [0.05, 0.95], axis=0)
        both = np.concatenate([path.sizes, path.sizes[::-1]])
        band = {"fill": "toself", "fillcolor": colour, "opacity": 0.15, "line": {"width": 0}, "mode": "lines"}
        figure.add_scatter(x=both, y=np.concatenate([high, low[::-1]]), showlegend=False, **band)
        dashed = {"color": colour, "dash": "dash"}
        figure.add_scatter(x=path.sizes, y=path.means[:, k], mode="lines", line=dashed, showlegend=False)
        few = (curves.sizes > 0) & (curves.sizes <= 400)
        figure.add_scatter(
            x=curves.sizes[few], y=curves.losses[k, few], mode="lines+markers", line={"color": colour}, name=name
        )
        later = curves.sizes > 400
        hollow = {"color": colour, "symbol": "circle-open", "size": 8}
        figure.add_scatter(
            x=curves.sizes[later], y=curves.losses[k, later], mode="markers", marker=hollow, showlegend=False
        )
    return axes(figure)


def search(study: StudyConfig) -> go.Figure:
    """Which runs the search made within a budget, in their order."""
    pool = own_pools(study, [TASK])[TASK]
    curves, costs, losses = pool.case(np.arange(len(pool.curves.candidates)))
    order, done = np.full(costs.shape, np.nan), dict.fromkeys(curves.candidates, 0)
    for number, step in enumerate(replay(ExpectedRegret(), curves, costs, budget=BUDGET), 1):
        for name in step.decision.runs:
            order[curves.candidates.index(name), done[name]] = number
            done[name] += 1
    rows = np.argsort(losses)[::-1]
    numbers = [["" if np.isnan(value) else f"{value:.0f}" for value in order[row]] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=order[rows],
            x=[f"{size:,.0f}" for size in curves.sizes],
            y=[curves.candidates[row] for row in rows],
            text=numbers,
            texttemplate="%{text}",
            colorscale="Blues",
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    figure.update_layout(xaxis={"title": "training examples", "type": "category"}, margin={"l": 190})
    return figure


def axes(figure: go.Figure) -> go.Figure:
    """Loss against examples, both in logarithms."""
    figure.update_xaxes(type="log", title="training examples", dtick=1)
    figure.update_yaxes(type="log", title="nats a byte")
    return figure
