"""TRL: `trl sft --config sft.yaml` (fields of TRL 1.16)."""

from __future__ import annotations

import re
from typing import Any

from lensllm.exporters.recipe import SPLITS, Recipe
from lensllm.exporters.written import Exported, commented_yaml, json_lines
from lensllm.tasks.conversation import Conversation
from lensllm.tasks.encode import encode_split

NOTES = ("TRL draws batches at random; here examples of like length stood together, which changes the order alone.",)
TOKENS = (
    "The rows are tokens of this model with labels (-100: not learned): TRL cannot tell from the model's chat template "
    "what is learned of these conversations. For another model export again."
)
LABELLED = {"completion_only_loss": False, "assistant_only_loss": False}
"""TRL takes the labels of such rows as they are."""
MARK = re.compile(r"{%-?\s*generation\s*-?%}")
"""What says in a chat template where the assistant's words are."""
NAME = "sft.yaml"


def export(recipe: Recipe) -> Exported:
    """Configuration and data, the rows in TRL's own layouts.

    TRL's command line would load in float32, learn at 2e-5 and drop 5 % of LoRA's inputs, so all of that is said. Rows
    are texts or messages where TRL finds in them what is learned here, and tokens with labels where it cannot.
    """
    chats = recipe.conversations()
    rows = _texts(recipe) if chats is None else {split: list(map(_row, chats[split])) for split in SPLITS}
    messages = any("messages" in row for row in rows["train"])
    loss, notes = _loss(chats), [*NOTES]
    if messages and any("prompt" in row for row in rows["train"]):
        rows = {split: [_as_messages(row) for row in rows[split]] for split in SPLITS}
    if chats is not None and (loss is None or not _can_tell(recipe, loss)):
        rows, loss, notes = _tokens(recipe), LABELLED, [*notes, TOKENS]
    settings = {**_training(recipe), **(loss or {}), **_adapter(recipe), "dataset_name": "./data"}
    files = {f"data/{split}.jsonl": json_lines(rows[split]) for split in SPLITS if rows[split]}
    text = commented_yaml([*recipe.header, *notes], settings)
    return Exported({NAME: text, **files}, f"trl sft --config {NAME}", tuple(notes))


def _training(recipe: Recipe) -> dict[str, Any]:
    config = recipe.training
    return {
        "model_name_or_path": recipe.model,
        "model_revision": recipe.origin.revision or None if recipe.origin.hub_id else None,
        "trust_remote_code": False,
        "dtype": recipe.weights_dtype,
        "bf16": recipe.bfloat16,
        "dataset_train_split": "train",
        "dataset_test_split": "test",
        "max_length": recipe.reader.max_length,
        "packing": False,
        "learning_rate": recipe.expected.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": config.warmup_ratio,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "per_device_eval_batch_size": config.per_device_train_batch_size,
        "optim": config.optim,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": config.gradient_checkpointing == "on",
        "seed": config.seed,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_steps": 10,
        "report_to": "none",
        "output_dir": "model",
    }


def _loss(chats: dict[str, list[Conversation]] | None) -> dict[str, Any] | None:
    """Which tokens are learned: those of the completion, of what the assistant says, or all; None if others are."""
    if chats is None or all(map(_ends_learned, chats["train"])):
        return {"completion_only_loss": True, "assistant_only_loss": False}
    if all(map(_all_assistant, chats["train"])):
        return {"assistant_only_loss": True}
    if all(turn.learned or not turn.full_text for one in chats["train"] for turn in one.turns):
        return {"assistant_only_loss": False}
    return None


def _can_tell(recipe: Recipe, loss: dict[str, Any]) -> bool:
    """Whether the model's template says to TRL what these settings learn."""
    if not recipe.reader.template.own:
        return False
    template = str(recipe.reader.tokenizer.chat_template)
    return not loss["assistant_only_loss"] or MARK.search(template) is not None


def _tokens(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """What the model reads, and what of it is learned; of the test what is counted."""
    read = {split: encode_split(recipe.splits[split], recipe.reader).examples for split in SPLITS}
    return {
        split: [
            {"input_ids": one.input_ids, "labels": (split == "train" and one.train_labels) or one.labels}
            for one in examples
        ]
        for split, examples in read.items()
    }


def _adapter(recipe: Recipe) -> dict[str, Any]:
    if (lora := recipe.lora) is None:
        return {"use_peft": False}
    bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
    return {
        "use_peft": True,
        "lora_r": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "lora_target_modules": list(lora.lora_target_modules),
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
        **(bits if recipe.in_four_bits else {}),
    }


def _texts(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Prompt and completion; TRL adds the end, and the beginning where the tokenizer does."""
    start, _ = recipe.ends(added=True)
    return {
        split: [{"prompt": start + one.prompt, "completion": one.completion} for one in recipe.splits[split]]
        for split in SPLITS
    }


def _row(conversation: Conversation) -> dict[str, Any]:
    tools = {"tools": conversation.tools} if conversation.tools else {}
    if not _ends_learned(conversation):
        return {"messages": conversation.messages, **tools}
    return {"prompt": conversation.messages[:-1], "completion": conversation.messages[-1:], **tools}


def _as_messages(row: dict[str, Any]) -> dict[str, Any]:
    joined = row.get("messages") or [*row["prompt"], *row["completion"]]
    return {"messages": joined, **({"tools": row["tools"]} if "tools" in row else {})}


def _ends_learned(conversation: Conversation) -> bool:
    """Whether the last turn is learned and no other."""
    return conversation.learned == [len(conversation.turns) - 1]


def _all_assistant(conversation: Conversation) -> bool:
    """Whether all that the assistant says is learned, and nothing else."""
    return all(turn.learned == (turn.role == "assistant") for turn in conversation.turns)
