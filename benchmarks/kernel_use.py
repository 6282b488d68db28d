"""What the kernel knows before any training: ranks of candidates by probe against losses measured by fine-tuning.

    python benchmarks/kernel_use.py define CURVES.csv

CURVES.csv holds the measured losses of shipped models on the task, tidy (candidate, examples, loss in nats a byte).
Probes see the first 64 training examples of the task, at most 8 completion tokens of each, and nothing else. Spearman
and Pearson correlations over the candidates, for each number of examples measured, go to
benchmarks/results/kernel_use.json, beside every candidate's values and the processor seconds of its probes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.curves import Curves
from lensllm.probes.kernel import kernel
from lensllm.probes.kernel_curve import kernel_curve
from lensllm.probes.spectrum import spectrum
from lensllm.probes.weight_spectrum import weight_spectrum
from lensllm.tasks import read_task
from lensllm.tasks.encode import collate
from lensllm.tuning.fine_tune import Bench
from lensllm.tuning.protocol import Protocol

RESULT = Path(__file__).parent / "results" / "kernel_use.json"
PROBES, TOKENS, PROJECTION = 64, 8, 24
SIZES, HELD_OUT, SCORED, SUBSETS = (8, 16, 32), 16, 16, 2


def probe(name: str, task: str) -> dict[str, float]:
    """All probes of one candidate; losses in nats a byte."""
    candidate = find_candidate(name)
    examples = Bench(candidate, read_task(task), Protocol()).split("train")[:PROBES]
    model = load_model(candidate)
    start = time.process_time()
    measured = kernel(model, [collate(examples)], tokens=TOKENS, projection=PROJECTION)
    middle = time.process_time()
    n_bytes = [example.n_bytes for example in examples]
    options = {"held_out": HELD_OUT, "scored": SCORED, "subsets": SUBSETS, "n_bytes": n_bytes}
    curve = kernel_curve(measured, SIZES, **options)
    end = time.process_time()
    found = spectrum(measured)
    weights = weight_spectrum(model)
    return {
        "zero-shot on the probes": float(curve.losses_per_byte[0]),
        **{f"kernel curve, d = {d}": float(v) for d, v in zip(SIZES, curve.losses_per_byte[1:], strict=True)},
        "F(t = 10) / F(0)": float(found.loss(10.0) / found.loss(0.0)),
        "effective rank": found.effective_rank,
        "decay exponent": found.decay,
        "alignment": found.alignment,
        "trace": found.trace,
        "PL_alpha": float(weights.pl_alpha.mean()),
        "E_TPL_lambda": float(weights.e_tpl_lambda.mean()),
        "model size": -float(sum(p.numel() for p in model.parameters())),
        "rows": len(measured.gram),
        "standard error of the kernel": measured.standard_error,
        "seconds, kernel": middle - start,
        "seconds, kernel curve": end - middle,
    }


def main(task: str, curves_file: str) -> None:
    torch.set_num_threads(1)
    curves = Curves.read_csv(curves_file)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    probes = known.get(task, {}).get("probes", {})
    for name in curves.candidates:
        if name not in probes:
            probes[name] = probe(name, task)
            print(name, json.dumps(probes[name]), flush=True)
            known[task] = {"probes": probes}
            RESULT.write_text(json.dumps(known, indent=1) + "\n")
    names = [name for name in next(iter(probes.values())) if not name.startswith(("rows", "standard", "seconds"))]
    values = {name: np.array([probes[c][name] for c in curves.candidates]) for name in names}
    values |= {f"measured at D = {d:g}": curves.at(d) for d in (50, 100, 200) if d in curves.sizes}
    table = {}
    for name, value in values.items():
        table[name] = {}
        for size in curves.sizes[curves.sizes > 0]:
            true = curves.at(size)
            both = np.isfinite(true) & np.isfinite(value)
            if both.sum() > 4:
                table[name][f"{size:g}"] = {
                    "spearman": float(spearmanr(value[both], true[both])[0]),
                    "pearson": float(pearsonr(value[both], true[both])[0]),
                    "candidates": int(both.sum()),
                }
    known[task] |= {"correlations": table}
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:28}", "  ".join(f"{d}: {v['spearman']:5.2f} / {v['pearson']:5.2f}" for d, v in row.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
