"""Time and peak memory of the kernel against plain per-row gradients, and what random projections change.

    python -m evidence kernel [PARTS ...]

Every way runs in a forked process of one thread on the same examples of the shipped task `define`; seconds are
processor time of the best turn, memory is the peak above what the loaded model took. Plain ways: (i) one backward pass
a row, gradients stored, one matrix product; (ii) torch.func.vmap(grad) over batches of rows, stored, one product.
Numbers go to evidence/kernel/kernel.json; parts that are not named keep theirs.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from evidence.results import write_numbers
from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.probes.kernel import _rows, kernel
from lensllm.probes.kernel_curve import kernel_curve
from lensllm.probes.rows import read_examples
from lensllm.tasks import read_task
from lensllm.tasks.encoded import collate
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODEL, LLAMA, T5 = "gpt2-0.9m-glosses-1.5m", "llama-0.9m-mix-5m", "t5-0.9m-mix-5m"
TASK, EXAMPLES, TOKENS, PROJECTION = "define", 100, 9, 24
TURNS = 1


def data(model: str, examples: int) -> list[dict[str, torch.Tensor]]:
    """The first training examples, tokenised for a shipped model."""
    encoded = EncodedTask(find_candidate(model), read_task(TASK), TrainingConfig())
    return [collate(encoded.split("train")[:examples])]


def random_data(examples: int, length: int) -> list[dict[str, torch.Tensor]]:
    """Random tokens without padding; the second half of each example is its completion."""
    ids = torch.randint(1, 2048, (examples, length), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(length) < length // 2, -100, ids)
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}]


def random_model(layers: int, hidden: int) -> PreTrainedModel:
    """A GPT-2-like model with random weights."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=2048, n_layer=layers, n_embd=hidden, n_head=hidden // 32, n_positions=128, **ends)
    ).eval()


def plain_rows(model: PreTrainedModel, batches: list[dict], index: np.ndarray, output: str) -> list[tuple]:
    """(inputs without padding, position of the logits, targets) of every row."""
    batch, rows = batches[0], []
    for example, position, _ in index:
        mask = batch["attention_mask"][example].bool()
        ids, labels = batch["input_ids"][example][mask], batch["labels"][example]
        if output == "scalar":
            labels = labels[mask]
            rows.append((ids, (labels[1:] != -100).nonzero()[:, 0], labels[1:][labels[1:] != -100]))
        else:
            rows.append((ids[:position], torch.tensor([position - 1]), None))
    return rows


def value(logits: torch.Tensor, targets: torch.Tensor | None, direction: torch.Tensor) -> torch.Tensor:
    """The output of one row whose gradient is taken."""
    if targets is None:
        return (logits @ direction).sum()
    return torch.log_softmax(logits, -1).gather(1, targets[:, None]).mean()


def stored(model: PreTrainedModel, rows: list[tuple], direction: torch.Tensor) -> np.ndarray:
    """The kernel by one backward pass a row, gradients stored."""
    parameters = list(model.parameters())
    gradients = torch.empty(len(rows), sum(p.numel() for p in parameters))
    for row, (ids, places, targets) in enumerate(rows):
        logits = model(input_ids=ids[None], logits_to_keep=places).logits[0]
        found = torch.autograd.grad(value(logits, targets, direction), parameters)
        torch.cat([g.flatten() for g in found], out=gradients[row])
    return (gradients @ gradients.T).numpy()


