"""LoRA's learning rate: three trials at the first rung against one formula from the width, by what each loses.

    python -m evidence lora-rate

The trials are the protocol's: 0.1, 0.3 and 1 times `Lora.base_learning_rate`, the one with the lowest validation loss
at the first size kept for the larger ones. The formula is that of Schulman and Thinking Machines 2025 (*LoRA Without
Regret*): 5e-4 (2000 / hidden)^p, p = 0.781 as for Llama. Regret is the log of the test loss over the lowest of all
rates tried. Shipped task `define`, 300 test examples.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from lensllm.candidates import Full, Lora, Method, find_candidate
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODELS = ["gpt2-0.2m-mix-5m", "gpt2-0.2m-random", "llama-0.9m-mix-5m", "t5-0.2m-glosses-1.5m"]
METHODS: list[Method] = [Full(), Lora(lora_r=4), Lora(lora_r=32)]
SIZES = [50, 400]
MULTIPLES = [0.03, 0.1, 0.3, 1.0, 3.0]


def formula(hidden: int) -> float:
    """Thinking Machines' rate for LoRA.

    >>> round(formula(2000), 6)
    0.0005
    """
    return 5e-4 * (2000 / hidden) ** 0.781


def run(json_file: str | Path | None = RESULT) -> dict[str, Any]:
    """Fine-tune every model by every method at every size and rate."""
    one_quiet_thread()
    task, config = read_task("define"), TrainingConfig()
    rows = []
    for model in MODELS:
        for method in METHODS:
            candidate = replace(find_candidate(model), method=method)
            encoded = EncodedTask(candidate, task, config)
            base = method.base_learning_rate(fine_tune(encoded, 0).parameters)
            text = candidate.config
            hidden = text.get("hidden_size") or text.get("n_embd") or text["d_model"]
            rates = {f"{multiple:g}": base * multiple for multiple in MULTIPLES}
            if method.name == "lora":
                rates["formula"] = formula(hidden)
            for size in SIZES:
                runs = {name: fine_tune(encoded, size, rate) for name, rate in rates.items()}
                rows.append(_row(model, method, size, base, rates, runs))
                print(model, method.label, size, {name: round(one.nats_per_byte, 4) for name, one in runs.items()})
    return write_numbers({"command": "python -m evidence lora-rate", "runs": rows, **_rules(rows)}, json_file)


def _row(
    model: str, method: Method, size: int, base: float, rates: dict[str, float], runs: dict[str, Run]
) -> dict[str, Any]:
    return {
        "model": model,
        "method": method.label,
        "examples": size,
        "base": base,
        "rates": rates,
        "nats_per_byte": {name: one.nats_per_byte for name, one in runs.items()},
        "validation": {name: one.validation for name, one in runs.items()},
        "flops": {name: one.flops for name, one in runs.items()},
    }


def _rules(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and largest regret of each rule over models and ranks, at each size."""
    trials = [f"{part:g}" for part in TrainingConfig.learning_rate_trials]
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        losses = {name: loss for name, loss in row["nats_per_byte"].items() if math.isfinite(loss)}
        first = next(
            one for one in rows if (one["model"], one["method"]) == (row["model"], row["method"])
        )  # the smallest size comes first
        chosen = {"trials": min(trials, key=lambda name: first["validation"][name])}
        chosen |= {"formula": "formula"} if "formula" in row["rates"] else {}
        for rule, name in chosen.items():
            kind = "lora" if row["method"].startswith("lora") else "full"
            regret = math.log(losses[name] / min(losses.values())) if name in losses else math.inf
            found.setdefault(f"{kind}, {rule}", {}).setdefault(str(row["examples"]), []).append(regret)
    return {
        "trials_over_formula": _cost(rows, trials),
        "regret": {
            rule: {size: {"mean": float(np.mean(all_)), "max": max(all_)} for size, all_ in sizes.items()}
            for rule, sizes in found.items()
        },
    }


def _cost(rows: list[dict[str, Any]], trials: list[str]) -> float:
    """FLOPs of a ladder of both sizes with trials at the first, over those with one rate; a mean."""
    ladders: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in rows:
        if "formula" in row["flops"]:
            ladders.setdefault((row["model"], row["method"]), []).append(row["flops"])
    ratios = [
        (sum(first[name] for name in trials) + second[trials[0]]) / (first["formula"] + second["formula"])
        for first, second in ladders.values()
    ]
    return float(np.mean(ratios))
