"""Our PL_alpha and LogME against the packages that others use, on one shipped model.

    pip install --no-deps --target OTHERS weightwatcher transformer-ranker powerlaw matplotlib mpmath contourpy cycler \
        kiwisolver pyparsing python-dateutil six pillow fonttools scikit-learn joblib threadpoolctl
    python benchmarks/baseline_probes.py OTHERS
"""

from __future__ import annotations

import logging
import sys
import types
from importlib import import_module

import torch

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.probes.log_me import log_me, prompt_features
from lensllm.probes.weight_spectrum import weight_spectrum
from lensllm.tasks import read_task
from lensllm.tasks.encode import collate
from lensllm.tuning.fine_tune import EncodedTask
from lensllm.tuning.training_config import TrainingConfig

MODEL, TASK, EXAMPLES = "t5-0.9m-mix-5m", "sentiment", 400


def main(others: str) -> None:
    sys.path.append(others)
    candidate = find_candidate(MODEL)
    model = load_model(candidate)

    ours = weight_spectrum(model)
    watcher = import_module("weightwatcher").WeightWatcher(model=model)
    logging.getLogger("weightwatcher").setLevel(logging.ERROR)
    theirs = watcher.analyze(min_evals=20).set_index("longname").loc[list(ours.layers), "alpha"].to_numpy()
    difference = abs(ours.pl_alpha / theirs - 1).max()
    print(f"PL_alpha, {len(theirs)} layers: {ours.pl_alpha.mean():.10f}, WeightWatcher {theirs.mean():.10f}")
    print(f"largest relative difference of a layer: {difference:.1e}")

    examples = EncodedTask(candidate, read_task(TASK), TrainingConfig()).split("train")[:EXAMPLES]
    features, labels = prompt_features(model, [collate(examples)])
    package = types.ModuleType("transformer_ranker_estimators")  # its own __init__ imports half an ecosystem
    package.__path__ = [f"{others}/transformer_ranker/estimators"]
    sys.modules[package.__name__] = package
    ranker = import_module(f"{package.__name__}.logme").LogME()
    score = ranker.fit(torch.tensor(features), torch.tensor(labels))
    print(f"LogME: {log_me(features, labels):.8f}, TransformerRanker {score:.8f}")


if __name__ == "__main__":
    main(sys.argv[1])
