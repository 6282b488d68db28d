"""The tables and figures that `docs/evidence.md` shows, made from the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evidence.accuracy.published import DEFAULT
from evidence.pages import dressed, table, write_figures, write_section
from lensllm.arrays import Floats
from lensllm.forecast import Forecast

COMMAND = "python -m evidence published --docs docs"
SHOWN = (
    DEFAULT,
    "growing_slopes",
    "slope_growth",
    "accept_then_stop",
    "vanilla_law",
    "rectified_law_map",
    "sub_tuning",
    "zero_shot",
)
MEANS = {"pearcorr": 2, "rel_acc": 2, "spearman": 1, "top_1": 1, "regret": 3, "centred_rmse": 3}
FIGURES = {
    "published_budgets": "Mean over the three tasks at every budget.",
    "published_forecasts": "Forecast and true final loss of every model at a budget of 1/64, with 90 % intervals.",
    "published_coverage": "How many truths the intervals hold, each task with error scales from the other two.",
}


def write(
    result: dict[str, Any], forecasts: dict[str, dict[tuple[str, int], Forecast]], truth: dict[str, Floats], docs: Path
) -> None:
    """Replace the published section of `docs`/evidence.md and write its figures as SVG beside it."""
    drawn = (
        budgets_figure(result["methods"]),
        forecasts_figure(forecasts[DEFAULT], truth, 64),
        coverage_figure(result["calibration"]),
    )
    write_figures(docs / "figures", dict(zip(FIGURES, map(dressed, drawn), strict=True)))
    write_section(docs / "evidence.md", "published", COMMAND, tables(result), "Evidence")


def tables(result: dict[str, Any]) -> str:
    """The tables in Markdown."""
    parts = [
        "Selection, x 100, 3 tasks x 7 budgets (the budget is the part of 1,638,400 examples that may be seen):",
        _methods(result["methods"]),
        _image("published_budgets"),
        "Every hyper-parameter chosen on the other two tasks (lowest centred log RMSE):",
        _left_out(result["leave_one_task_out"]),
        "The two halves of growing_slopes, which makes the means of the default:",
        table(
            ["law_weight", "PearCorr", "RelAcc", "centred log RMSE"],
            [
                [name.split("=")[1], f"{v['pearcorr']:.2f}", f"{v['rel_acc']:.2f}", f"{v['centred_rmse']:.4f}"]
                for name, v in result["law_weights"].items()
            ],
        ),
        _against(result["against_accept_then_stop"]),
        _image("published_forecasts"),
        "Calibration, each task with error scales found on the other two:",
        _calibration(result["calibration"]),
        _image("published_coverage"),
        "Coverage of the 90 % intervals by doublings ahead, from every origin with four points or more, in %:",
        _by_doublings(result["calibration"]["by_doublings"]),
        "One doubling ahead, R2 over all 90 curves and over the 28 of the paper's 14 models on FLAN and Gigaword:",
        _doubling(result["one_doubling"]),
        "Each law fitted to all 14 points of the 90 curves:",
        table(
            ["law", "mean log-RMSE", "R2"],
            [[name, f"{v['log_rmse']:.4f}", f"{v['r2']:.4f}"] for name, v in result["in_sample"].items()],
        ),
        "Accept-then-Stop, points to fit (gamma) x stopping threshold (tau), mean PearCorr / RelAcc:",
        _ablation(result["ablation"]),
        _speed(result["speed"]),
    ]
    return "\n\n".join(parts) + "\n"


def _image(name: str) -> str:
    return f"![{FIGURES[name]}](figures/{name}.svg)\n\n{FIGURES[name]}"


def _methods(methods: dict[str, Any]) -> str:
    tasks = list(methods["growing_slopes"]["pearcorr"]["by_task"])
    head = [
        "method",
        "PearCorr",
        "RelAcc",
        "Spearman",
        "top-1",
        "regret (nats)",
        "centred log RMSE",
        *(f"{t} P / R" for t in tasks),
    ]
    rows = []
    for name, m in methods.items():
        by_task = [f"{m['pearcorr']['by_task'][t]:.1f} / {m['rel_acc']['by_task'][t]:.1f}" for t in tasks]
        values = {key: m[key]["mean"] for key in MEANS}
        means = ["" if values[key] is None else f"{values[key]:.{digits}f}" for key, digits in MEANS.items()]
        rows.append([name, *means, *by_task])
    return table(head, rows)


def _left_out(left_out: dict[str, Any]) -> str:
    rows = []
    for name, m in left_out.items():
        chosen = "; ".join(f"{task}: {', '.join(f'{k}={v}' for k, v in c.items())}" for task, c in m["chosen"].items())
        by_task = [f"{m['pearcorr']['by_task'][t]:.1f} / {m['rel_acc']['by_task'][t]:.1f}" for t in m["chosen"]]
        rows.append([name, f"{m['pearcorr']['mean']:.2f}", f"{m['rel_acc']['mean']:.2f}", *by_task, chosen])
    tasks = [f"{t} P / R" for t in left_out["growing_slopes"]["chosen"]]
    return table(["method", "PearCorr", "RelAcc", *tasks, "chosen for"], rows)


def _against(against: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{m['won']} / {m['drawn']} / {m['lost']}",
            f"{m['difference']:+.2f}",
            f"{m['interval_95'][0]:+.2f} to {m['interval_95'][1]:+.2f}",
        ]
        for name, m in against.items()
    ]
    head = [
        f"{DEFAULT} against accept_then_stop",
        "won / drawn / lost",
        "difference",
        "95 %, bootstrap over models",
    ]
    return table(head, rows)


def _calibration(calibration: dict[str, Any]) -> str:
    head = [
        "task",
        "50 %",
        "80 %",
        "90 %",
        "Brier: P(best)",
        "uniform",
        "softmax",
        "log score: P(best)",
        "uniform",
        "softmax",
    ]
    rows = []
    for task, m in calibration["by_task"].items():
        scores = [f"{m[kind][who]:.3f}" for kind in ("brier", "log_score") for who in ("p_best", "uniform", "softmax")]
        rows.append([task, *(f"{100 * v:.1f}" for v in m["coverage"].values()), *scores])
    means = [f"{100 * v['mean']:.1f}" for v in calibration["coverage"].values()]
    return table(head, [*rows, ["mean", *means, *[""] * 6]])


def _by_doublings(held: dict[str, dict[str, float]]) -> str:
    tasks = list(next(iter(held.values())))
    rows = [[task, *(f"{100 * held[n][task]:.0f}" for n in held)] for task in tasks]
    return table(["task", *(f"{n} ahead" for n in held)], rows)


def _doubling(doubling: dict[str, Any]) -> str:
    targets = list(doubling)
    head = ["method", *(f"{int(t):,}: {kind}" for t in targets for kind in ("R2 of 90", "R2 of 28"))]
    rows = [
        [name, *(f"{doubling[t][name][kind]:.4f}" for t in targets for kind in ("r2_90", "r2_28"))]
        for name in doubling[targets[0]]
    ]
    return table(head, rows)


def _ablation(ablation: dict[str, Any]) -> str:
    gammas = sorted({key.split(",")[0] for key in ablation})
    taus = sorted({key.split(",")[1] for key in ablation})
    rows = [
        [g, *(f"{ablation[f'{g},{t}']['pearcorr']:.1f} / {ablation[f'{g},{t}']['rel_acc']:.1f}" for t in taus)]
        for g in gammas
    ]
    return table(["", *taus], rows)


def _speed(speed: dict[str, float]) -> str:
    many = ", ".join(f"{int(k.split('_')[3]):,} curves {v:.1f} s" for k, v in speed.items() if k.startswith("fit_and"))
    return (
        f"One curve's rectified law by plain BFGS (10 starts) takes {1000 * speed['bfgs_seconds']:.0f} ms of CPU; "
        f"its share of a batch of 90, with 256 posterior samples, {1000 * speed['batch_seconds']:.2f} ms: a ratio of "
        f"{speed['ratio']:.0f}. Fit and rank: {many}."
    )


def budgets_figure(methods: dict[str, Any]) -> go.Figure:
    """PearCorr and RelAcc against the budget, one line a method."""
    figure = make_subplots(1, 2, subplot_titles=["PearCorr", "RelAcc"])
    colours = ["#d1495b", "#f4a261", "#00798c", "#30638e", "#edae49", "#6a4c93", "#8d99ae", "#adb5bd"]
    for name, colour in zip(SHOWN, colours, strict=True):
        for column, metric in enumerate(("pearcorr", "rel_acc"), 1):
            by_budget = methods[name][metric]["by_budget"]
            order = sorted(by_budget, key=lambda b: int(b[2:]), reverse=True)
            figure.add_scatter(
                x=order,
                y=[by_budget[b] for b in order],
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                line={"color": colour, "width": 3.5 if name == DEFAULT else 1.8},
                row=1,
                col=column,
            )
    figure.update_xaxes(title="budget (part of 1,638,400 examples)")
    figure.update_yaxes(range=[0, 101], row=1, col=1)
    figure.update_yaxes(range=[50, 101], row=1, col=2)
    return figure


def forecasts_figure(made: dict[tuple[str, int], Forecast], truth: dict[str, Floats], budget: int) -> go.Figure:
    """Forecast against truth with 90 % intervals, one panel a task."""
    figure = make_subplots(1, len(truth), subplot_titles=list(truth), horizontal_spacing=0.06)
    for column, (task, final) in enumerate(truth.items(), 1):
        forecast = made[task, budget]
        low, high = forecast.interval(0.9).T
        figure.add_scatter(
            x=final,
            y=forecast.mean,
            mode="markers",
            showlegend=False,
            marker={"color": "#d1495b", "size": 6},
            error_y={"array": high - forecast.mean, "arrayminus": forecast.mean - low, "thickness": 0.8, "width": 0},
            row=1,
            col=column,
        )
        ends = [float(final.min()), float(final.max())]
        figure.add_scatter(
            x=ends, y=ends, mode="lines", showlegend=False, line={"color": "#555", "dash": "dot"}, row=1, col=column
        )
    figure.update_xaxes(title="true loss at 1,638,400")
    figure.update_yaxes(title="forecast", row=1, col=1)
    return figure


def coverage_figure(calibration: dict[str, Any]) -> go.Figure:
    """Coverage against the nominal level, one line a task."""
    figure = go.Figure()
    for (task, m), colour in zip(calibration["by_task"].items(), ("#d1495b", "#00798c", "#edae49"), strict=True):
        levels = [float(level.rstrip("%")) for level in m["coverage"]]
        covered = [100 * v for v in m["coverage"].values()]
        figure.add_scatter(x=levels, y=covered, name=task, mode="lines+markers", line={"color": colour, "width": 2.5})
    ends = np.array([45, 100])
    figure.add_scatter(x=ends, y=ends, name="ideal", mode="lines", line={"color": "#555", "dash": "dot"})
    figure.update_xaxes(title="nominal level, %")
    figure.update_yaxes(title="truths held, %", range=[30, 101])
    return figure
