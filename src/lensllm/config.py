"""Everything that commands on a task can be told, in one place: the keys of a YAML file are the flags."""

from __future__ import annotations

import os
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal, Self, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from lensllm.candidates import Full, Lora, Method, Qlora
from lensllm.candidates.shortlist_file import named_models
from lensllm.errors import InputError
from lensllm.tasks.conversation import Chat, Learn
from lensllm.text import shortened
from lensllm.tuning.tracking import Tracker
from lensllm.tuning.training_config import Checkpointing, Optimizer, Scheduler, TrainingConfig

SCORE_EXAMPLES = 271
"""1.645 sqrt(0.25 / n) <= 0.05: the 90 % interval of a share of one half reaches 0.05 to either side."""


def _part(value: Any) -> Any:
    """The number that a share in per cent is; anything else as it is."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


Part = Annotated[float, BeforeValidator(_part)]
"""A share, which may be written in per cent."""


def takes_several(field: FieldInfo) -> bool:
    """Whether a field is a list of values."""
    return get_origin(field.annotation) is list


class TaskConfig(BaseModel):
    """How a task is read, whatever is then measured on it."""

    model_config = ConfigDict(extra="forbid", title="Data")

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
        if isinstance(value, os.PathLike):
            value = os.fsdecode(value)
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
            if isinstance(own := first.get("ctx", {}).get("error"), InputError):
                raise own from error
            name = shortened(".".join(map(str, first["loc"])))
            there = CandidateConfig.model_fields if len(first["loc"]) > 1 else cls.model_fields
            known = f"; the options are {', '.join(there)}" if first["type"] == "extra_forbidden" else ""
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


MethodName = Literal["full", "lora", "qlora"]
Rank = Annotated[int, Field(ge=1, le=4096)]
Alpha = Annotated[int, Field(ge=1, le=65536)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class CandidateConfig(BaseModel):
    """A candidate with settings of its own; those it leaves out are the command's."""

    model_config = ConfigDict(extra="forbid")

    model: str
    method: MethodName | None = None
    lora_r: Rank | None = None
    lora_alpha: Alpha | None = None
    lora_dropout: Dropout | None = None
    lora_target_modules: list[str] | None = None
    use_dora: bool | None = None
    use_rslora: bool | None = None

    def tuned_by(self, lora: Lora) -> Method | None:
        """Its method; None for the default.

        Args:
            lora: what it leaves out.

        Raises:
            InputError: if it has settings that its method has not.
        """
        own = self.model_dump(exclude={"model", "method"}, exclude_none=True)
        if self.method == "full":
            if own:
                raise InputError(
                    f"candidate {self.model}: {next(iter(own))} is a setting of lora, and it is tuned in full"
                )
            return Full()
        if "lora_target_modules" in own:
            own["lora_target_modules"] = tuple(own["lora_target_modules"])
        made = replace(lora, **own)
        if self.method == "qlora":
            return Qlora(**asdict(made))
        return made if own or self.method else None


class LoraConfig(TaskConfig):
    """A task, and LoRA's settings."""

    model_config = ConfigDict(title="LoRA")

    lora_r: Rank = Field(Lora.lora_r, description="LoRA: rank.")
    lora_alpha: Alpha = Field(Lora.lora_alpha, description="LoRA: scale, over the rank.")
    lora_dropout: Dropout = Field(Lora.lora_dropout, description="LoRA: share of its inputs dropped.")
    lora_target_modules: list[str] = Field(
        list(Lora.lora_target_modules), description="LoRA: names of the layers, or all-linear."
    )
    use_dora: bool = Field(Lora.use_dora, description="LoRA: train lengths apart from directions (DoRA).")
    use_rslora: bool = Field(Lora.use_rslora, description="LoRA: scale over the root of the rank (rsLoRA).")

    def lora(self) -> Lora:
        """LoRA with these settings."""
        settings = {one.name: getattr(self, one.name) for one in fields(Lora)}
        return Lora(**settings | {"lora_target_modules": tuple(self.lora_target_modules)})


