"""The options of `lensllm.select` and `lensllm.check` for editors, which complete and check them.

They are the fields of `SelectConfig` without task and models; what each means and its default stand there.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, TypeVar

from lensllm.candidates import Candidate
from lensllm.config import MethodName, SelectConfig
from lensllm.execution import Executor
from lensllm.scores import Score
from lensllm.selectors import Selector
from lensllm.tasks.conversation import Chat, Learn
from lensllm.tuning.tracking import Tracker
from lensllm.tuning.training_config import Checkpointing, Optimizer, Scheduler

Function = TypeVar("Function", bound=Callable[..., Any])

Named = str | os.PathLike[str]
Model = Named | Candidate
Models = Model | Sequence[Model]
"""Names, folders, or candidates that were found before."""
AnyScore = str | Score | Callable[..., Any]
"""A name, an object, or a function of prompt, completion and reference."""


class SelectOptions(TypedDict, total=False):
    """Any of them may be left out."""

    eval_file: Named
    eval_fraction: float
    prompt_column: str
    completion_column: str
    text_column: str
    messages_column: str
    system_column: str
    tools_column: str
    learn: Learn
    chat: Chat
    chat_template: Sequence[str]
    skip_bad_rows: int
    dataset_train_split: str
    dataset_test_split: str
    deduplicate: bool
    max_length: int
    subset_seed: int
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_target_modules: Sequence[str]
    use_dora: bool
    use_rslora: bool
    budget: float | str | None
    budget_flops: float | None
    budget_hours: float | None
    stop_p_best: float
    stop_regret: float
    sizes: Sequence[int]
    selector: str | Selector
    kernel: bool
    score: AnyScore | Sequence[AnyScore]
    score_examples: int
    rank_by: str
    keep_score: Named
    keep_drop: float
    output_dir: Named
    workers: int
    gpus_per_run: int
    executor: Literal["processes", "ray"] | Executor
    ray_address: str
    report_to: Sequence[Tracker]
    price_per_hour: float | None
    value_per_percent: float | None
    num_train_epochs: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float | None
    lr_scheduler_type: Scheduler
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    optim: Optimizer
    dtype: Literal["auto", "bfloat16", "float32"]
    gradient_checkpointing: Checkpointing
    max_test_examples: int
    seed: int
    candidates: Sequence[dict[str, Any]]
    methods: Sequence[MethodName]


def with_options(function: Function) -> Function:
    """Show the options with their defaults in the function's signature, for notebooks and `help`."""
    own = inspect.signature(function)
    named = [one for one in own.parameters.values() if one.kind != inspect.Parameter.VAR_KEYWORD]
    taken = {one.name for one in named}
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=SelectConfig.model_fields[name].default, annotation=annotation
        )
        for name, annotation in SelectOptions.__annotations__.items()
        if name not in taken
    ]
    function.__signature__ = own.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
    return function
