import json

import numpy as np
import pandas as pd
import pytest

from evidence.second_study.config import SecondStudy
from evidence.second_study.curves import measured
from evidence.second_study.page import run, text
from evidence.second_study.table import COLUMNS
from lensllm.errors import InputError

SIZES = (0, 50, 100, 200, 400, 800, 1600)
WAYS = (("full", "full", 0), ("lora", "lora r4", 4), ("lora", "lora r32", 32))
LOSSES = {
    "a full": [3, 2.0, 1.6, 1.3, 1.1, 0.9, 0.7],
    "a lora r4": [3, 1.5, 1.4, 1.3, 1.2, 1.1, 1.05],
    "a lora r32": [3, 1.8, 1.5, 1.25, 1.05, 0.95, 0.8],
    "b full": [2, 1.9, 1.7, 1.5, 1.3, 1.1, 0.95],
    "b lora r4": [2, 1.4, 1.35, 1.3, 1.25, 1.2, 1.2],
    "b lora r32": [2, 1.45, 1.3, 1.2, 1.1, 1.0, 0.9],
}
SCORES = {"a full": 0.6, "a lora r4": 0.3, "a lora r32": 0.9, "b full": 0.5, "b lora r4": 0.2, "b lora r32": 0.5}


def row(model, method, way, rank, examples, loss):
    score = {"value": SCORES[f"{model} {way}"] * (examples > 0), "standard_error": 0.03, "examples": 271}
    trials = [{"learning_rate": rate, "validation": loss * (1 + rate)} for rate in (0.1, 0.3, 1.0)]
    told = {"task": "sums", "candidate": f"{model} {way}", "model": model, "method": method, "lora_r": rank}
    numbers = {"examples": examples, "seed": 0, "status": "done", "nats_per_byte": loss, "standard_error": 0.01}
    numbers |= {"flops": (examples + 100.0) * (2 if model == "b" else 1), "parameters": 2 if model == "b" else 1}
    texts = {"scores": json.dumps({"accuracy": score}), "trials": json.dumps(trials if examples == 50 else [])}
    return {**dict.fromkeys(COLUMNS, 0.0), **told, **numbers, **texts, "error": "", "key": f"{model}{way}{examples}"}


@pytest.fixture
def study(tmp_path):
    settings = {
        "design_tasks": {"sums": ["accuracy"]},
        "report_tasks": {"other": []},
        "models": ["a", "b"],
        "methods": [{"method": "full"}, {"method": "lora", "lora_r": 4}, {"method": "lora", "lora_r": 32}],
        "small_sizes": [50, 100, 200, 400],
        "large_sizes": [800, 1600],
        "output_dir": "out",
        "table": str(tmp_path / "runs.csv"),
    }
    rows = [
        row(model, method, way, rank, size, loss)
        for model in "ab"
        for method, way, rank in WAYS
        for size, loss in zip(SIZES, LOSSES[f"{model} {way}"], strict=True)
    ]
    pd.DataFrame(rows)[COLUMNS].to_csv(settings["table"], index=False)
    return SecondStudy(**settings)


def test_what_a_small_table_shows(study, tmp_path):
    found = run(study, report=False, json_file=tmp_path / "found.json", docs=None)
    task = found["tasks"]["sums"]
    early = task["best_early"]
    assert (early["examples"], early["chosen"], early["best"]) == (100, "b lora r32", "a full")
    assert early["regret"] == pytest.approx(100 * (0.9 / 0.7 - 1))
    crossings = {one["candidate"]: one for one in task["crossings"]}
    assert {name: one["at"] for name, one in crossings.items()} == {
        "a lora r4": 400,
        "a lora r32": 800,
        "b lora r4": 800,
        "b lora r32": None,
    }
    assert {name: one["crosses_later"] for name, one in crossings.items()} == {
        "a lora r4": False,
        "a lora r32": True,
        "b lora r4": True,
        "b lora r32": False,
    }
    rules = task["rules"]
    assert rules["largest model, full"]["regret"] == pytest.approx(100 * (0.95 / 0.7 - 1))
    assert rules["best as it came, lora r32"]["chosen"] == "b lora r32"
    assert rules["the best model (known), full"]["regret"] == 0
    assert rules["select at 0.1 of the compute"]["cost"] <= 0.1
    score = task["scores"]["accuracy"]
    assert (score["best_by_loss"], score["best_by_score"]) == ("a full", "a lora r32")
    assert score["gap_in_standard_errors"] == pytest.approx(0.3 / np.hypot(0.03, 0.03))
    rates = found["learning_rates"]["lora r4"]
    assert (rates["won_lowest"], rates["retrained"]) == (1, 0)
    assert rates["median_regret_of_highest"] == pytest.approx(100 * (2 / 1.1 - 1))
    assert "| sums | 100 | b lora r32 | a full | 28.57 % |" in text(found)


def test_only_complete_tasks_are_shown_and_a_failed_candidate_is_left_out(study):
    with pytest.raises(InputError, match="holds none of the tasks other complete"):
        measured(study, report=True)
    table = pd.read_csv(study.table)
    table.loc[(table["candidate"] == "a full") & (table["examples"] == 800), "status"] = "diverged"
    table.to_csv(study.table, index=False)
    [task] = measured(study)
    assert len(task.curves.candidates) == 5
    table[table["examples"] < 800].to_csv(study.table, index=False)
    with pytest.raises(InputError, match="go on with the study"):
        measured(study)
    table[(table["examples"] < 1600) | (table["candidate"] != "b full")].to_csv(study.table, index=False)
    with pytest.raises(InputError, match="go on with the study"):
        measured(study)
