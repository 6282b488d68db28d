"""The one-pass ladder against separate runs: losses, rankings, forecasts, FLOPs.

    python -m evidence one-pass

Every candidate's ladder of 50 to 1,600 examples is made from one training run; the separate runs, and the truth at
6,400 examples, are those of the study (evidence/study/runs.csv; `--runs` names another table), or made here. Both
ladders begin at the rate that the separate run chose at 50 examples, and both train a rung once more at 0.3 of its rate
where its validation loss is not below that of the rung before. Written to evidence/planning/one_pass.json after every
ladder; what it holds is not made again, unless it was made under another protocol. One thread.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.accuracy.metrics import rel_acc, spearman
from evidence.planning.one_pass_ladder import OnePass, one_pass
from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from lensllm.arrays import Floats
from lensllm.candidates import find_candidate
from lensllm.curves import Curves
from lensllm.selectors import GrowingSlopes
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
TASKS = ["define", "sentiment"]
MODELS = [
    "gpt2-0.2m-bible-1.5m",
    "gpt2-0.2m-mix-5m",
    "gpt2-0.2m-glosses-5m",
    "gpt2-0.2m-random",
    "gpt2-0.2m-brown-0.3m",
    "llama-0.2m-jargon-1.5m",
    "llama-0.2m-austen-1.5m",
]
SIZES = [50, 100, 200, 400, 800, 1600]
FULL = 6400
PROTOCOL = TrainingConfig(max_test_examples=1000)
KEPT = ["examples", "nats_per_byte", "validation", "learning_rate", "flops", "test_flops"]
Rows = list[dict[str, Any]]


def studied(table: Path, task: str, model: str) -> Rows:
    """The study's runs of a candidate at seed 0, from 50 examples on."""
    if not table.is_file():
        return []
    runs = pd.read_csv(table)
    mine = runs[(runs.task == task) & (runs.candidate == model) & (runs.seed == 0) & runs.examples.isin([*SIZES, FULL])]
    rows = mine.sort_values("examples").to_dict("records")
    return [{**{name: row[name] for name in KEPT}, "trainings": max(1, len(json.loads(row["trials"])))} for row in rows]


def kept(run: Run) -> dict[str, Any]:
    """What is kept of a run."""
    return {**{name: getattr(run, name) for name in KEPT}, "trainings": max(1, len(run.trials))}


def separate(encoded: EncodedTask, known: Rows) -> Rows:
    """The separate runs at every size and at 6,400 examples, those not known made here, as `select` makes them."""
    rows = {row["examples"]: row for row in known}
    rate = previous_validation_loss = None
    for examples in [*SIZES, FULL]:
        if examples not in rows:
            rows[examples] = kept(fine_tune(encoded, examples, rate, previous_validation_loss))
        rate, previous_validation_loss = rows[examples]["learning_rate"], rows[examples]["validation"]
    return [rows[examples] for examples in sorted(rows)]


def measure(results: dict[str, Any], table: Path, json_file: Path) -> None:
    """Every ladder that is not among the results, written as soon as it is made."""
    tasks = {name: read_task(name) for name in TASKS}
    for model in MODELS:
        for task in TASKS:
            entry = results["ladders"].setdefault(f"{task} {model}", {})
            encoded = EncodedTask(find_candidate(model), tasks[task], PROTOCOL)
            if len(entry.get("separate", [])) <= len(SIZES):
                entry["separate"] = separate(encoded, studied(table, task, model))
                write_numbers(results, json_file)
            if "one_pass" not in entry:
                runs = one_pass(encoded, SIZES, entry["separate"][0]["learning_rate"])
                entry["one_pass"] = [kept(run) for run in runs]
                write_numbers(results, json_file)
            pairs = zip(entry["one_pass"], entry["separate"], strict=False)
            change = np.log([a["nats_per_byte"] / b["nats_per_byte"] for a, b in pairs])
            print(task, model, np.round(change, 4), f"{costs(entry)['one_pass']:.2f}", flush=True)


def costs(entry: dict[str, Rows]) -> dict[str, float]:
    """FLOPs of training both ladders over those of training the last rung once.

    Rungs that were trained twice count twice. Of the learning-rate trials of the separate first rung one counts.
    """
    spent = {
        kind: {row["examples"]: row["flops"] - row["test_flops"] for row in entry[kind] if row["examples"] in SIZES}
        for kind in ("one_pass", "separate")
    }
    trainings = {row["examples"]: row["trainings"] for row in entry["separate"]}
    spent["separate"][SIZES[0]] /= trainings[SIZES[0]]
    once = spent["separate"][SIZES[-1]] / trainings[SIZES[-1]]
    return {kind: sum(rungs.values()) / once for kind, rungs in spent.items()}