class MethodConfig(LoraConfig):
    """A task, and how one model is tuned on it."""

    model_config = ConfigDict(title="Method")

    method: MethodName = Field("full", description="How the model is tuned: full, lora, qlora.")
    seed: int = Field(TrainingConfig.seed, ge=0, lt=1 << 32, description="Seed of adapters and training order.")

    def tuned_by(self) -> Method:
        """The method with its settings."""
        return methods_of(self.lora())[self.method]


def methods_of(lora: Lora) -> dict[str, Method]:
    """Every method by its name, with LoRA's settings."""
    return {"full": Full(), "lora": lora, "qlora": Qlora(**asdict(lora))}


class SearchConfig(BaseModel):
    """How much is measured, and when that is enough."""

    model_config = ConfigDict(title="Search")

    budget: Part | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Compute to spend, as a part of fine-tuning every candidate fully: 0.2 or 20%; by default 0.1.",
    )
    budget_flops: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="The same in floating-point operations."
    )
    budget_hours: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="The same in hours of computing, summed over workers."
    )
    stop_p_best: float = Field(0.95, gt=0, le=1, description="Stop once the choice is the best with this probability.")
    stop_regret: float = Field(
        0.001,
        ge=0,
        description="Stop once the choice is expected behind the best by this part of the loss, or of a score's range.",
    )
    sizes: list[int] = Field([], description="Numbers of examples to measure, in place of a search within a budget.")
    selector: str = Field(
        "", description="What forecasts: prior_fitted, the default; growing_slopes; gaussian_process; rectified_law."
    )
    kernel: bool = Field(
        False, description="Probe every model's kernel first, paid from the budget, and forecast with it."
    )


class ScoreConfig(BaseModel):
    """What is measured beside the loss."""

    model_config = ConfigDict(title="Scores")

    score: list[str] = Field(
        [],
        description="Scores of the answers to measure beside the loss (docs/scores.md), or path/to/score.py:function.",
    )
    score_examples: int = Field(
        SCORE_EXAMPLES,
        ge=10,
        le=1_000_000,
        description="Test examples that are scored a run; 271 tell a share to 0.05 either way, at 90 %.",
    )
    rank_by: str = Field(
        "loss",
        description="What candidates are ranked by and the search goes by: loss, or one of the scores.",
    )
    keep_score: str = Field(
        "", description="A second task, on which nothing is trained: what tuning takes away there is measured."
    )
    keep_drop: float = Field(
        0.05, gt=0, lt=1, description="Mark candidates that lose more there: part of the loss, or of a score's range."
    )


class MachineConfig(BaseModel):
    """Where runs go, and what that costs."""

    model_config = ConfigDict(title="Machine and results")

    output_dir: str = Field("out/select", description="Where runs, tables and the report go; run again to resume.")
    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="Worker processes, which share out the cores; 0: one a GPU, or one a core without.",
    )
    gpus_per_run: int = Field(1, ge=1, le=64, description="GPUs that one model is spread over, for room.")
    executor: Literal["processes", "ray"] = Field(
        "processes", description="Where runs go: processes of this machine, or the nodes of a Ray cluster."
    )
    ray_address: str = Field(
        "auto",
        description="The cluster: host:port; auto: what this machine is a part of, or else one of its own; local.",
    )
    report_to: list[Tracker] = Field(
        [], description="Trackers that hear of every run: trackio, wandb, mlflow, tensorboard (docs/trackers.md)."
    )
    price_per_hour: float | None = Field(
        None, ge=0, le=1e9, description="What an hour of this machine costs, to tell what comes next in money, too."
    )
    value_per_percent: float | None = Field(
        None, ge=0, le=1e15, description="What one percent less loss is worth, in the same money."
    )


