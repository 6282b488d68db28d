"""SmolLM2-135M-Instruct's own tokenizer and template: token ids and learned positions beside TRL's, and the time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.chats.support_chats import COUNT, SEED, conversation
from evidence.results import write_numbers
from lensllm import zoo
from lensllm.candidates import find_candidate
from lensllm.tasks import read_task
from lensllm.tasks.conversation import Learn
from lensllm.tasks.encode import encode_with
from lensllm.tasks.task import Example
from lensllm.tuning.reader import reader_of
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODEL = "smollm2-135m"
Rows = list[dict[str, Any]]
Tokens = list[tuple[list[int], list[int]]]


def run(json_file: str | Path | None = None) -> dict[str, Any]:
    """Compare on the made-up support conversations: all turns learned, and the last answer as prompt and completion.

    Raises:
        InputError: if the model was not fetched.
    """
    draw = random.Random(SEED)
    chats = [conversation(draw) for _ in range(COUNT)]
    result: dict[str, Any] = {"model": MODEL, "conversations": COUNT}
    messages: Rows = [{"messages": turns} for turns in chats]
    pairs: Rows = [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in chats]
    forms: tuple[tuple[str, Rows, Learn], ...] = (
        ("messages, all learned", messages, "all"),
        ("prompt and completion", pairs, "assistant"),
    )
    for form, rows, learn in forms:
        (ours, our_seconds), (theirs, their_seconds) = _timed(_ours, rows, learn), _timed(_trls, rows, learn)
        result[form] = {
            "equal": sum(a == b for a, b in zip(ours, theirs, strict=True)),
            "milliseconds a conversation": 1000 * our_seconds / COUNT,
            "trl milliseconds a conversation": 1000 * their_seconds / COUNT,
        }
    return write_numbers(result, json_file)


def _timed(make: Callable[[Rows, Learn], Callable[[], Tokens]], rows: Rows, learn: Learn) -> tuple[Tokens, float]:
    encode = make(rows, learn)
    started = time.perf_counter()
    made = encode()
    return made, time.perf_counter() - started


def _ours(rows: Rows, learn: Learn) -> Callable[[], Tokens]:
    task = read_task(rows, learn=learn)
    examples: list[Example] = sorted(
        (*task.train, *task.validation, *task.test), key=lambda example: example.number or 0
    )
    reader = reader_of(find_candidate(MODEL), TrainingConfig(max_length=4096))
    return lambda: [(one.input_ids, one.train_labels or one.labels) for one in encode_with(examples, reader)]


def _trls(rows: Rows, learn: Learn) -> Callable[[], Tokens]:
    from datasets import Dataset
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(zoo.model_path(MODEL))
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=1))

    def encode() -> Tokens:
        with tempfile.TemporaryDirectory() as folder:
            config = SFTConfig(output_dir=folder, report_to=[], max_length=None, use_cpu=True, bf16=False)
            trainer = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
            return [(list(row["input_ids"]), list(row["labels"])) for row in trainer.train_dataset]

    return encode
