"""What `docs/evidence.md` says and shows of our own curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from evidence.pages import dressed, table, write_figures, write_section
from lensllm.curves import Curves
from lensllm.forecast import Forecast

FIGURES = {
    "own_curves": "Loss against training examples, nats a byte, one panel a task, one line a candidate.",
    "own_forecasts": "Forecast and true loss on all the data at a budget of 1/32, with 90 % intervals.",
    "own_reliability": "Stated P(best) against how often the candidate was the best, all tasks, budgets and pools.",
}
BUDGET = 32
WIDE = 0.9
"""Decades of losses from which an axis is labelled at 1, 2 and 5."""


def write(
    result: dict[str, Any], made: dict[tuple[str, int, int], Forecast], data: dict[str, Curves], docs: Path
) -> None:
    """Replace the section of the result's split in `docs`/evidence.md and write its figures beside it."""
    split = result["split"]
    figures = {
        "own_curves": curves_figure(data),
        "own_forecasts": forecasts_figure({t: made[t, BUDGET, 0] for t in data}, data),
        "own_reliability": reliability_figure(result["calibration"]["reliability"]),
    }
    write_figures(docs / "figures", {f"{name}_{split}": figure for name, figure in figures.items()})
    command = f"python -m evidence own {'--report ' if split == 'report' else ''}--docs docs"
    write_section(docs / "evidence.md", f"own, {split}", command, text(result, data), "Evidence")


def text(result: dict[str, Any], data: dict[str, Curves]) -> str:
    """The section in Markdown."""
    split, tasks = result["split"], result["tasks"]
    parts = [
        f"### Our own curves, {split} tasks\n\n{len(tasks)} tasks complete: {', '.join(tasks)}. A selector sees "
        f"the sizes up to 1/8, 1/16, 1/32 and 1/64 of the data; all candidates and {result['pools']['number']} random "
        f"pools of {result['pools']['size']}. Intervals: 90 %, Student's t over tasks. Softmax: last losses, its "
        "temperature fitted on other tasks.",
        _methods(result["methods"], tasks),
        "The default minus a rival, paired:",
        _against(result["against"]),
        *(
            ["With the kernel minus without it, paired:", _against({"kernel": result["kernel"]})]
            if "kernel" in result
            else []
        ),
        *(
            ["The paper's own algorithm (`lensllm_law`), whole pools:", _law(result["lensllm_law"])]
            if "lensllm_law" in result
            else []
        ),
        "Standard deviation of the log loss between two seeds (subset and training order), and the spread of the final "
        "losses that a choice is about:",
        _noise(result["seed_noise"], data),
        "Calibration of the default as it is released:"
        if split == "report"
        else "Calibration of the default, each task with error scales from the other design and the published tasks:",
        _calibration(result["calibration"]),
        *(
            [
                "The bound's computable part (docs/theory.md) on fine-tuned models of these tasks, and the Spearman "
                "correlation of what may tell the generalization gap with it:",
                _bounds(result["bound"]),
            ]
            if result["bound"]
            else []
        ),
        *(f"![{said}](figures/{name}_{split}.svg)\n\n{said}" for name, said in FIGURES.items()),
    ]
    return "\n\n".join(parts)


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _methods(methods: dict[str, Any], tasks: list[str]) -> str:
    rows = []
    for name, m in methods.items():
        by_task = [f"{_number(m['pearcorr']['by_task'][t])} / {_number(m['rel_acc']['by_task'][t])}" for t in tasks]
        low, high = m["rel_acc"]["ci"]
        means = [_number(m["pearcorr"]["mean"]), f"{m['rel_acc']['mean']:.1f} ({low:.1f} to {high:.1f})"]
        rows.append([name, *means, f"{m['regret']['mean']:.4f}", *by_task])
    return table(["method", "PearCorr", "RelAcc", "regret, nats a byte", *(f"{t} P / R" for t in tasks)], rows)


def _against(against: dict[str, Any]) -> str:
    rows = []
    for rival, m in against.items():
        cells = [f"{m[k]['mean']:+.2f} ({m[k]['ci'][0]:+.2f} to {m[k]['ci'][1]:+.2f})" for k in ("pearcorr", "rel_acc")]
        rows.append([rival, *cells])
    return table(["rival", "PearCorr", "RelAcc"], rows)


def _law(ways: dict[str, Any]) -> str:
    rows = [[way, _number(m["pearcorr"]), _number(m["rel_acc"]), f"{m['regret']:.4f}"] for way, m in ways.items()]
    return table(["dials", "PearCorr", "RelAcc", "regret, nats a byte"], rows)


def _noise(noise: dict[str, dict[int, float]], data: dict[str, Curves]) -> str:
    sizes = sorted({int(size) for of_task in noise.values() for size in of_task})
    rows = []
    for task, curves in data.items():
        final = np.log(curves.losses[:, -1])
        by_size = {int(size): value for size, value in noise[task].items()}
        rows.append([task, *(_number(by_size.get(size), 3) for size in sizes), f"{final.std():.3f}"])
    return table(["task", *(f"{size:,} examples" for size in sizes), "final losses, all candidates"], rows)


