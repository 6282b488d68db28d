"""Unsloth: `unsloth train --config unsloth.yaml` (fields of unsloth 2026.10)."""

from __future__ import annotations

from typing import Any

from lensllm.errors import InputError
from lensllm.exporters.recipe import SPLITS, Recipe
from lensllm.exporters.written import Exported, commented_yaml, json_lines
from lensllm.tasks.conversation import Conversation

NAME = "unsloth.yaml"
NOTES = (
    "Unsloth's configuration has no field for optimizer, schedule, gradient clipping and evaluation: it takes its own, "
    "and data/test.jsonl has to be measured afterwards.",
)


def export(recipe: Recipe) -> Exported:
    """Configuration and data, for candidates that read conversations.

    Raises:
        InputError: if it reads plain text, of which Unsloth's command would learn the prompts, too, or the turns that
            are learned are not those of the assistant, or LoRA's layers are to be found by it.
    """
    chats = recipe.conversations()
    if chats is None:
        raise InputError(
            f"Unsloth finds what is learned by the chat template, and {recipe.origin.name} reads plain text: export to "
            "trl, whose trainer Unsloth's Python interface takes"
        )
    if not all(turn.learned == (turn.role == "assistant") for one in chats["train"] for turn in one.turns):
        raise InputError("Unsloth learns what the assistant says: these conversations learn other turns")
    if any(one.tools for split in chats.values() for one in split):
        raise InputError("Unsloth's rows hold no tools: export conversations with tools to trl")
    files = {f"data/{split}.jsonl": json_lines(map(_row, chats[split])) for split in SPLITS if chats[split]}
    settings = {"model": recipe.model, "data": DATA, "training": _training(recipe)}
    if recipe.lora:
        settings["lora"] = _adapter(recipe)
    text = commented_yaml([*recipe.header, *NOTES], settings)
    return Exported({NAME: text, **files}, f"unsloth train --config {NAME}", NOTES)


DATA = {"local_dataset": ["data/train.jsonl"], "format_type": "conversational"}


def _training(recipe: Recipe) -> dict[str, Any]:
    config = recipe.training
    return {
        "training_type": "full" if recipe.is_full else "lora",
        "load_in_4bit": recipe.in_four_bits,
        "max_seq_length": recipe.reader.max_length,
        "learning_rate": recipe.expected.learning_rate,
        "num_epochs": config.num_train_epochs,
        "batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": config.weight_decay,
        "gradient_checkpointing": "true" if config.gradient_checkpointing == "on" else "none",
        "random_seed": config.seed,
        "packing": False,
        "train_on_completions": True,
        "output_dir": "model",
    }


LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What `all-linear` is in the models that Unsloth is made for."""


def _adapter(recipe: Recipe) -> dict[str, Any]:
    assert recipe.lora is not None
    lora = recipe.lora
    targets = LINEAR if list(lora.lora_target_modules) == ["all-linear"] else lora.lora_target_modules
    return {
        "lora_r": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "target_modules": ",".join(targets),
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
    }


def _row(conversation: Conversation) -> dict[str, Any]:
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in conversation.turns]}
