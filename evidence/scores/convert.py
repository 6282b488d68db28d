"""The public score curves: one small table a source from the results gathered from its repository."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lensllm.arrays import Floats

CURVES = Path(__file__).with_name("curves")
COLUMNS = ["task", "candidate", "seed", "examples", "score", "standard_error"]
PSEUDO = 2
"""As in `lensllm.scores.base.mean_of`."""
PET_TESTS = {"boolq": 3270, "cb": 56, "copa": 100, "mnli": 9815, "rte": 277, "wic": 638, "wsc": 104}
"""Examples of the official validation sets that accuracies were taken on (GLUE, SuperGLUE); `cb` has macro F1."""
SETFIT_SIZES = 6
"""Of a complete ladder: 2, 4, 8, ..., 64 examples a class."""
PEFT_TEST = 50


OWN_SCORES = {"sentiment": "accuracy", "name": "chrf"}


def main(source: str, *selections: str) -> None:
    """Write all tables from a folder with setfit.csv, pet.csv, proxylm_nusa.csv and peft.csv (curves/README.md).

    Args:
        source: the folder.
        selections: output folders of `lensllm select --score`, for our own.
    """
    CURVES.mkdir(exist_ok=True)
    made = {"setfit": setfit, "pet": pet, "proxylm_nusa": nusa, "peft": peft}
    for name, convert in made.items():
        table = convert(pd.read_csv(Path(source) / f"{name}.csv"))
        table = table.sort_values(COLUMNS[:4]).round(5)
        table.to_csv(CURVES / f"{name}.csv", index=False)
    if selections:
        pd.concat([own(Path(folder)) for folder in selections]).round(5).to_csv(CURVES / "own.csv", index=False)


def setfit(rows: pd.DataFrame) -> pd.DataFrame:
    """Few-shot accuracies and MCC as parts of 1, of candidates with a complete ladder; sizes count all classes."""
    rows = rows[(rows["set"] == "fewshot") & rows["examples_per_class"].notna() & (rows["full"] == 0)].copy()
    sizes = rows.groupby(["task", "candidate"])["examples_per_class"].transform("nunique")
    rows = rows[sizes == SETFIT_SIZES]
    rows["examples"] = (rows["examples_per_class"] * rows["n_classes"]).astype(int)
    rows["score"] = rows["score"] / 100
    tests = np.where(rows["metric"] == "accuracy", rows["test_size"], np.nan)
    rows["standard_error"] = of_share(rows["score"].to_numpy(float), tests)
    return rows[COLUMNS]


def pet(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracies and F1 of all methods and seeds."""
    tests = np.where(rows["metric"] == "acc", rows["task"].map(PET_TESTS), np.nan)
    rows["standard_error"] = of_share(rows["score"].to_numpy(float), tests)
    return rows[COLUMNS]


def nusa(rows: pd.DataFrame) -> pd.DataFrame:
    """chrF++ over 100; models as they came have 0 examples."""
    rows = rows.rename(columns={"size": "examples"})
    rows["score"], rows["standard_error"] = rows["chrF++"] / 100, rows["chrF++_se"] / 100
    return rows.assign(seed=0)[COLUMNS]


def peft(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on 50 examples and training loss at each checkpoint."""
    rows = rows.rename(columns={"valid_accuracy": "score", "train_loss": "loss"})
    rows["standard_error"] = of_share(rows["score"].to_numpy(float), np.full(len(rows), PEFT_TEST))
    return rows.assign(seed=0)[[*COLUMNS, "loss"]]


def own(folder: Path) -> pd.DataFrame:
    """The score of a selection's task at every rung, and the loss."""
    task = json.loads((folder / "selection.json").read_text())["task"]
    scores = pd.read_csv(folder / "scores.csv").rename(columns={"value": "score", "score": "name"})
    scores = scores[(scores["task"] == "test") & (scores["name"] == OWN_SCORES[task])].assign(task=task, seed=0)
    losses = pd.read_csv(folder / "curves.csv")[["candidate", "examples", "loss"]]
    return scores.merge(losses, on=["candidate", "examples"])[[*COLUMNS, "loss"]].sort_values(COLUMNS[:4])


def of_share(share: Floats, tests: Floats) -> Floats:
    """Standard errors of shares of `tests` examples (Agresti and Coull 1998); NaN where that number is."""
    n = tests + 2 * PSEUDO
    part = (share * tests + PSEUDO) / n
    return np.asarray(np.sqrt(np.maximum(part * (1 - part), 0) / n))


if __name__ == "__main__":
    main(*sys.argv[1:])
