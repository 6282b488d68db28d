"""Oumi: `oumi train -c oumi.yaml` (fields of oumi 0.9)."""

from __future__ import annotations

from typing import Any

from lensllm.errors import InputError
from lensllm.exporters.recipe import SPLITS, Recipe
from lensllm.exporters.written import Exported, commented_yaml, json_lines
from lensllm.tasks.conversation import Conversation

NAME = "oumi.yaml"
COLLATOR = "text_completions_only_with_padding"


def export(recipe: Recipe) -> Exported:
    """Configuration and data, for candidates that read conversations.

    Raises:
        InputError: if it reads plain text, which Oumi's mask of completions does not know, or the turns that are
            learned are none that Oumi can tell.
    """
    chats = recipe.conversations()
    if chats is None:
        raise InputError(
            f"Oumi finds what is learned by the chat template, and {recipe.origin.name} reads plain text: export to trl"
        )
    if any(one.tools for split in chats.values() for one in split):
        raise InputError("Oumi's rows hold no tools: export conversations with tools to trl")
    files = {f"data/{split}.jsonl": json_lines(map(_row, chats[split])) for split in SPLITS if chats[split]}
    settings = {"model": _model(recipe), "data": _data(chats), "training": _training(recipe)}
    if recipe.lora:
        settings["peft"] = _adapter(recipe)
    return Exported({NAME: commented_yaml(recipe.header, settings), **files}, f"oumi train -c {NAME}")


def _model(recipe: Recipe) -> dict[str, Any]:
    revision = {"model_revision": recipe.origin.revision} if recipe.origin.hub_id and recipe.origin.revision else {}
    return {
        "model_name": recipe.model,
        **revision,
        "model_max_length": recipe.reader.max_length,
        "torch_dtype_str": recipe.weights_dtype,
        "trust_remote_code": False,
    }


def _data(chats: dict[str, list[Conversation]]) -> dict[str, Any]:
    last = all(one.learned == [len(one.turns) - 1] for one in chats["train"])
    said = all(turn.learned == (turn.role == "assistant") for one in chats["train"] for turn in one.turns)
    if not last and not said:
        raise InputError("Oumi learns what the assistant says, or its last turn: these conversations learn other turns")

    def of(split: str) -> dict[str, Any]:
        return {
            "datasets": [{"dataset_name": "text_sft_jsonl", "dataset_path": f"data/{split}.jsonl"}],
            "collator_name": COLLATOR,
            "train_target": "final_assistant_turn" if last else "all_assistant_turns",
            "pack": False,
        }

    return {"train": of("train"), "validation": of("test")}


def _training(recipe: Recipe) -> dict[str, Any]:
    config = recipe.training
    return {
        "trainer_type": "TRL_SFT",
        "use_peft": recipe.lora is not None,
        "learning_rate": recipe.expected.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_ratio": config.warmup_ratio,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "per_device_eval_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "optimizer": config.optim,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "enable_gradient_checkpointing": config.gradient_checkpointing == "on",
        "mixed_precision_dtype": "BF16" if recipe.bfloat16 else "NONE",
        "seed": config.seed,
        "data_seed": config.seed,
        "eval_strategy": "epoch",
        "save_epoch": True,
        "logging_steps": 10,
        "output_dir": "model",
    }


def _adapter(recipe: Recipe) -> dict[str, Any]:
    assert recipe.lora is not None
    lora = recipe.lora
    if lora.use_dora or lora.use_rslora:
        raise InputError("Oumi's configuration has no DoRA or rsLoRA: export to trl")
    bits = {"q_lora": True, "q_lora_bits": 4, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
    return {
        "lora_r": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "lora_target_modules": list(lora.lora_target_modules),
        **(bits if recipe.in_four_bits else {"q_lora": False}),
    }


def _row(conversation: Conversation) -> dict[str, Any]:
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in conversation.turns]}
