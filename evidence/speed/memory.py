"""Peak memory as `lensllm check` foretells it against what a run takes, each in a process of its own.

    python -m evidence memory

SmolLM2-135M (`lensllm zoo fetch smollm2-135m`) and two models with random weights, of the shapes of SmolLM2-360M and
Qwen2.5-0.5B (a vocabulary of 151,936), both with SmolLM2's tokenizer, are tuned in full, by LoRA and by QLoRA for two
steps of two texts of one length and measured on two. What is measured is the most that the process ever held
(`VmHWM`); what is foretold is the most that tensors hold, or tensors and mapped files while these are read, what the
process has with its libraries alone, and `FIRST_USE`. Results go to evidence/speed/memory.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence.results import write_numbers
from lensllm.errors import InputError
from lensllm.tuning.device_memory import FIRST_USE

os.environ.setdefault("HF_HUB_OFFLINE", "1")

RESULT = Path(__file__).with_suffix(".json")
SMALL = "smollm2-135m"
SHAPES: dict[str, dict[str, Any]] = {
    "llama 362 M": {
        "model_type": "llama",
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "vocab_size": 49152,
    },
    "qwen2 494 M": {
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
}
LENGTHS = (64, 256)
LEARNED = 40
SETTINGS = (("full", "float32"), ("lora", "bfloat16"), ("qlora", "bfloat16"))
ROWS, STEPS = 2, 2


def random_model(name: str, folder: Path) -> Path:
    """A folder with a model of this shape with random weights in bfloat16, and SmolLM2's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from lensllm.zoo import model_path

    shape = {"tie_word_embeddings": True, "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2}
    config = CONFIG_MAPPING[SHAPES[name]["model_type"]](**shape, **SHAPES[name])
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path(SMALL)).save_pretrained(folder)
    return folder


def one(model: str, method: str, dtype: Any, length: int) -> dict[str, float]:
    """What is foretold of a run, and what it takes, in this process."""
    import psutil
    import torch

    from lensllm.candidates import Lora, cross, find_candidate
    from lensllm.config import SelectConfig
    from lensllm.tasks import Example, Task
    from lensllm.tuning.batch_shapes import BatchShapes
    from lensllm.tuning.context import Context
    from lensllm.tuning.fine_tune import FineTune
    from lensllm.tuning.memory_plan import plan_memory
    from lensllm.tuning.rehearsal import Rehearsal
    from lensllm.tuning.training_config import TrainingConfig

    torch.set_num_threads(1)
    options = SelectConfig.of(task="none", models=[model], methods=[method])
    [(_, how)] = options.asked()
    [candidate] = cross([(find_candidate(model), how)], Lora()).candidates
    texts = [Example(" the" * (length - LEARNED - 2), " the" * LEARNED) for _ in range(ROWS * STEPS)]
    task = Task("the", tuple(texts), tuple(texts[:ROWS]), tuple(texts[:ROWS]))
    config = TrainingConfig(
        num_train_epochs=1, per_device_train_batch_size=ROWS, learning_rate_trials=(1.0,), dtype=dtype, chat="off"
    )
    job = FineTune(candidate, task, config, ROWS * STEPS)
    process = psutil.Process().memory_info().rss
    if os.environ.get("FORETELL"):
        plan = plan_memory(Rehearsal(candidate, config), BatchShapes(candidate, task, config), float("inf"))
        return {
            "process": process,
            "tensors": max(plan.peak, plan.loading),
            "training": plan.training,
            "evaluation": plan.evaluation,
            "loading": plan.loading,
        }
    import transformers.trainer  # noqa: F401

    libraries = psutil.Process().memory_info().rss
    run = job.run(Context())
    if run.status != "done":
        raise InputError(run.error)
    return {"libraries": libraries, "measured": high_water(), "seconds": run.seconds, "flops": run.flops}


def high_water() -> int:
    """The most memory that this process ever held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def apart(model: str, method: str, dtype: str, length: int, **more: str) -> dict[str, float]:
    """`one` in a process of its own."""
    command = [sys.executable, "-m", "evidence.speed.memory", model, method, dtype, str(length)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", **more}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(f"{model} {method} {dtype} at {length}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compared(name: str, model: str) -> Iterator[dict[str, Any]]:
    """Every setting and length of a model."""
    for method, dtype in SETTINGS:
        for length in LENGTHS:
            told = apart(model, method, dtype, length, FORETELL="1")
            took = apart(model, method, dtype, length)
            yield {"model": name, "method": method, "dtype": dtype, "length": length, **told, **took}


def scored(row: dict[str, Any]) -> dict[str, Any]:
    """With what was foretold of the whole process, and how far off that is."""
    foretold = row["libraries"] + FIRST_USE + row["tensors"]
    beside = row["measured"] - row["libraries"] - FIRST_USE
    return {
        **row,
        "foretold": foretold,
        "error": foretold / row["measured"] - 1,
        "error_of_tensors": row["tensors"] / beside - 1,
    }


def run(json_file: Path | None = RESULT) -> dict[str, Any]:
    """Compare all; each row is printed as it comes."""
    rows, result = [], dict[str, Any]()
    for name in (SMALL, *SHAPES):
        with tempfile.TemporaryDirectory(prefix="lensllm-") as folder:
            model = name if name == SMALL else str(random_model(name, Path(folder)))
            for row in map(scored, compared(name, model)):
                told, took = row["foretold"] / (1 << 30), row["measured"] / (1 << 30)
                what = f"{row['model']:14} {row['method']:6} {row['dtype']:9} {row['length']:4}"
                print(f"{what} {told:6.2f} {took:6.2f} GiB {row['error']:+.1%}", flush=True)
                rows.append(row)
                worst = max(abs(row["error"]) for row in rows)
                result = {"command": "python -m evidence memory", "runs": rows, "largest_error": worst}
                write_numbers(result, json_file)
    return result


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
