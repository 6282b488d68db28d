"""Our PL_alpha and LogME against the packages that others use, on one shipped model.

    pip install --no-deps --target OTHERS weightwatcher transformer-ranker powerlaw matplotlib mpmath contourpy cycler \
        kiwisolver pyparsing python-dateutil six pillow fonttools scikit-learn joblib threadpoolctl
    python -m evidence other-packages OTHERS
"""

from __future__ import annotations

import json
import logging
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from evidence.results import write_numbers
from lensllm.candidates import Candidate, find_candidate
from lensllm.candidates.load import load_model
from lensllm.probes.log_me import log_me, prompt_features
from lensllm.probes.weight_spectrum import weight_spectrum
from lensllm.tasks import read_task
from lensllm.tasks.encoded import collate
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODEL, TASK, EXAMPLES = "t5-0.9m-mix-5m", "sentiment", 400


def weight_watcher(model: PreTrainedModel) -> dict[str, float]:
    """PL_alpha of every linear layer, ours and WeightWatcher's."""
    ours = weight_spectrum(model)
    watcher = import_module("weightwatcher").WeightWatcher(model=model)
    logging.getLogger("weightwatcher").setLevel(logging.ERROR)
    theirs = watcher.analyze(min_evals=20).set_index("longname").loc[list(ours.layers), "alpha"].to_numpy()
    return {
        "layers": len(theirs),
        "pl_alpha": float(ours.pl_alpha.mean()),
        "weight_watcher": float(theirs.mean()),
        "largest_relative_difference_of_a_layer": float(abs(ours.pl_alpha / theirs - 1).max()),
    }


def transformer_ranker(model: PreTrainedModel, candidate: Candidate, others: Path) -> dict[str, float]:
    """LogME of the same features, ours and TransformerRanker's."""
    examples = EncodedTask(candidate, read_task(TASK), TrainingConfig()).split("train")[:EXAMPLES]
    features, labels = prompt_features(model, [collate(examples)])
    package = types.ModuleType("transformer_ranker_estimators")  # its own __init__ imports half an ecosystem
    package.__path__ = [f"{others}/transformer_ranker/estimators"]
    sys.modules[package.__name__] = package
    ranker = import_module(f"{package.__name__}.logme").LogME()
    score = ranker.fit(torch.tensor(features), torch.tensor(labels))
    return {"log_me": float(log_me(features, labels)), "transformer_ranker": float(score)}


def run(others: Path, json_file: Path = RESULT) -> dict[str, Any]:
    """Both comparisons.

    Args:
        others: the folder that the packages were installed into.
        json_file: where the numbers go.
    """
    sys.path.append(str(others))
    candidate = find_candidate(MODEL)
    model = load_model(candidate)
    result = {"command": "python -m evidence other-packages OTHERS", "model": MODEL, "pl_alpha": weight_watcher(model)}
    result["log_me"] = transformer_ranker(model, candidate, others)
    print(json.dumps(result, indent=1))
    return write_numbers(result, json_file)
