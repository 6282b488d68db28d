"""LLaMA-Factory: `llamafactory-cli train llama_factory.yaml` (fields of llamafactory 0.9.5)."""

from __future__ import annotations

import json
from typing import Any

from lensllm.errors import InputError
from lensllm.exporters.recipe import SPLITS, Recipe
from lensllm.exporters.written import Exported, commented_yaml, json_lines
from lensllm.tasks.conversation import Conversation

NAME = "llama_factory.yaml"
PARSED = (
    "No `template` is named: LLaMA-Factory then reads it off the tokenizer, which may write system turns in another "
    "way than the model's own template.",
)
OPTIMIZERS = "LLaMA-Factory forms products in bfloat16 where `bf16` says so, and has no other word for the weights."


def export(recipe: Recipe) -> Exported:
    """Configuration, `dataset_info.json` and data: conversations, or plain text with the template `empty`.

    Raises:
        InputError: if the turns that are learned are none that LLaMA-Factory can tell.
    """
    chats = recipe.conversations()
    rows = _texts(recipe) if chats is None else {split: list(map(_row, chats[split])) for split in SPLITS}
    layout = PLAIN if chats is None else CHAT
    info = {split: {"file_name": f"{split}.jsonl", **layout} for split in SPLITS if rows[split]}
    files = {f"data/{split}.jsonl": json_lines(rows[split]) for split in SPLITS if rows[split]}
    settings = {**_training(recipe), **_mask(chats), **_adapter(recipe)}
    notes = () if chats is None else PARSED
    return Exported(
        {
            NAME: commented_yaml([*recipe.header, *notes], settings),
            "data/dataset_info.json": json.dumps(info, indent=2) + "\n",
            **files,
        },
        f"llamafactory-cli train {NAME}",
        notes,
    )


PLAIN: dict[str, Any] = {"formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"}}
CHAT: dict[str, Any] = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
        "observation_tag": "tool",
    },
}


def _mask(chats: dict[str, list[Conversation]] | None) -> dict[str, Any]:
    """Which tokens are learned: all that the assistant says, or its last turn."""
    if chats is None:
        return {"template": "empty", "train_on_prompt": False, "mask_history": False}
    last = all(one.learned == [len(one.turns) - 1] for one in chats["train"])
    said = all(turn.learned == (turn.role == "assistant") for one in chats["train"] for turn in one.turns)
    if not last and not said:
        raise InputError("LLaMA-Factory learns what the assistant says, or its last turn: these learn other turns")
    if any(one.tools for split in chats.values() for one in split):
        raise InputError("LLaMA-Factory writes tools by words of its own: export conversations with tools to trl")
    return {"train_on_prompt": False, "mask_history": last}


def _training(recipe: Recipe) -> dict[str, Any]:
    config = recipe.training
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": recipe.model,
        "model_revision": recipe.origin.revision or None if recipe.origin.hub_id else None,
        "trust_remote_code": False,
        "bf16": recipe.bfloat16,
        "dataset_dir": "data",
        "dataset": "train",
        "eval_dataset": "test",
        "cutoff_len": recipe.reader.max_length,
        "packing": False,
        "learning_rate": recipe.expected.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": config.warmup_ratio,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "per_device_eval_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "optim": config.optim,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "disable_gradient_checkpointing": config.gradient_checkpointing != "on",
        "seed": config.seed,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_steps": 10,
        "report_to": "none",
        "output_dir": "model",
    }


def _adapter(recipe: Recipe) -> dict[str, Any]:
    if (lora := recipe.lora) is None:
        return {"finetuning_type": "full", "pure_bf16": False}
    every = list(lora.lora_target_modules) == ["all-linear"]
    bits = {
        "quantization_bit": 4,
        "quantization_method": "bnb",
        "quantization_type": "nf4",
        "double_quantization": True,
    }
    return {
        "finetuning_type": "lora",
        "lora_rank": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "lora_target": "all" if every else ",".join(lora.lora_target_modules),
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
        **(bits if recipe.in_four_bits else {}),
    }


def _texts(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Prompt and completion with the tokens that begin and end a text, which the template `empty` adds none of."""
    start, end = recipe.ends()
    return {
        split: [{"prompt": start + one.prompt, "completion": one.completion + end} for one in recipe.splits[split]]
        for split in SPLITS
    }


def _row(conversation: Conversation) -> dict[str, Any]:
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in conversation.turns]}