class TrainConfig(BaseModel):
    """How every candidate is trained; the names are those of transformers' TrainingArguments."""

    model_config = ConfigDict(title="Training")

    num_train_epochs: int = Field(
        TrainingConfig.num_train_epochs, ge=1, le=1000, description="Passes over each subset."
    )
    per_device_train_batch_size: int = Field(
        TrainingConfig.per_device_train_batch_size,
        ge=1,
        le=4096,
        description="Examples at once; fewer, with the same steps, where memory is short.",
    )
    gradient_accumulation_steps: int = Field(
        TrainingConfig.gradient_accumulation_steps,
        ge=1,
        le=4096,
        description="So many times as many examples make a step.",
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="Its peak, for every candidate; by default three are tried."
    )
    lr_scheduler_type: Scheduler = Field(
        TrainingConfig.lr_scheduler_type, description="How the learning rate falls after warming up."
    )
    warmup_ratio: float = Field(TrainingConfig.warmup_ratio, ge=0, lt=1, description="Part of the steps to warm up.")
    weight_decay: float = Field(TrainingConfig.weight_decay, ge=0, le=1, description="Of the optimizer.")
    max_grad_norm: float = Field(
        TrainingConfig.max_grad_norm, gt=0, le=1e6, description="Longer gradients are scaled down to this length."
    )
    optim: Optimizer = Field(TrainingConfig.optim, description="The optimizer; 8 bits and pages by bitsandbytes.")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="What is computed in; auto: bfloat16 on devices that have it, float32 on the CPU."
    )
    gradient_checkpointing: Checkpointing = Field(
        TrainingConfig.gradient_checkpointing,
        description="Form activations anew in the backward pass; auto: where memory does not suffice without.",
    )
    max_test_examples: int = Field(
        TrainingConfig.max_test_examples, ge=10, le=1_000_000, description="Test examples measured a run."
    )
    seed: int = Field(TrainingConfig.seed, ge=0, lt=1 << 32, description="Seed of the training order.")


class SelectConfig(SearchConfig, ScoreConfig, TrainConfig, MachineConfig, LoraConfig):
    """Everything `select` can be told: the keys of its YAML file and its flags."""

    model_config = ConfigDict(title="Candidates")

    models: list[str] = Field(
        [],
        description="Candidates: local folders, zoo names, hub ids (org/name@revision), or @file, one name a line.",
    )
    candidates: list[CandidateConfig] = Field(
        [], description="Candidates beside these, with settings of their own: a list in YAML (docs/methods.md)."
    )
    methods: list[MethodName] = Field(
        [],
        description="Ways to tune each of them: full, lora, qlora; by default lora from 100 M parameters on, or else "
        "full.",
    )

    @field_validator("models")
    @classmethod
    def _files_are_read(cls, models: list[str]) -> list[str]:
        return named_models(models)

    def training_config(self) -> TrainingConfig:
        """The training settings among these, with the type that this machine computes in."""
        from lensllm.tuning.device import own_dtype

        trials = TrainingConfig.learning_rate_trials if self.learning_rate is None else (1.0,)
        known = {one.name: getattr(self, one.name) for one in fields(TrainingConfig) if hasattr(self, one.name)}
        dtype = own_dtype() if self.dtype == "auto" else self.dtype
        return TrainingConfig(**known | {"dtype": dtype, "learning_rate_trials": trials})

    def model_names(self) -> list[str]:
        """All models asked for, each once as it was written, but for those written twice in `models`."""
        named = [one.model for one in self.candidates if one.model not in self.models]
        return [*self.models, *dict.fromkeys(named)]

    def asked(self) -> list[tuple[str, Method | None]]:
        """Every model and how it is to be tuned; None for the default.

        Raises:
            InputError: as `CandidateConfig.tuned_by`.
        """
        known = methods_of(self.lora())
        methods: list[Method | None] = [known[name] for name in self.methods]
        crossed = [(model, method) for model in self.models for method in methods or [None]]
        return [*crossed, *((one.model, one.tuned_by(self.lora())) for one in self.candidates)]
