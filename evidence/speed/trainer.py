"""Tokens a second of a fine-tuning run against a plain `transformers.Trainer` run of the same job.

    python -m evidence trainer

Each model is fine-tuned for one epoch on the same 800 examples of two tasks, the two trainers in turn, one thread, 3
times; then two jobs are run as two processes of one thread and one after the other with two threads. Medians and ratios
go to evidence/speed/trainer.json. Tokens are those of the examples, without padding.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ.get("THREADS", "1")

import torch
import transformers
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from evidence.results import write_numbers
from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model, load_tokenizer
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.trainer import CompletionTrainer
from lensllm.tuning.training_config import TrainingConfig

MODELS = ["gpt2-0.2m-mix-5m", "llama-0.9m-mix-5m", "t5-0.9m-mix-5m", "gpt2-2.6m-mix-5m"]
TASKS = ["define", "name"]
EXAMPLES = 800
PROTOCOL = TrainingConfig(num_train_epochs=1)
RESULT = Path(__file__).with_suffix(".json")


def plain(encoded: EncodedTask) -> Trainer:
    """Trainer as its documentation shows it: examples of ids and labels, padded by its own collator."""
    rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in encoded.split("train")[:EXAMPLES]]
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=PROTOCOL.per_device_train_batch_size,
        learning_rate=1e-3,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    model = load_model(encoded.candidate)
    collator = DataCollatorForSeq2Seq(load_tokenizer(encoded.candidate), model=model)
    return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)


def ours(encoded: EncodedTask) -> Trainer:
    """The trainer that every run of the package uses, for the same job."""
    model = load_model(encoded.candidate)
    return CompletionTrainer(model, encoded.split("train")[:EXAMPLES], PROTOCOL, 1e-3, encoded.meter(model), 8)


def seconds(trainer: Trainer) -> float:
    """Seconds of training on the clock."""
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def compare(model: str, task: str) -> dict[str, float | str]:
    """Tokens a second of both trainers, medians of three turns."""
    encoded = EncodedTask(find_candidate(model), read_task(task), PROTOCOL)
    tokens = sum(
        len(e.input_ids) + (len(e.labels) if encoded.candidate.encoder_decoder else 0)
        for e in encoded.split("train")[:EXAMPLES]
    )
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(3):
        times["plain"].append(seconds(plain(encoded)))
        times["ours"].append(seconds(ours(encoded)))
    middle = {name: statistics.median(values) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
    return {
        "model": model,
        "task": task,
        "tokens_per_second": tokens / middle["ours"],
        "plain_tokens_per_second": tokens / middle["plain"],
        "ratio": statistics.median(ratios),
    }


def processes_against_threads(model: str) -> float:
    """Time of two runs one after the other on two threads over that of two processes of one thread."""
    command = [sys.executable, "-m", "evidence.speed.trainer", model]
    started = time.perf_counter()
    together = [subprocess.Popen(command, env={**os.environ, "THREADS": "1"}) for _ in range(2)]
    for process in together:
        process.wait()
    apart = time.perf_counter()
    for _ in range(2):
        subprocess.run(command, env={**os.environ, "THREADS": "2"}, check=True)
    return (time.perf_counter() - apart) / (apart - started)


def quiet() -> None:
    """No progress, and as many threads as the environment says."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def one_job(model: str) -> None:
    """What one process does: three runs of our trainer."""
    quiet()
    encoded = EncodedTask(find_candidate(model), read_task("define"), PROTOCOL)
    for _ in range(3):
        seconds(ours(encoded))


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Compare the trainers, then processes with threads."""
    quiet()
    rows = [compare(model, task) for model in MODELS for task in TASKS]
    for row in rows:
        print(f"{row['model']:22} {row['task']:8} {row['tokens_per_second']:8.0f} tokens/s, {row['ratio']:.2f} x plain")
    result = {
        "command": "python -m evidence trainer",
        "runs": rows,
        "median_ratio": statistics.median(float(row["ratio"]) for row in rows),
        "two_processes_over_two_threads": {model: processes_against_threads(model) for model in (MODELS[0], MODELS[1])},
    }
    print({name: value for name, value in result.items() if name != "runs"})
    return write_numbers(result, json_file)


if __name__ == "__main__":
    one_job(sys.argv[1])
