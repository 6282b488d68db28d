"""The tables and figures of `docs/search-in-depth.md`, made from the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from evidence.pages import dressed, table, write_figures, write_section

NAMES = {
    "regret_budget": "expected regret, to a budget",
    "regret": "expected regret, to a threshold of it",
    "regret_p_close": "expected regret, to P(RelAcc >= 99)",
    "regret_p_best": "expected regret, to P(best)",
    "successive_halving_slope": "successive halving on a last-3-point slope",
    "successive_halving": "successive halving on the current loss",
    "asha": "ASHA",
    "accept_then_stop": "Accept-then-Stop on a fixed ladder",
    "full": "full tuning, ladder included",
}
DRAWN = (
    "regret_budget",
    "regret_p_close",
    "successive_halving_slope",
    "successive_halving",
    "asha",
    "accept_then_stop",
)
CAPTIONS = {
    "frontier": "Mean shortfall of RelAcc against mean compute, each policy over its dial.",
    "reliability": "Stated P(best) at the stop and how often the choice was the best, with the number of stops.",
}


def write(result: dict[str, Any], docs: Path) -> None:
    """Replace the cost section of `docs`/search-in-depth.md and write its figures as SVG beside it.

    Raises:
        InputError: if figures cannot be written here.
    """
    figures = {}
    for split in ("published", "own"):
        if result[split] is not None:
            figures[f"cost_{split}_frontier"] = frontier_figure(result[split])
            figures[f"cost_{split}_reliability"] = reliability_figure(result[split])
    write_figures(docs / "figures", figures)
    write_section(docs / "search-in-depth.md", "cost", "python -m evidence cost --docs docs", tables(result), "Search")


def tables(result: dict[str, Any]) -> str:
    """The section in Markdown."""
    parts = ["### Published curves", *_split(result["published"], "published")]
    if result["own"]:
        parts += [f"### Our own curves ({result['own_split']} tasks)", *_split(result["own"], "own")]
    return "\n\n".join(parts) + "\n"


def _split(measured: dict[str, Any], split: str) -> list[str]:
    reach = measured["reach"]
    levels = dict.fromkeys(key.split("@")[0] for key in reach)
    parts = [
        f"Tasks {', '.join(measured['tasks'])}; {measured['subsets']} random pools of {measured['models']} candidates "
        f"each (seed {measured['seed']}). Compute to reach a RelAcc in a part of the cases, in parts of fine-tuning "
        "everything, the operating point chosen in hindsight:"
    ]
    for level in levels:
        parts.append(_reach({key: rows for key, rows in reach.items() if key.startswith(f"{level}@")}, "hindsight"))
    if len(measured["tasks"]) > 1:
        strict = {key: rows for key, rows in reach.items() if key.startswith("99@")}
        parts += [
            "The same with the shape that was cheapest on the other tasks, and one dial for all tasks:",
            _reach(strict, "shape_left_out"),
            "With shape and dial from the other tasks: compute, and in brackets the part of cases that reached it:",
            _reach(strict, "left_out"),
        ]
    parts += [
        _in_the_mean("mean RelAcc >= 91", measured["mean_rel_acc_91"]),
        "The measure of LAMPS (ICML 2026): compute to 99 % of the optimum (the least loss over that of the choice) and "
        "to 99 % of the hypervolume of size and loss (handed over are the models that no smaller one beats, as far as "
        "the policy knows; reference point 1.1 of both ranges), as means over cases and tasks:",
        _in_the_mean("99 % of the optimum", measured["optimum_99"]),
        _in_the_mean("99 % of the hypervolume", measured["hypervolume_99"]),
    ]
    parts += [_image(split, "frontier"), _reliability(measured["reliability"])]
    return [*parts, _image(split, "reliability")]


def _reach(reach: dict[str, Any], how: str) -> str:
    level = next(iter(reach)).split("@")[0]
    head = [f"RelAcc >= {level}", *(f"in {key.split('@')[1]}" for key in reach)]
    return table(head, [[NAMES[name], *(_found(rows[name][how]) for rows in reach.values())] for name in NAMES])


def _found(point: dict[str, Any] | None) -> str:
    if point is None:
        return "never"
    return f"{point['cost']:.3f}" + (f" ({point['success']:.0%})" if "success" in point else "")


def _in_the_mean(what: str, rows: dict[str, Any]) -> str:
    """Compute saved at a mean of that, in brackets where the settings from the other tasks ended."""
    head = [what, "compute saved, in hindsight", "settings from the other tasks"]
    body = []
    for name, row in rows.items():
        best, held = row["hindsight"], row["left_out"]
        saved = f"{max(1 - best['cost'], 0):.1%}" if best else "never"
        strict = f"{max(1 - held['cost'], 0):.1%} at {held['mean']:.1f}" if held else ""
        body.append([NAMES[name], saved, strict])
    return table(head, body)


def _reliability(bins: list[dict[str, float]]) -> str:
    head = ["stated P(best), mean of the bin", "how often it was", "stops"]
    return table(head, [[f"{b['stated']:.2f}", f"{b['best']:.2f}", str(b["cases"])] for b in bins])


def _image(split: str, name: str) -> str:
    return f"![{CAPTIONS[name]}](figures/cost_{split}_{name}.svg)\n\n{CAPTIONS[name]}"


def frontier_figure(measured: dict[str, Any]) -> go.Figure:
    """100 - mean RelAcc against mean compute, one line a policy."""
    figure = go.Figure()
    for name in DRAWN:
        cost, lost = zip(*measured["frontiers"][name], strict=True)
        width = 3 if name.startswith("regret") else 1.5
        figure.add_scatter(x=cost, y=[max(v, 0.01) for v in lost], name=NAMES[name], mode="lines+markers")
        figure.data[-1].update(line_width=width, marker_size=4)
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    figure.update_xaxes(
        type="log",
        title="compute, parts of fine-tuning everything",
        tickvals=ticks,
        ticktext=[f"{t:g}" for t in ticks],
        range=[-2.3, 0.32],
    )
    losses = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    figure.update_yaxes(
        type="log", title="100 - mean RelAcc", tickvals=losses, ticktext=[f"{t:g}" for t in losses], range=[-1.1, 1.5]
    )
    return dressed(figure)


def reliability_figure(measured: dict[str, Any]) -> go.Figure:
    """How often the choice was the best against the stated probability, with the diagonal."""
    bins = measured["reliability"]
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#b9bec7"}, showlegend=False)
    figure.add_scatter(
        x=[b["stated"] for b in bins],
        y=[b["best"] for b in bins],
        text=[str(b["cases"]) for b in bins],
        mode="lines+markers+text",
        textposition="top left",
        showlegend=False,
        marker_size=8,
    )
    figure.update_xaxes(title="stated P(best) at the stop", range=[0, 1.02])
    figure.update_yaxes(title="part of stops where the choice was the best", range=[0, 1.08])
    return dressed(figure)
