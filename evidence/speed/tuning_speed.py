"""Training beside TRL's SFTTrainer: tokens a second and peak memory, by method and data, each in a process of its own.

Both train SmolLM2-135M on the same examples, 8 a step, for one epoch, on one thread, in turn,
three times. TRL runs as it comes and with each way of packing that it has on this device; the best of them is what is
compared with. Seconds are the processor's, of one thread, so that what else the machine does counts for little. Our own
trainer is also tried with the examples of a step packed into one row, without attention from one to another, to see
whether that pays. Tokens are those of the examples, without padding.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from evidence.chats.support_chats import conversation
from evidence.results import write_numbers
from lensllm import zoo
from lensllm.candidates import Full, Method, find_candidate
from lensllm.config import SelectConfig
from lensllm.tasks import Example, Task, read_task
from lensllm.tasks.encoded import IGNORED
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.in_training import InTraining
from lensllm.tuning.quiet import quiet
from lensllm.tuning.trainer import CompletionTrainer
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODEL = "smollm2-135m"
METHODS = ("full", "lora", "qlora")
DATA = {"texts": 32, "last answers": 16, "chats": 32}
"""Number of examples: sentences of 5 to 60 words; conversations about orders, of which the last answer alone is
learned; the same, of which everything is learned."""
TRL = ("trl", "trl packed bfd", "trl packed wrapped")
TRAINERS = ("ours", "ours packed", *TRL)
TURNS = 3
SEED = 0
STEP = 8
MADE = 64
RATE = 1e-4
NF4: dict[str, Any] = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
GIB = 1 << 30


def run(json_file: Path = RESULT, turns: int = TURNS) -> dict[str, Any]:
    """Everything in turn, so that what else the machine does falls on all alike; goes on from what the file has."""
    rows = json.loads(json_file.read_text())["runs"] if json_file.is_file() else []
    for data in DATA:
        for method in METHODS:
            if any((row["data"], row["method"]) == (data, method) for row in rows):
                continue
            made: dict[str, list[dict[str, float]]] = {trainer: [] for trainer in TRAINERS}
            for _ in range(turns):
                for trainer in TRAINERS:
                    if (one := _in_a_process(trainer, method, data)) is not None:
                        made[trainer].append(one)
            rows.append({"data": data, "method": method, **_compared(made)})
            print(json.dumps(rows[-1]), flush=True)
            write_numbers({"command": "python -m evidence tuning-speed", "model": MODEL, "runs": rows}, json_file)
    return {"runs": rows}


def _compared(made: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians; against TRL's fastest turn by turn, and against the least memory that it takes."""
    speeds = {name: [one["tokens_per_second"] for one in all_] for name, all_ in made.items() if all_}
    peaks = {name: statistics.median(one["peak"] for one in all_) / GIB for name, all_ in made.items() if all_}
    best = max((name for name in TRL if name in speeds), key=lambda name: statistics.median(speeds[name]))
    ratios = [a / b for a, b in zip(speeds["ours"], speeds[best], strict=True)]
    return {
        "tokens_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "peak_gib": peaks,
        "trl_best": best,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "peak_ratio": peaks["ours"] / min(peaks[name] for name in TRL if name in peaks),
        "losses": {name: all_[0]["loss"] for name, all_ in made.items() if all_ and name.startswith("ours")},
    }


def _in_a_process(trainer: str, method: str, data: str) -> dict[str, float] | None:
    """What one fresh process measures; None if that trainer cannot do it."""
    command = [sys.executable, "-m", "evidence.speed.tuning_speed", trainer, method, data]
    threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads}, check=False)
    if done.returncode:
        print(f"{trainer} {method} {data}: {done.stderr.strip().splitlines()[-1][:200]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _examples(data: str) -> list[Example]:
    """The first examples, the same for both trainers."""
    if data == "texts":
        return list(read_task("austen").train[: DATA[data]])
    draw = random.Random(SEED)
    rows = [{"messages": conversation(draw)} for _ in range(MADE)]
    task = read_task(rows, learn="all" if data == "chats" else "last")
    return sorted(task.train, key=lambda example: example.number or 0)[: DATA[data]]


def _ours(method: str, examples: list[Example], *, packed: bool) -> tuple[Callable[[], Any], int]:
    config = TrainingConfig(num_train_epochs=1, per_device_train_batch_size=STEP, max_length=4096)
    task = Task("speed", tuple(examples), tuple(examples[:STEP]), tuple(examples[:STEP]))
    candidate = replace(find_candidate(MODEL), method=_method(method))
    encoded = EncodedTask(candidate, task, config)
    tokens = sum(len(one.input_ids) for one in encoded.train(len(examples)))
    in_training = InTraining(encoded, len(examples))
    kind = Packed if packed else CompletionTrainer
    subset = encoded.train(len(examples))
    trainer = kind(in_training.model, subset, config, RATE, in_training.meter, STEP)
    return trainer.train, tokens


class Packed(CompletionTrainer):
    """The examples of a step in one row, with positions that begin anew, so that attention stays within each."""

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """As in `CompletionTrainer`, over logits of labelled positions alone."""
        there = inputs["attention_mask"].bool()
        following = torch.full_like(inputs["labels"], IGNORED)
        following[:, :-1] = inputs["labels"][:, 1:]
        told = following[there]
        positions = (there.cumsum(1) - 1)[there][None]
        foretell = (told != IGNORED).nonzero()[:, 0]
        ids = inputs["input_ids"][there][None]
        logits = model(input_ids=ids, position_ids=positions, logits_to_keep=foretell, use_cache=False).logits[0]
        loss = functional.cross_entropy(logits.float(), told[foretell], reduction="sum")
        return loss / (len(foretell) if num_items_in_batch is None else num_items_in_batch)


def _trl(method: str, examples: list[Example], data: str, way: str) -> tuple[Callable[[], Any], int]:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    rows = [_row(one, data) for one in examples]
    packing: dict[str, Any] = {"packing": True, "packing_strategy": way} if way else {}
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=STEP if not way else 1,
        max_length=1024 if way else 4096,
        learning_rate=RATE,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **packing,
    )
    quantised: dict[str, Any] = {"quantization_config": BitsAndBytesConfig(**NF4)} if method == "qlora" else {}
    model = AutoModelForCausalLM.from_pretrained(zoo.model_path(MODEL), dtype=torch.float32, **quantised)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model,
        config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(zoo.model_path(MODEL)),
        peft_config=None if method == "full" else lora,
    )
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    return trainer.train, tokens


def _row(example: Example, data: str) -> dict[str, Any]:
    if example.conversation is None:
        return {"text": example.completion}
    turns = example.conversation.messages
    return {"messages": turns} if data == "chats" else {"prompt": turns[:-1], "completion": turns[-1:]}


def _method(name: str) -> Method:
    return SelectConfig(task="", methods=[name], models=[MODEL]).asked()[0][1] or Full()


def one(trainer: str, method: str, data: str) -> dict[str, float]:
    """What one process does: make the trainer ready, then train for an epoch on the clock."""
    with quiet():
        examples = _examples(data)
        if trainer.startswith("ours"):
            train, tokens = _ours(method, examples, packed=trainer == "ours packed")
        else:
            train, tokens = _trl(method, examples, data, trainer.removeprefix("trl").removeprefix(" packed").strip())
        started = time.process_time()
        loss = train().training_loss
        seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens_per_second": tokens / seconds, "tokens": tokens, "peak": peak, "loss": loss}


if __name__ == "__main__":
    print(json.dumps(one(*sys.argv[1:])))
