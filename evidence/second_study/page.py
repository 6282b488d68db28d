"""What `docs/second-study.md` says and shows of the tasks that are complete."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from evidence.pages import dressed, table, write_figures, write_section
from evidence.results import write_numbers
from evidence.second_study.config import SecondStudy, task_name
from evidence.second_study.curves import Measured, measured
from evidence.second_study.findings import APART, EARLY, FORECAST, findings

RESULT = Path(__file__).with_name("second_study.json")
REPORT_RESULT = Path(__file__).with_name("second_study_report.json")
FIGURES = {
    "second_study_curves": "Loss against training examples. Colour: model; solid: full tuning, dashed: LoRA r 32, "
    "dotted: LoRA r 4.",
    "second_study_leads": "Log ratio of LoRA's loss to full tuning's of the same model; above 0 full tuning leads.",
}
EARLY_SAID = (
    f"The best at 1/{EARLY} of the data and at the end. Regret: by how much the first one's loss at the end is above "
    "the best's. Pairs turned: part of all pairs of candidates whose order is another at the end."
)
CROSSINGS_SAID = (
    f"LoRA against full tuning of the same model. They cross if they are apart by more than {APART:.0%} of the loss at "
    f"two sizes, on different sides; they cross later if so after 1/{FORECAST} of the data. Foreseen: the forecast "
    "from up to there has the right one ahead at the end."
)
RULES_SAID = (
    "What ways to choose cost: regret at the end in percent of the loss, and compute in parts of fine-tuning all "
    "candidates on all the data. `the best model (known)` cannot be known beforehand: it shows what the method alone "
    "costs."
)
RATES_SAID = (
    "Learning rates: which of 0.1, 0.3 and 1 times the method's base won at 50 examples, what the others lose on the "
    "validation examples (median), and how many later rungs were trained again, lower."
)


def run(study: SecondStudy, *, report: bool, json_file: Path, docs: Path | None) -> dict[str, Any]:
    """Work out the findings on the complete tasks of one side of the split.

    Args:
        study: whose table is read.
        report: the report tasks, not the design tasks.
        json_file: gets the numbers.
        docs: whose page and figures are written; None for neither.

    Raises:
        InputError: if no task is complete.
    """
    tasks = measured(study, report=report)
    split = "report" if report else "design"
    scores = {task_name(source): names for source, names in study.tasks.items()}
    command = f"python -m evidence second-page{' --report' if report else ''}"
    result = write_numbers({"command": command, "split": split, **findings(tasks, scores)}, json_file)
    if docs is not None:
        figures = {"second_study_curves": curves_figure(tasks), "second_study_leads": leads_figure(result)}
        write_figures(docs / "figures", {f"{name}_{split}": figure for name, figure in figures.items()})
        body = text(result)
        write_section(
            docs / "second-study.md", f"second study, {split}", f"{command} --docs docs", body, "Second study"
        )
    return result


def text(result: dict[str, Any]) -> str:
    """The section in Markdown."""
    split, tasks = result["split"], result["tasks"]
    return "\n\n".join(
        [
            f"## What it shows: {split} tasks\n\nComplete: {', '.join(tasks)}.",
            EARLY_SAID,
            _early(tasks),
            CROSSINGS_SAID,
            _crossings(tasks),
            RULES_SAID,
            _rules(tasks),
            "Loss against score at the end: Spearman correlation over candidates, and what choosing by the loss costs.",
            _scores(tasks),
            RATES_SAID,
            _rates(result["learning_rates"]),
            *(f"![{said}](figures/{name}_{split}.svg)\n\n{said}" for name, said in FIGURES.items()),
        ]
    )


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _early(tasks: dict[str, Any]) -> str:
    rows = []
    for name, task in tasks.items():
        one = task["best_early"]
        numbers = [f"{_number(one['regret'])} %", f"{one['pairs_turned']:.0%}", _number(one["spearman"])]
        rows.append([name, f"{one['examples']:,}", one["chosen"], one["best"], *numbers])
    return table(["task", "1/16", "best there", "best at the end", "regret", "pairs turned", "Spearman"], rows)


def _crossings(tasks: dict[str, Any]) -> str:
    rows = []
    for name, task in tasks.items():
        pairs = task["crossings"]
        later = [one for one in pairs if one["crosses_later"]]
        others = [one for one in pairs if one["told_at_end"] and not one["crosses_later"]]
        rows.append(
            [
                name,
                str(len(pairs)),
                str(sum(one["crosses"] for one in pairs)),
                ", ".join(sorted({f"{one['at']:,}" for one in pairs if one["crosses"]})),
                f"{sum(one['foreseen'] for one in later)} of {len(later)}",
                f"{sum(one['foreseen'] for one in others)} of {len(others)}",
            ]
        )
    return table(["task", "pairs", "cross", "at", "later, foreseen", "not later, foreseen"], rows)


def _rules(tasks: dict[str, Any]) -> str:
    ways = list(dict.fromkeys(way for task in tasks.values() for way in task["rules"]))
    rows = []
    for way in ways:
        of = [task["rules"].get(way) for task in tasks.values()]
        cells = [f"{one['regret']:.2f} % ({one['cost']:.3f})" if one else "" for one in of]
        known = [one["regret"] for one in of if one]
        rows.append([way, *cells, f"{np.mean(known):.2f} %"])
    return table(["way", *tasks, "mean"], rows)


def _scores(tasks: dict[str, Any]) -> str:
    rows = []
    for name, task in tasks.items():
        for score, one in task["scores"].items():
            worth = f"{one['score_of_best_by_loss']:.3f} of {one['best_score']:.3f}"
            apart = _number(one["gap_in_standard_errors"], 1)
            rows.append(
                [name, score, _number(one["spearman"]), one["best_by_loss"], one["best_by_score"], worth, apart]
            )
    head = [
        "task",
        "score",
        "Spearman",
        "best by loss",
        "best by score",
        "its score of the best",
        "apart, standard errors",
    ]
    return table(head, rows)


def _rates(rates: dict[str, Any]) -> str:
    rows = [
        [
            way,
            *(f"{one[f'won_{which}']:.0%}" for which in ("lowest", "middle", "highest")),
            f"{one['median_regret_of_middle']:.1f} %",
            f"{one['median_regret_of_highest']:.1f} %",
            f"{one['retrained']:.0%}" if one["retrained"] is not None else "",
        ]
        for way, one in rates.items()
    ]
    return table(["method", "0.1 won", "0.3 won", "1 won", "0.3 loses", "1 loses", "trained again"], rows)


def curves_figure(tasks: list[Measured]) -> go.Figure:
    """Loss against training examples, a panel a task."""
    figure = make_subplots(cols=len(tasks), subplot_titles=[task.name for task in tasks], horizontal_spacing=0.06)
    for column, task in enumerate(tasks, start=1):
        models = list(dict.fromkeys(task.curves.features["model"]))
        for name, losses in zip(task.curves.candidates, task.curves.losses, strict=True):
            model = str(task.curves.features.loc[name, "model"])
            way = name.removeprefix(f"{model} ")
            line = {
                "color": qualitative.Dark24[models.index(model)],
                "dash": {"full": "solid", "lora r32": "dash"}.get(way, "dot"),
                "width": 1.3,
            }
            shown = column == 1 and way == "full"
            tuned = task.curves.sizes > 0
            points = {"x": task.curves.sizes[tuned], "y": losses[tuned], "name": model, "legendgroup": model}
            figure.add_scatter(**points, line=line, mode="lines", showlegend=shown, row=1, col=column)
    figure.update_xaxes(type="log", title="training examples")
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_yaxes(title="nats/byte", col=1)
    return dressed(figure, 460)


def leads_figure(result: dict[str, Any]) -> go.Figure:
    """LoRA's loss over full tuning's, a panel a task, a line a model and rank."""
    tasks = result["tasks"]
    figure = make_subplots(cols=len(tasks), subplot_titles=list(tasks), shared_yaxes=True, horizontal_spacing=0.04)
    for column, task in enumerate(tasks.values(), start=1):
        names = sorted({one["candidate"].rsplit(" lora", 1)[0] for one in task["crossings"]})
        sizes = [int(size) for size in task["best_early"]["best_by_size"] if size != "0"]
        for one in task["crossings"]:
            model, rank = one["candidate"].rsplit(" lora ", 1)
            line = {
                "color": qualitative.Dark24[names.index(model)],
                "dash": "dash" if rank == "r32" else "dot",
                "width": 1.3,
            }
            shown = column == 1 and rank == "r32"
            points = {"x": sizes, "y": one["leads"], "name": model, "legendgroup": model}
            figure.add_scatter(**points, line=line, mode="lines", showlegend=shown, row=1, col=column)
        figure.add_hline(y=0, line={"color": "black", "width": 1}, row=1, col=column)
    figure.update_xaxes(type="log", title="training examples")
    figure.update_yaxes(title="log(LoRA / full)", col=1)
    return dressed(figure, 460)