def _calibration(calibration: dict[str, Any]) -> str:
    covered = {level: m["mean"] for level, m in calibration["coverage"].items()}
    rows = [
        [
            task,
            *(f"{100 * value:.0f}" for value in m["coverage"].values()),
            *(f"{value:.3f}" for kind in ("log_error", "brier", "log_score") for value in m[kind].values()),
        ]
        for task, m in (calibration["by_task"] | {"mean": calibration | {"coverage": covered}}).items()
    ]
    scores = [f"{kind}: {who}" for kind in ("Brier", "log score") for who in ("P(best)", "uniform", "softmax")]
    return table(["task", *covered, "log error: common", "log error: own", *scores], rows)


def _bounds(bounds: dict[str, Any]) -> str:
    measures = list(next(iter(bounds.values()))["spearman_with_the_gap"])
    rows = [
        [
            task,
            f"{m['runs']}",
            *(f"{m[part]}" for part in ("above_the_test_loss", "above_without_curvature", "below_the_largest_loss")),
            *(_number(m[part], 2) for part in ("over_test_loss", "union_bound", "flops_over_the_run")),
            *(_number(m["spearman_with_the_gap"][name], 2) for name in measures),
        ]
        for task, m in bounds.items()
    ]
    head = ["task", "runs", "above the test loss", "curvature term at 0", "below C", "bound / test loss"]
    head += ["eps of 5 fixed before / printed", "FLOPs / the run's", *measures]
    return table(head, rows)


def curves_figure(data: dict[str, Curves]) -> go.Figure:
    """Every measured loss, one panel a task."""
    columns = min(3, len(data))
    lines = -(-len(data) // columns)
    figure = make_subplots(lines, columns, subplot_titles=list(data), vertical_spacing=0.12)
    colours = qualitative.Dark24
    for place, curves in enumerate(data.values()):
        row, column = divmod(place, columns)
        tuned = curves.sizes > 0
        for k, name in enumerate(curves.candidates):
            figure.add_scatter(
                x=curves.sizes[tuned],
                y=curves.losses[k, tuned],
                name=name,
                legendgroup=name,
                showlegend=place == 0,
                line={"color": colours[k % len(colours)], "width": 1.8},
                row=row + 1,
                col=column + 1,
            )
        wide = np.ptp(np.log10(curves.losses[:, tuned])) > WIDE
        figure.update_yaxes(dtick="D2" if wide else None, nticks=6, row=row + 1, col=column + 1)
    figure.update_xaxes(type="log", dtick=1)
    figure.update_xaxes(title="training examples", row=lines)
    figure.update_yaxes(type="log")
    figure.update_yaxes(title="nats a byte", col=1)
    dressed(figure, 120 + 280 * lines)
    return figure.update_layout(legend={"y": -0.35 / lines})


def forecasts_figure(made: dict[str, Forecast], data: dict[str, Curves]) -> go.Figure:
    """Forecast against truth with 90 % intervals, one panel a task."""
    columns = min(3, len(data))
    lines = -(-len(data) // columns)
    figure = make_subplots(lines, columns, subplot_titles=list(data), vertical_spacing=0.14)
    for place, (task, forecast) in enumerate(made.items()):
        row, column = divmod(place, columns)
        at = {"row": row + 1, "col": column + 1}
        truth = data[task].losses[:, -1]
        low, high = forecast.interval(0.9).T
        figure.add_scatter(
            x=truth,
            y=forecast.mean,
            text=list(forecast.candidates),
            mode="markers",
            showlegend=False,
            marker={"color": "#d1495b", "size": 6},
            error_y={"array": high - forecast.mean, "arrayminus": forecast.mean - low, "thickness": 0.8, "width": 0},
            **at,
        )
        ends = [float(truth.min()), float(truth.max())]
        figure.add_scatter(x=ends, y=ends, mode="lines", showlegend=False, line={"color": "#555", "dash": "dot"}, **at)
    figure.update_xaxes(title="true loss, nats a byte", row=lines)
    figure.update_yaxes(title="forecast", col=1)
    return dressed(figure, 100 + 280 * lines)


def reliability_figure(bins: list[dict[str, float]]) -> go.Figure:
    """How often the candidate was the best against the probability stated, the size of a point its number of cases."""
    stated = [b["stated"] for b in bins]
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#555", "dash": "dot"}, name="ideal")
    figure.add_scatter(
        x=stated,
        y=[b["was_best"] for b in bins],
        mode="markers+text",
        text=[f"{b['cases']:,}" for b in bins],
        textposition="top center",
        marker={"color": "#d1495b", "size": [6 + 3 * np.log10(max(b["cases"], 1)) for b in bins]},
        name="default selector, number of cases",
    )
    figure.update_xaxes(title="stated P(best)", range=[-0.03, 1.05])
    figure.update_yaxes(title="part that was the best", range=[-0.05, 1.15])
    return dressed(figure)