def vmapped(model: PreTrainedModel, rows: list[tuple], direction: torch.Tensor, batch: int = 32) -> np.ndarray:
    """The kernel by `torch.func.vmap(grad)` over batches of rows, gradients stored."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    gradients = torch.empty(len(rows), sum(p.numel() for p in parameters.values()))
    model.config.pad_token_id = None  # a check for padding that vmap cannot trace
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))

    def scalar(parameters: dict, ids: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(model, (parameters, {}), (), {"input_ids": ids[None]}).logits[0]
        if rows[0][2] is None:
            return weight @ (logits @ direction)
        return weight @ torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]

    for start in range(0, len(rows), batch):
        chunk = order[start : start + batch]
        longest = len(rows[chunk[-1]][0])
        ids, targets = torch.zeros(len(chunk), longest, dtype=torch.long), torch.zeros(len(chunk), longest).long()
        weights = torch.zeros(len(chunk), longest)
        for place, row in enumerate(chunk):
            ids[place, : len(rows[row][0])] = rows[row][0]
            weights[place, rows[row][1]] = 1 / len(rows[row][1])
            if rows[row][2] is not None:
                targets[place, rows[row][1]] = rows[row][2]
        found = torch.func.vmap(torch.func.grad(scalar), in_dims=(None, 0, 0, 0))(parameters, ids, weights, targets)
        gradients[chunk] = torch.cat([g.flatten(1) for g in found.values()], 1)
    return (gradients @ gradients.T).numpy()


def peak() -> int:
    """The most memory that this process has had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """The memory that this process has now, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def gemm_rate() -> float:
    """Floating-point operations a second of one large single-precision product."""
    a = torch.randn(1024, 8192)
    return max(2 * 1024**2 * 8192 / seconds(lambda: a @ a.T) for _ in range(5))


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def one(job: dict) -> dict:
    """Run one way and tell its seconds and bytes; the Gram goes to a file for comparison."""
    torch.set_num_threads(1)
    tokens = job.get("tokens", TOKENS)
    examples = job["examples"]
    batches = random_data(examples, job["length"]) if "length" in job else data(MODEL, examples)
    model = random_model(*job["shape"]) if "shape" in job else load_model(find_candidate(job["model"]))
    model.set_attn_implementation("eager" if job["way"] == "vmap(grad)" else "sdpa")
    options = {"output": job["output"], "tokens": tokens, "projection": job.get("projection")}
    result: dict = {}
    if job["way"] == "ours":
        base, start = resident(), time.process_time()
        measured = kernel(model, batches, **options)
        result = {"seconds": time.process_time() - start, "bytes": peak() - base, "rows": len(measured.gram)}
        gram = measured.gram
        if job.get("flops"):
            with FlopCounterMode(display=False) as counter:
                kernel(model, batches, **options)
            result |= {"flops": counter.get_total_flops(), "gemm_rate": gemm_rate()}
    else:
        random = np.random.default_rng(0)
        index = _rows(read_examples(model, batches), job["output"] == "scalar", tokens, random)[1]
        vocabulary = model.config.vocab_size
        signs = random.integers(0, 2, (1, vocabulary)) * 2 - 1
        rows = plain_rows(model, batches, index, job["output"])
        direction = torch.tensor((signs[0] - signs[0].mean()) / vocabulary**0.5, dtype=torch.float32)
        base, start = resident(), time.process_time()
        gram = (vmapped if job["way"] == "vmap(grad)" else stored)(model, rows, direction)
        result = {"seconds": time.process_time() - start, "bytes": peak() - base, "rows": len(gram)}
    np.save(job["gram"], gram)
    return result | {"parameters": sum(p.numel() for p in model.parameters())}


def best_of(turns: int = TURNS, **job: Any) -> tuple[dict, np.ndarray]:
    """The best of several turns, each in a process of its own."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "gram.npy")
        for _ in range(turns):
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
                results.append(pool.submit(one, {**job, "gram": path}).result())
        gram = np.load(path)
    best = min(results, key=lambda r: r["seconds"])
    return best | {"bytes": min(r["bytes"] for r in results)}, gram


WAYS: dict[str, dict] = {
    "one backward a row": {"way": "stored"},
    "vmap(grad)": {"way": "vmap(grad)"},
    "exact": {"way": "ours", "flops": True},
    f"projected to {PROJECTION}": {"way": "ours", "projection": PROJECTION},
}


def speed(ways: Iterable[str] = WAYS, **job: Any) -> dict:
    """Our ways and the plain ways, and ratios of the plain to ours."""
    table, grams = {}, {}
    for name in ways:
        table[name], grams[name] = best_of(**job, **WAYS[name])
        print(name, json.dumps(job | table[name]), flush=True)
    first, truth = table["one backward a row"], grams["one backward a row"]
    for name, row in table.items():
        row["times faster than one backward a row"] = first["seconds"] / row["seconds"]
        row["part of its memory"] = row["bytes"] / first["bytes"]
        norms = np.sqrt(np.diag(truth))
        row["largest error"] = float((np.abs(grams[name] - truth) / np.outer(norms, norms)).max())
    exact = table["exact"]
    exact["times its own arithmetic"] = exact["seconds"] * exact["gemm_rate"] / exact["flops"]
    return table


