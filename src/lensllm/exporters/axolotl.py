"""axolotl: `axolotl train axolotl.yaml` (fields of axolotl 0.19)."""

from __future__ import annotations

from typing import Any

from lensllm.exporters.recipe import SPLITS, Recipe
from lensllm.exporters.written import Exported, commented_yaml, json_lines
from lensllm.tasks.conversation import Conversation

NAME = "axolotl.yaml"


def export(recipe: Recipe) -> Exported:
    """Configuration and data: conversations with a mark on each turn that is learned, plain text as segments.

    Raises:
        InputError: as `Recipe.conversations`.
    """
    chats = recipe.conversations()
    rows = _segments(recipe) if chats is None else {split: list(map(_row, chats[split])) for split in SPLITS}
    kind = {"type": "input_output"} if chats is None else CHAT
    files = {f"data/{split}.jsonl": json_lines(rows[split]) for split in SPLITS if rows[split]}
    settings = {**_training(recipe), **_data(kind), **_adapter(recipe)}
    return Exported({NAME: commented_yaml(recipe.header, settings), **files}, f"axolotl train {NAME}")


CHAT = {
    "type": "chat_template",
    "chat_template": "tokenizer_default",
    "field_messages": "messages",
    "roles_to_train": [],
    "message_field_training": "train",
    "train_on_eos": "turn",
}
"""A turn is learned where its field `train` says so, with its end."""


def _data(kind: dict[str, Any]) -> dict[str, Any]:
    def of(split: str) -> list[dict[str, Any]]:
        return [{"path": f"./data/{split}.jsonl", "ds_type": "json", "split": "train", **kind}]

    return {"datasets": of("train"), "test_datasets": of("test"), "train_on_inputs": False}


def _training(recipe: Recipe) -> dict[str, Any]:
    config = recipe.training
    return {
        "base_model": recipe.model,
        "revision_of_model": recipe.origin.revision or None if recipe.origin.hub_id else None,
        "trust_remote_code": False,
        "bf16": recipe.bfloat16,
        "fp16": False,
        "tf32": False,
        "sequence_len": recipe.reader.max_length,
        "sample_packing": False,
        "eval_sample_packing": False,
        "pad_to_sequence_len": False,
        "learning_rate": recipe.expected.learning_rate,
        "lr_scheduler": config.lr_scheduler_type,
        "warmup_ratio": config.warmup_ratio,
        "num_epochs": config.num_train_epochs,
        "micro_batch_size": config.per_device_train_batch_size,
        "eval_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "optimizer": config.optim,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": config.gradient_checkpointing == "on",
        "seed": config.seed,
        "evals_per_epoch": 1,
        "saves_per_epoch": 1,
        "logging_steps": 10,
        "output_dir": "./model",
    }


def _adapter(recipe: Recipe) -> dict[str, Any]:
    if (lora := recipe.lora) is None:
        return {}
    every = list(lora.lora_target_modules) == ["all-linear"]
    return {
        "adapter": "qlora" if recipe.in_four_bits else "lora",
        "load_in_4bit": recipe.in_four_bits,
        "load_in_8bit": False,
        "lora_r": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "lora_target_linear": every or None,
        "lora_target_modules": None if every else list(lora.lora_target_modules),
        "peft_use_rslora": lora.use_rslora,
        "peft_use_dora": lora.use_dora,
    }


def _segments(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Prompt and completion as they stand, with the tokens that begin and end a text: axolotl adds none here."""
    start, end = recipe.ends()
    return {
        split: [
            {
                "segments": [
                    {"label": False, "text": start + one.prompt},
                    {"label": True, "text": one.completion + end},
                ]
            }
            for one in recipe.splits[split]
        ]
        for split in SPLITS
    }


def _row(conversation: Conversation) -> dict[str, Any]:
    messages = [{**turn.message, "train": turn.learned} for turn in conversation.turns]
    return {"messages": messages, **({"tools": conversation.tools} if conversation.tools else {})}
