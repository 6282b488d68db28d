"""The bound on real runs: is it above the test loss, how tight is it, what is it good for, and what does it cost?

    python -m evidence bound                       # measures what the result has not got, then sums up
    python -m evidence bound --summary             # sums up what is there
    python -m evidence bound --summary --figures   # the same, and draws the figures of docs/theory.md (kaleido, Chrome)

Six shipped models, the design tasks `define` and `sentiment`, 50 to 800 examples, trained as `lensllm select` trains
(as `lensllm.theory.bound_job.BoundOf` does, which keeps no model): 60 runs. Each is written as soon as it is
measured.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from scipy.stats import spearmanr

from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from evidence.theory.own_bounds import MEASURES
from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.curves import Curves
from lensllm.laws import Prior, RectifiedLaw
from lensllm.planning.phases import phases
from lensllm.report.theory_figures import bound_figure
from lensllm.tasks import read_task
from lensllm.theory.bound import CURVATURE_EXAMPLES, Bound, Decay, bound, fit_decay
from lensllm.theory.curvature import LayerHessian, largest_eigenvalues, trace
from lensllm.theory.other_bounds import distance_from_initialization, parameter_counting
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODELS = [
    "gpt2-0.2m-mix-5m",
    "gpt2-0.2m-bible-1.5m",
    "t5-0.2m-glosses-1.5m",
    "gpt2-0.2m-random",
    "llama-0.2m-austen-1.5m",
    "gpt2-0.2m-glosses-5m",
]
TASKS = ["define", "sentiment"]
SIZES = [50, 100, 200, 400, 800]


def measure(rows: list[dict[str, Any]], json_file: Path) -> None:
    """Every run that is not among the rows; a ladder is climbed again from its first size to the missing one."""
    for name in MODELS:
        for task_name in TASKS:
            done = {row["examples"] for row in rows if (row["candidate"], row["task"]) == (name, task_name)}
            if done >= set(SIZES):
                continue
            candidate, task = find_candidate(name), read_task(task_name)
            encoded = EncodedTask(candidate, task, TrainingConfig())
            pretrained = {key: p.detach() for key, p in load_model(candidate).named_parameters()}
            rate, previous_validation_loss = None, None
            for size in SIZES:
                kept: list[Any] = []
                started = time.process_time()
                run = fine_tune(encoded, size, rate, previous_validation_loss, keep=kept.append)
                run_seconds = time.process_time() - started
                rate, previous_validation_loss = run.learning_rate, run.validation
                if size not in done:
                    rows.append(row_of(encoded, run, run_seconds, kept[0], pretrained) | {"task": task_name})
                    write_numbers({"runs": rows}, json_file)
                    print(task_name, name, size, {k: round(rows[-1][k], 3) for k in ("bound", "test_loss")}, flush=True)


def row_of(
    encoded: EncodedTask, run: Any, run_seconds: float, model: Any, pretrained: dict[str, Any]
) -> dict[str, Any]:
    """The bound of one run, the other bounds, the Hessian's size and what all that cost."""
    model.set_attn_implementation("eager")
    train, test = encoded.split("train")[: run.examples], encoded.split("test")
    started = time.process_time()
    found = bound(run.candidate, pretrained, model, train, test)
    bound_seconds = time.process_time() - started
    everything = LayerHessian(model, list(pretrained), train[:CURVATURE_EXAMPLES], "all layers")
    start = torch.randn(everything.size, generator=torch.Generator().manual_seed(0))
    top = largest_eigenvalues(everything.mean, start, relative=0.05, max_steps=12)
    whole = trace(everything.mean, everything.size, relative=0.1, most=8)
    trainings = max(1, len(run.trials))
    return {
        **found.to_dict(),
        "run": asdict(run),
        "parameter_counting": parameter_counting(
            found.train_loss, found.largest_loss, run.examples, sum(p.numel() for p in model.parameters())
        ),
        "distance_from_initialization": distance_from_initialization(model, train, found.distance, found.largest_loss),
        "largest_eigenvalue": float(top.value[0]),
        "trace": whole.value,
        "trace_standard_error": whole.standard_error,
        "flops_fine_tuning_once": (run.flops - run.test_flops) / trainings + run.test_flops,
        "seconds_fine_tuning_once": run_seconds / trainings,
        "seconds_bound": bound_seconds,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Validity, tightness, usefulness and cost over all runs."""
    table = pd.DataFrame(rows)
    mean_h = pd.Series([sum(math.sqrt(t["h_mean"]) for t in layers) for layers in table.layers])
    measures = {
        **{name: measure(table) for name, measure in MEASURES.items()},
        "sum sqrt(mean h) / sqrt(n)": mean_h / np.sqrt(table.examples),
    }
    ladders = {f"{c}, {t}": part.sort_values("examples") for (c, t), part in table.groupby(["candidate", "task"])}
    whole = {name: part for name, part in ladders.items() if len(part) == len(SIZES)}
    shares = [t["h_low"] / t["h"] for layers in table.layers for t in layers if t["h"] > 0]
    return {
        "command": "python -m evidence bound",
        "runs": len(table),
        "runs_with_a_gap_above_0": int((table.gap > 0).sum()),
        "bounds": of_each_kind(table),
        "correlation_with_the_gap": {name: correlations(table, value) for name, value in measures.items()},
        "decay": decays_of(whole),
        "transitions": transitions(whole),
        "from_50_to_800": {
            name: quantiles(pd.Series([float(c[name].iloc[-1] / c[name].iloc[0]) for c in whole.values()]))
            for name in ("largest_eigenvalue", "trace", "distance", "sum_sqrt_h", "curvature")
        },
        "interval_low_over_high": quantiles(pd.Series(shares)),
        "flops_over_fine_tuning_once": by_size(table, table.flops / table.flops_fine_tuning_once),
        "seconds_over_fine_tuning_once": by_size(table, table.seconds_bound / table.seconds_fine_tuning_once),
        "flops_over_the_run_as_it_was": by_size(table, table.flops / pd.Series([r["flops"] for r in table.run])),
    }


def of_each_kind(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Validity and tightness of the Hessian's bound and of the others on the same runs."""
    test, train, gap = table.test_loss, table.train_loss, table.gap
    kinds = {
        "hessian": table.bound,
        "hessian without the confidence term": (1 + table.epsilon) * (train + table.curvature),
        "parameter counting": table.parameter_counting,
        "distance from initialization": table.distance_from_initialization,
    }
    return {
        name: {
            "above_the_test_loss": int((value >= test).sum()),
            "below_the_largest_loss": int((value < table.largest_loss).sum()),
            "over_test_loss": quantiles(value / test),
            "gap_over_true_gap": quantiles(((value - train) / gap)[gap > 0]),
        }
        for name, value in kinds.items()
    }


def quantiles(values: pd.Series) -> dict[str, float]:
    """Median and the middle 80 %."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"10%": float(low), "median": float(middle), "90%": float(high)}


def by_size(table: pd.DataFrame, ratio: pd.Series) -> dict[str, float]:
    """Median of a ratio by number of examples."""
    return {str(size): float(part.median()) for size, part in ratio.groupby(table.examples)}


def correlations(table: pd.DataFrame, value: pd.Series) -> dict[str, float]:
    """Spearman with the gap: over all runs, over each task, and the mean over groups of one task and size."""
    result = {"all": float(spearmanr(value, table.gap)[0])}
    for task, part in table.groupby("task"):
        result[str(task)] = float(spearmanr(value[part.index], part.gap)[0])
    groups = [part for _, part in table.groupby(["task", "examples"]) if len(part) > 3]
    within = [spearmanr(value[part.index], part.gap)[0] for part in groups if value[part.index].nunique() > 1]
    return {**result, "same task and size": float(np.mean(within)) if within else math.nan}


def losses_of(ladder: pd.DataFrame) -> Curves:
    """The test losses that the runs report, as a curve."""
    losses = np.array([[run["nats_per_byte"] for run in ladder.run]])
    return Curves(("m",), ladder.examples.to_numpy(float), losses)


def decay_of(ladder: pd.DataFrame) -> Decay:
    """How the bound of one ladder falls with the data."""
    return fit_decay([Bound.from_dict(row) for row in ladder.to_dict("records")])


def decays_of(ladders: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """beta2 of every ladder, and beta3 beside the fitted law's beta."""
    found = {name: decay_of(ladder) for name, ladder in ladders.items()}
    law = {}
    for name, ladder in ladders.items():
        curve = losses_of(ladder)
        law[name] = float(RectifiedLaw(prior=Prior()).fit(curve.sizes, curve.losses).params_["beta"][0])
    fitted = [name for name in found if np.isfinite(law[name])]
    return {
        "curves": {name: {**vars(d), "law_beta": law[name]} for name, d in found.items()},
        "beta2": quantiles(pd.Series([d.beta2 for d in found.values()])),
        "beta2_above_0": sum(d.beta2 > 0 for d in found.values()),
        "beta2_surely_below_0": sum(d.beta2_interval[1] < 0 for d in found.values()),
        "spearman_beta3_with_law_beta": float(
            spearmanr([found[name].beta3 for name in fitted], [law[name] for name in fitted])[0]
        ),
        "curves_with_a_law": len(fitted),
    }


def transitions(ladders: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The three numbers of examples at which the power phase begins, and how they agree; 0 of the bound counts as 1."""
    rows = {}
    for name, ladder in ladders.items():
        (found,) = phases(losses_of(ladder))
        begins = max(decay_of(ladder).power_from, 1.0)
        rows[name] = {
            "phase": found.phase,
            "law": found.by_law.size,
            "residual test": found.by_residuals.size,
            "bound": begins,
        }
    table = pd.DataFrame(rows).T
    agreement = {}
    for one, other in (("law", "residual test"), ("law", "bound"), ("residual test", "bound")):
        pair = table[[one, other]].astype(float).replace([np.inf, -np.inf], np.nan).dropna()
        far = np.abs(np.log2(pair[one] / pair[other]))
        agreement[f"{one} and {other}"] = {
            "curves": len(pair),
            "within_a_factor_of_2": int((far <= 1).sum()),
            "spearman": float(spearmanr(pair[one], pair[other])[0]),
        }
    return {"curves": rows, "agreement": agreement}


def draw(table: pd.DataFrame) -> None:
    """What each bound adds to the training loss against the true gap, and the terms of one ladder."""
    figure = go.Figure()
    positive = table[table.gap > 0]
    for name, column, colour in (
        ("Hessian (4)", "bound", "#d62728"),
        ("parameter counting", "parameter_counting", "#1f77b4"),
        ("distance from initialization", "distance_from_initialization", "#9aa1ac"),
    ):
        added = positive[column] - positive.train_loss
        figure.add_scatter(x=positive.gap, y=added, name=name, mode="markers", marker={"color": colour, "size": 6})
    ends = [float(positive.gap.min()), float(positive.gap.max())]
    line = {"color": "#555", "dash": "dot"}
    figure.add_scatter(x=ends, y=ends, name="the gap itself", mode="lines", line=line)
    figure.update_xaxes(type="log", title="true gap: test loss - training loss, nats a byte")
    figure.update_yaxes(type="log", title="bound - training loss", dtick=1)
    figure.update_layout(template="plotly_white", height=420, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    ladder = table[(table.candidate == MODELS[1]) & (table.task == TASKS[0])].sort_values("examples")
    bounds = [Bound.from_dict(row) for row in ladder.to_dict("records")]
    folder = Path(__file__).parents[2] / "docs" / "figures"
    for name, made in (("gaps", figure), ("terms", bound_figure(bounds, fit_decay(bounds)))):
        made.update_layout(width=1000).write_image(folder / f"theory_{name}.svg")


def run(*, measured: bool = True, drawn: bool = False, json_file: Path = RESULT) -> dict[str, Any]:
    """Measure what the result has not got, then sum up.

    Args:
        measured: False to sum up what is there.
        drawn: draw docs/figures/theory_gaps.svg and docs/figures/theory_terms.svg as well.
        json_file: where the result is and goes.
    """
    one_quiet_thread()
    rows = json.loads(json_file.read_text())["runs"] if json_file.exists() else []
    if measured:
        measure(rows, json_file)
    result = write_numbers({"summary": summarise(rows), "runs": rows}, json_file)
    print(json.dumps(result["summary"], indent=1))
    if drawn:
        draw(pd.DataFrame(rows))
    return result
