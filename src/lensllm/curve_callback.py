"""A callback for anybody's Trainer that adds its loss to a table of losses which `lensllm forecast` reads."""

from __future__ import annotations

import math
from collections.abc import Sized
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lensllm.curve_tables import written_name
from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.text import listed

IGNORED = -100
"""Label of a token that no loss is formed of, as everywhere in transformers."""
KEYS = ["candidate", "examples", "seed"]
STANDARD_ERROR = "eval_standard_error"
"""Name of a metric that `compute_metrics` may give as `standard_error`: of the loss, over the evaluation examples."""


class CurveCallback(TrainerCallback):
    """Adds a row (candidate, examples, loss, seed, unit) to a CSV file when a run of transformers' Trainer or TRL ends.

    The loss is that of the last evaluation at the run's last step, or the best where the best model is loaded at the
    end; an evaluation before training is the row of 0 examples, one after it replaces the row. A run that was there
    already, by candidate, examples and seed, is replaced. Several processes may write to one file.

    Nats a byte are nats a token times tokens a byte, both counted on the evaluation examples: labels that are not
    masked, and the bytes of the text that they decode to. Only they can be compared between tokenizers.

    Args:
        path: of the table.
        candidate: how the model and the way it is tuned are called in it.
        examples: training examples; by default the length of the training set, which must not be packed.
        unit: `byte` or `token`.

    Raises:
        InputError: from the first step of training, if the number of examples or of bytes cannot be told.

    >>> CurveCallback("curves.csv", "SmolLM2-135M lora", unit="token").candidate
    'SmolLM2-135M lora'
    """

    def __init__(
        self,
        path: str | Path,
        candidate: str,
        *,
        examples: int | None = None,
        unit: Literal["byte", "token"] = "byte",
    ) -> None:
        if unit not in ("byte", "token"):
            raise InputError(f"unit is {unit!r}, expected byte or token")
        self.path, self.candidate, self.examples, self.unit = Path(path), candidate, examples, unit
        self._ended = False
        self._last: tuple[int, dict[str, float]] | None = None
        self._per_token: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find out now whether the row can be written at the end."""
        self._ended = False
        self.examples = self.examples or _length(args, kwargs.get("train_dataloader"))
        if self.unit == "byte" and not hasattr(kwargs.get("processing_class"), "decode"):
            raise InputError("CurveCallback counts bytes by Trainer's processing_class: give it, or unit=token")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note the loss; write it where training has not begun or has ended."""
        metrics = kwargs.get("metrics") or {}
        if "eval_loss" not in metrics or not state.is_world_process_zero:
            return
        if self.unit == "byte" and self._per_token is None and kwargs.get("eval_dataloader") is not None:
            self._per_token = tokens_a_byte(kwargs["eval_dataloader"], kwargs["processing_class"])
        self._last = (state.global_step, metrics)
        if state.global_step == 0 or self._ended:
            self._write(args, 0 if state.global_step == 0 else self.examples, metrics)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the loss of the model that is kept."""
        self._ended = True
        if not state.is_world_process_zero:
            return
        by_loss = args.metric_for_best_model in ("loss", "eval_loss")
        if args.load_best_model_at_end and by_loss and state.best_metric is not None:
            self._write(args, self.examples, {"eval_loss": state.best_metric})
        elif self._last and self._last[0] == state.global_step:
            self._write(args, self.examples, self._last[1])

    def _write(self, args: TrainingArguments, examples: int | None, metrics: dict[str, float]) -> None:
        factor = 1.0 if self.unit == "token" else self._per_token or math.nan
        row = {
            "candidate": written_name(self.candidate),
            "examples": examples,
            "loss": metrics["eval_loss"] * factor,
            "seed": args.seed,
            "unit": f"nats a {self.unit}",
        }
        if STANDARD_ERROR in metrics:
            row["standard_error"] = metrics[STANDARD_ERROR] * factor
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            known = pd.read_csv(self.path, dtype={"candidate": str}) if self.path.is_file() else pd.DataFrame()
            table = pd.concat([known, pd.DataFrame([row])]).drop_duplicates(KEYS, keep="last")
            write_whole(self.path, table.to_csv(index=False))


def tokens_a_byte(batches: Any, tokenizer: Any) -> float:
    """Labels that are not masked over the bytes of the text that they decode to; end tokens have none.

    Args:
        batches: of an evaluation, with `labels`.
        tokenizer: that decodes them.

    Raises:
        InputError: if there are no labels, or they decode to nothing.
    """
    tokens, size = 0, 0
    for batch in batches:
        if "labels" not in batch:
            raise InputError(f"evaluation batches have no labels, only {listed(sorted(batch))}: use unit='token'")
        for labels in batch["labels"].tolist():
            kept = [label for label in labels if label != IGNORED]
            tokens += len(kept)
            size += len(tokenizer.decode(kept, skip_special_tokens=True).encode())
    if not size:
        raise InputError("the labels of the evaluation examples decode to no text: use unit='token'")
    return tokens / size


def _length(args: TrainingArguments, dataloader: Any) -> int:
    dataset = getattr(dataloader, "dataset", None)
    if getattr(args, "packing", False):
        raise InputError("rows are packed, so their number is not that of the examples: give CurveCallback examples=N")
    if not isinstance(dataset, Sized):
        raise InputError("the training set has no length: give CurveCallback examples=N")
    return len(dataset)
