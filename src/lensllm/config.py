"""Everything that commands on a task can be told, in one place: the keys of a YAML file are the flags."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, Self, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from lensllm.candidates import Full, Lora, Method
from lensllm.errors import InputError
from lensllm.tasks.conversation import Chat, Learn
from lensllm.text import shortened
from lensllm.tuning.training_config import TrainingConfig


def takes_several(field: FieldInfo) -> bool:
    """Whether a field is a list of values."""
    return get_origin(field.annotation) is list


class TaskConfig(BaseModel):
    """How a task is read, whatever is then measured on it."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(
        "", description="A shipped task's name, a file of examples (docs/data.md), a folder of them, or a hub id."
    )
    eval_file: str = Field("", description="Test examples; without it a fraction of the file is held out.")
    eval_fraction: float = Field(0.1, gt=0, lt=1, description="Part of the file held out for the test.")
    prompt_column: str = Field("", description="Column of the prompts, where yours has another name.")
    completion_column: str = Field("", description="Column of the completions, where yours has another name.")
    text_column: str = Field("", description="Column of plain texts, where yours has another name.")
    messages_column: str = Field("", description="Column of conversations, where yours has another name.")
    system_column: str = Field("", description="Column of the system's words, where yours has another name.")
    tools_column: str = Field("", description="Column of the tools that may be called, where yours has another name.")
    learn: Learn = Field(
        "assistant",
        description="What is learned of a conversation: assistant, all it says; last, its last turn; all, every turn.",
    )
    chat: Chat = Field(
        TrainingConfig.chat,
        description="Prompt and completion as a conversation: auto, where the model has a chat template; on; off.",
    )
    chat_template: list[str] = Field(
        [], description="File of a chat template to use for all models, or MODEL=FILE for one of them."
    )
    skip_bad_rows: int = Field(
        0, ge=0, description="How many rows that cannot be read, or that a chat template refuses, may be left out."
    )
    dataset_train_split: str = Field(
        "", description="Name of the training split of a hub data set, a saved one or a folder, where it is unclear."
    )
    dataset_test_split: str = Field("", description="Name of its test split, where it is unclear.")
    deduplicate: bool = Field(
        False, description="Take examples that the test part also holds out of training and validation."
    )
    max_length: int = Field(TrainingConfig.max_length, ge=8, le=1 << 20, description="Tokens an example may have.")
    subset_seed: int = Field(TrainingConfig.subset_seed, ge=0, lt=1 << 32, description="Seed of the nested subsets.")

    @field_validator("*", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any, field: ValidationInfo) -> Any:
        return [value] if takes_several(cls.model_fields[str(field.field_name)]) and isinstance(value, str) else value

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """The configuration with these settings.

        Raises:
            InputError: naming the setting that is unknown or has a value it cannot have.
        """
        if odd := [name for name in settings if not isinstance(name, str)]:
            raise InputError(f"option {shortened(odd[0])!r} is no name: the options are {', '.join(cls.model_fields)}")
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = shortened(".".join(map(str, first["loc"])))
            known = f"; the options are {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise InputError(
                f"option {name!r}: {first['msg'].lower()}, got {shortened(repr(first['input']), 80)}{known}"
            ) from error

    def reading(self) -> dict[str, Any]:
        """How the task is read: the arguments of `lensllm.tasks.read_task` beside the source."""
        names = (
            *("eval_fraction", "prompt_column", "completion_column", "text_column", "messages_column"),
            *("system_column", "tools_column", "learn", "skip_bad_rows", "dataset_train_split"),
            *("dataset_test_split", "deduplicate"),
        )
        given = {name: getattr(self, name) for name in names}
        return {**given, "eval_file": self.eval_file or None, "seed": self.subset_seed}

    def training_config(self) -> TrainingConfig:
        """The training settings among these."""
        return TrainingConfig(
            **{
                one.name: getattr(self, one.name)
                for one in fields(TrainingConfig)
                if one.name in type(self).model_fields
            }
        )


class SelectConfig(TaskConfig):
    """Everything `select` can be told: the keys of its YAML file and its flags."""

    models: list[str] = Field([], description="Candidates: local folders, zoo names or hub ids (org/name@revision).")
    methods: list[Literal["full", "lora"]] = Field(
        [], description="Ways to tune each of them: full, lora; by default lora from 100 M parameters on, or else full."
    )
    lora_r: int = Field(Lora.lora_r, ge=1, le=4096, description="LoRA: rank.")
    lora_alpha: int = Field(Lora.lora_alpha, ge=1, le=65536, description="LoRA: scale, over the rank.")
    lora_dropout: float = Field(Lora.lora_dropout, ge=0, lt=1, description="LoRA: share of its inputs dropped.")
    lora_target_modules: list[str] = Field(
        list(Lora.lora_target_modules), description="LoRA: names of the layers, or all-linear."
    )
    use_dora: bool = Field(Lora.use_dora, description="LoRA: train lengths apart from directions (DoRA).")
    use_rslora: bool = Field(Lora.use_rslora, description="LoRA: scale over the root of the rank (rsLoRA).")
    output_dir: str = Field("out/select", description="Where runs, tables and the report go; run again to resume.")
    budget: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Compute to spend, as a part of fine-tuning every candidate fully; by default 0.1.",
    )
    budget_flops: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="The same in floating-point operations."
    )
    budget_hours: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="The same in hours of computing, summed over workers."
    )
    stop_p_best: float = Field(0.95, gt=0, le=1, description="Stop once the choice is the best with this probability.")
    stop_regret: float = Field(
        0.001, ge=0, description="Stop once the choice's expected loss above the best's is this part of the loss."
    )
    sizes: list[int] = Field([], description="Numbers of examples to measure, in place of a search within a budget.")
    kernel: bool = Field(
        False, description="Probe every model's kernel first, paid from the budget, and forecast with it."
    )
    workers: int = Field(
        0, ge=0, le=1024, description="Worker processes of one thread; 0: one a core, or one with a GPU."
    )
    num_train_epochs: int = Field(
        TrainingConfig.num_train_epochs, ge=1, le=1000, description="Passes over each subset."
    )
    per_device_train_batch_size: int = Field(
        TrainingConfig.per_device_train_batch_size, ge=1, le=4096, description="Examples a step."
    )
    max_test_examples: int = Field(
        TrainingConfig.max_test_examples, ge=10, le=1_000_000, description="Test examples measured a run."
    )
    seed: int = Field(TrainingConfig.seed, ge=0, lt=1 << 32, description="Seed of the training order.")

    def lora(self) -> Lora:
        """LoRA with these settings."""
        settings = {one.name: getattr(self, one.name) for one in fields(Lora)}
        return Lora(**settings | {"lora_target_modules": tuple(self.lora_target_modules)})

    def tuning_methods(self) -> list[Method]:
        """The methods asked for, each once; none for the default."""
        return [Full() if name == "full" else self.lora() for name in dict.fromkeys(self.methods)]
