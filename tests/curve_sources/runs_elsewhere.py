"""Runs of transformers' Trainer and of TRL on tiny models, as other people would make them."""

import json

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from tests.conftest import sums


def texts(count, skip=0):
    return Dataset.from_list(sums(count + skip)[skip:])


def encoded(tokenizer, count, skip=0):
    rows = []
    for row in texts(count, skip):
        prompt = tokenizer(row["prompt"])["input_ids"]
        completion = [*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]
        rows.append({"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion})
    return Dataset.from_list(rows)


def collated(rows):
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    return {
        "input_ids": torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]),
        "attention_mask": torch.tensor(
            [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        ),
        "labels": torch.tensor([row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows]),
    }


def trained(model_folder, output, examples, callbacks=(), **arguments):
    """A run of transformers' Trainer as it comes out of the box."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    settings = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 2,
        "use_cpu": True,
    }
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(model_folder),
        args=TrainingArguments(output_dir=str(output), **settings | arguments),
        train_dataset=encoded(tokenizer, examples),
        eval_dataset=encoded(tokenizer, 16, skip=140),
        data_collator=collated,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


def state(folder, loss=1.5, step=6, planned=6, examples=None, **more):
    """A trainer_state.json as Trainer writes it, with the numbers asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    log = [{"step": step, "epoch": 2.0, "eval_loss": loss, **more}]
    if examples:
        log.append({"step": step, "epoch": 2.0, "train_runtime": 4.0, "train_samples_per_second": 2 * examples / 4})
    written = {"global_step": step, "max_steps": planned, "num_train_epochs": 2, "log_history": log}
    (folder / "trainer_state.json").write_text(json.dumps(written))