def trained_again(entry: dict[str, Rows], kind: str) -> int:
    """Number of rungs after the first that were trained once more at a lower rate."""
    return sum(row["trainings"] - 1 for row in entry[kind] if row["examples"] in SIZES[1:])


def curves(results: dict[str, Any], task: str, kind: str) -> Curves:
    """The losses of one kind of ladder at all rungs."""
    losses = [[row["nats_per_byte"] for row in results["ladders"][f"{task} {m}"][kind]][: len(SIZES)] for m in MODELS]
    return Curves(tuple(MODELS), np.array(SIZES, dtype=float), np.array(losses))


def summary(results: dict[str, Any], task: str) -> dict[str, Any]:
    """How the two ladders of a task differ at every rung, and what each costs."""
    entries = [results["ladders"][f"{task} {model}"] for model in MODELS]
    truth = np.array([entry["separate"][-1]["nats_per_byte"] for entry in entries])
    both = {kind: curves(results, task, kind) for kind in ("one_pass", "separate")}
    each = [costs(entry) for entry in entries]
    cost = {kind: float(np.mean([c[kind] for c in each])) for kind in both}
    again = {kind: sum(trained_again(entry, kind) for entry in entries) for kind in both}
    return {
        "rungs": [rung(both, truth, column) for column in range(len(SIZES))],
        "training_flops_over_last_rung": cost,
        "rungs_trained_again": again,
    }


def rung(both: dict[str, Curves], truth: Floats, column: int) -> dict[str, Any]:
    """Change of log loss at one rung, and what either ladder tells of the truth up to there."""
    one, other = both["one_pass"].losses[:, column], both["separate"].losses[:, column]
    change = np.log(one / other)
    return {
        "examples": SIZES[column],
        "mean_change": float(change.mean()),
        "sd_of_change": float(change.std(ddof=1)),
        "largest_change": float(np.abs(change).max()),
        "spearman_of_the_two": float(spearmanr(one, other).statistic),
        **{kind: told(made, truth, column) for kind, made in both.items()},
    }


def told(made: Curves, truth: Floats, column: int) -> dict[str, float]:
    """How well losses at a rung, and from the second on forecasts from there, rank and hit the truth."""
    measured = made.losses[:, column]
    row = {
        "spearman_of_losses": float(spearmanr(measured, truth).statistic),
        "rel_acc_of_losses": float((truth.max() - truth[measured.argmin()]) / np.ptp(truth)),
    }
    if column == 0:
        return row
    forecast = GrowingSlopes().forecast(made.up_to(SIZES[column]), FULL)
    error = np.log(forecast.mean / truth)
    low, high = forecast.interval(0.9).T
    return row | {
        "spearman_of_forecasts": spearman(forecast, truth) / 100,
        "rel_acc_of_forecasts": rel_acc(forecast, truth) / 100,
        "mean_log_error": float(error.mean()),
        "sd_of_log_error": float(error.std(ddof=1)),
        "covered": float(((low <= truth) & (truth <= high)).mean()),
    }


def run(table: Path | None = None, json_file: Path = RESULT) -> dict[str, Any]:
    """Make what the result has not got, then sum up.

    Args:
        table: of separate runs, the study's if None.
        json_file: where the result is and goes.
    """
    one_quiet_thread()
    under = json.loads(json.dumps({"form": asdict(OnePass()), "protocol": asdict(PROTOCOL)}))
    results: dict[str, Any] = json.loads(json_file.read_text()) if json_file.is_file() else {}
    if {name: results.get(name) for name in under} != under:
        results = {"ladders": {}}
    results |= {"command": "python -m evidence one-pass", **under}
    measure(results, table or Path(StudyConfig.read(STUDY).table), json_file)
    results["summary"] = {task: summary(results, task) for task in TASKS}
    for task in TASKS:
        print(task, json.dumps(results["summary"][task]["training_flops_over_last_rung"]))
        for row in results["summary"][task]["rungs"]:
            print(json.dumps(row))
    return write_numbers(results, json_file)