def wider() -> list[dict]:
    """The scalar kernel of wider models (random weights): 32 short examples, and 32 of 128 random tokens."""
    found = []
    for shape in ((4, 256), (6, 384), (6, 512)):
        for length in ({}, {"length": 128}):
            job = {"shape": shape, "examples": 32, "output": "scalar", **length}
            found.append(job | {"ways": speed(("one backward a row", "exact"), **job)})
    return found


def growth() -> list[dict]:
    """Exact and projected token kernels against the number of rows and of parameters (random weights)."""
    found: list[dict] = []
    job: dict[str, Any]
    for examples in (25, 50, 100, 200):
        for projection in (None, PROJECTION):
            job = {"model": MODEL, "examples": examples, "output": "token", "projection": projection}
            found.append(best_of(1, way="ours", **job)[0] | {"projection": projection})
    for layers, hidden in ((4, 256), (6, 512), (12, 832)):
        for projection in (None, PROJECTION):
            job = {"shape": (layers, hidden), "examples": 16, "output": "token", "projection": projection}
            found.append(best_of(1, way="ours", **job)[0] | {"projection": projection})
            print(json.dumps(found[-1]), flush=True)
    return found


def profile() -> dict[str, dict[str, float]]:
    """Parts of the processor time of the exact kernel by torch operation, the eight largest."""
    found = {}
    torch.set_num_threads(1)
    batches, model = data(MODEL, EXAMPLES), load_model(find_candidate(MODEL))
    for output in ("token", "scalar"):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
            kernel(model, batches, output, tokens=TOKENS)
        spent = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
        largest = sorted(spent, key=lambda name: -spent[name])[:8]
        found[output] = {name: spent[name] / sum(spent.values()) for name in largest}
        print(output, json.dumps(found[output]), flush=True)
    return found


def curve_change() -> list[dict]:
    """Largest change of the kernel curve at 8, 16 and 32 examples, relative to the exact one of the same vector."""
    found = []
    torch.set_num_threads(1)
    for name in (MODEL, LLAMA, T5):
        model, batches = load_model(find_candidate(name)), data(name, 64)

        exact = kernel_curve(kernel(model, batches, tokens=8), [8, 16, 32], subsets=2).losses
        for projection in (8, 16, 24, 48):
            measured = kernel(model, batches, tokens=8, projection=projection)
            losses = kernel_curve(measured, [8, 16, 32], subsets=2).losses
            found.append(
                {
                    "model": name,
                    "projection": projection,
                    "standard error of the kernel": measured.standard_error,
                    "largest change of the kernel curve": float(np.abs(losses / exact - 1).max()),
                }
            )
            print(json.dumps(found[-1]), flush=True)
    return found


def first_rung() -> list[dict]:
    """Processor time of one candidate's probe and of its first rung, both from the loaded model on."""
    found = []
    torch.set_num_threads(1)
    for name in (MODEL, T5, "gpt2-2.6m-mix-5m"):
        model, batches = load_model(find_candidate(name)), data(name, 64)
        encoded = EncodedTask(find_candidate(name), read_task(TASK), TrainingConfig())
        encoded.split("train"), encoded.split("test"), encoded.split("validation")
        row = {"model": name, "first rung": seconds(partial(fine_tune, encoded, 50))}
        for projection in (None, PROJECTION):
            start = time.process_time()
            measured = kernel(model, batches, tokens=8, projection=projection)
            middle = time.process_time()
            kernel_curve(measured)
            row[f"kernel, projection {projection}"] = middle - start
            row["kernel curve"] = time.process_time() - middle
        found.append(row)
        print(json.dumps(row), flush=True)
    return found


PARTS: dict[str, Callable[[], Any]] = {
    "scalar": partial(speed, model=MODEL, examples=EXAMPLES, output="scalar"),
    "token": partial(speed, model=MODEL, examples=EXAMPLES, output="token"),
    "wider": wider,
    "growth": growth,
    "profile": profile,
    "curve_change": curve_change,
    "first_rung": first_rung,
}


def run(parts: Sequence[str] = (), json_file: Path = RESULT) -> dict[str, Any]:
    """Measure some parts, all if none is named.

    Raises:
        InputError: if there is no such part.
    """
    if unknown := [name for name in parts if name not in PARTS]:
        raise InputError(f"no part {unknown[0]!r}: choose among {', '.join(PARTS)}")
    known = json.loads(json_file.read_text()) if json_file.exists() else {}
    for name in parts or PARTS:
        known[name] = PARTS[name]()
        write_numbers(known, json_file)
    return known
