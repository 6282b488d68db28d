"""The one-pass ladder against separate runs: losses, rankings, forecasts, FLOPs.

    python benchmarks/one_pass.py [TABLE]

Every candidate's ladder of 50 to 1,600 examples is made from one training run; the separate runs, and the truth at
6,400 examples, are those of the study (TABLE, benchmarks/study/runs.csv), or made here. Both ladders begin at the rate
that the separate run chose at 50 examples, and both train a rung once more at 0.3 of its rate where its validation
loss is not below that of the rung before. Written to benchmarks/results/one_pass.json after every ladder; what it holds
is not made again, unless it was made under another protocol. One thread.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lensllm.benchmark.metrics import rel_acc, spearman
from lensllm.candidates import find_candidate
from lensllm.curves import Curves
from lensllm.search.workers import one_quiet_thread
from lensllm.selectors import GrowingSlopes
from lensllm.tasks import read_task
from lensllm.tuning.fine_tune import EncodedTask, fine_tune
from lensllm.tuning.one_pass import OnePass, one_pass
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

HERE = Path(__file__).parent
RESULT = HERE / "results" / "one_pass.json"
TABLE = HERE / "study" / "runs.csv"
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


def measure(results: dict[str, Any], table: Path) -> None:
    tasks = {name: read_task(name) for name in TASKS}
    for model in MODELS:
        for task in TASKS:
            entry = results["ladders"].setdefault(f"{task} {model}", {})
            encoded = EncodedTask(find_candidate(model), tasks[task], PROTOCOL)
            if len(entry.get("separate", [])) <= len(SIZES):
                entry["separate"] = separate(encoded, studied(table, task, model))
                write(results)
            if "one_pass" not in entry:
                runs = one_pass(encoded, SIZES, entry["separate"][0]["learning_rate"])
                entry["one_pass"] = [kept(run) for run in runs]
                write(results)
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
    losses = [[row["nats_per_byte"] for row in results["ladders"][f"{task} {m}"][kind]][: len(SIZES)] for m in MODELS]
    return Curves(tuple(MODELS), np.array(SIZES, dtype=float), np.array(losses))


def summary(results: dict[str, Any], task: str) -> dict[str, Any]:
    entries = [results["ladders"][f"{task} {model}"] for model in MODELS]
    truth = np.array([entry["separate"][-1]["nats_per_byte"] for entry in entries])
    both = {kind: curves(results, task, kind) for kind in ("one_pass", "separate")}
    change = np.log(both["one_pass"].losses / both["separate"].losses)
    rungs = []
    for column, size in enumerate(SIZES):
        row: dict[str, Any] = {
            "examples": size,
            "mean_change": float(change[:, column].mean()),
            "sd_of_change": float(change[:, column].std(ddof=1)),
            "largest_change": float(np.abs(change[:, column]).max()),
            "spearman_of_the_two": float(
                spearmanr(both["one_pass"].losses[:, column], both["separate"].losses[:, column]).statistic
            ),
        }
        for kind, made in both.items():
            measured = made.losses[:, column]
            row[kind] = {
                "spearman_of_losses": float(spearmanr(measured, truth).statistic),
                "rel_acc_of_losses": float((truth.max() - truth[measured.argmin()]) / np.ptp(truth)),
            }
            if column > 0:
                forecast = GrowingSlopes().forecast(made.up_to(size), FULL)
                error = np.log(forecast.mean / truth)
                low, high = forecast.interval(0.9).T
                row[kind] |= {
                    "spearman_of_forecasts": spearman(forecast, truth) / 100,
                    "rel_acc_of_forecasts": rel_acc(forecast, truth) / 100,
                    "mean_log_error": float(error.mean()),
                    "sd_of_log_error": float(error.std(ddof=1)),
                    "covered": float(((low <= truth) & (truth <= high)).mean()),
                }
        rungs.append(row)
    each = [costs(entry) for entry in entries]
    cost = {kind: float(np.mean([c[kind] for c in each])) for kind in ("one_pass", "separate")}
    again = {kind: sum(trained_again(entry, kind) for entry in entries) for kind in ("one_pass", "separate")}
    return {"rungs": rungs, "training_flops_over_last_rung": cost, "rungs_trained_again": again}


def write(results: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    one_quiet_thread()
    under = json.loads(json.dumps({"form": asdict(OnePass()), "protocol": asdict(PROTOCOL)}))
    results: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if {name: results.get(name) for name in under} != under:
        results = {"ladders": {}}
    results |= {"command": "python benchmarks/one_pass.py", **under}
    measure(results, Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE)
    results["summary"] = {task: summary(results, task) for task in TASKS}
    write(results)
    for task in TASKS:
        print(task, json.dumps(results["summary"][task]["training_flops_over_last_rung"]))
        for row in results["summary"][task]["rungs"]:
            print(json.dumps(row))


if __name__ == "__main__":
    main()
