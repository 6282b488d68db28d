"""The loss that is trained and reported: negative log-probability of completion tokens, in nats."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.tasks.encoded import IGNORED, Encoded, collate
from lensllm.tuning.logits_in_parts import nats_in_parts
from lensllm.tuning.memory import out_of_memory

LOST_BYTE = math.log(256)
"""Nats to tell one of 256 bytes of which nothing is known."""

MOST_LOGITS = 1 << 26
"""Logits of a batch: 256 MiB in float32, of which the loss makes two or three copies. A vocabulary of 150,000 has 447
positions in it."""
MOST_MEASURED = MOST_LOGITS // 4
"""Logits at once where nothing is trained: parts cost nothing there."""


@dataclass(frozen=True)
class Evaluation:
    """Loss over a set of examples.

    Attributes:
        nats: total negative log-probability of the completions.
        tokens: completion tokens, end tokens included.
        n_bytes: bytes of the completion texts.
        standard_error: of `nats_per_byte`, over examples (ratio estimator).
        lost: bytes of the texts that the tokens do not give back.
        charged: nats of each example, its lost bytes charged.
    """

    nats: float
    tokens: int
    n_bytes: int
    standard_error: float
    lost: int = 0
    charged: tuple[float, ...] = ()

    @property
    def nats_per_token(self) -> float:
        """Loss a token: the field's usual number, not comparable between tokenizers."""
        return self.nats / self.tokens

    @property
    def nats_per_byte(self) -> float:
        """Loss a byte of completion text: comparable between tokenizers.

        (nats + lost ln 256) / bytes: a byte that the tokens do not carry is charged what it costs to be told outright.
        """
        return (self.nats + self.lost * LOST_BYTE) / self.n_bytes


def token_nats(model: PreTrainedModel, batch: dict[str, Tensor], *, autocast: bool = False) -> Tensor:
    """Negative log-probability of every label, 0 where masked.

    Logits are formed only from the first labelled position on, where the model can (`logits_to_keep`): with a
    large vocabulary the output layer is most of a small model's work.

    Args:
        model: any causal or encoder-decoder model of transformers.
        batch: as `collate` makes it.
        autocast: compute products in bfloat16; the loss itself is computed in float32.

    Returns:
        Shape (batch, positions): for a causal model the positions that predict a label.
    """
    labels, inputs, positions = _asked(model, batch)
    with torch.autocast(labels.device.type, torch.bfloat16, enabled=autocast):
        most = MOST_LOGITS if torch.is_grad_enabled() else MOST_MEASURED
        if labels.numel() * vocabulary(model) > most:
            nats = nats_in_parts(model, inputs, labels, positions, most, IGNORED)
            if nats is not None:
                return nats
        logits = model(**inputs).logits[:, positions]
    nats = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return nats.view(labels.shape)


def _asked(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any], slice]:
    """The labels from the first that is counted on, what the model is given, and which of its logits foretell them."""
    labels = batch["labels"]
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
    if model.config.is_encoder_decoder:
        return labels, {**inputs, "decoder_input_ids": decoder_inputs(model, labels)}, slice(None)
    first = first_labelled(labels)
    labels = labels[:, first + 1 :]
    if keeps_logits(model):
        return labels, {**inputs, "logits_to_keep": labels.shape[1] + 1}, slice(None, -1)
    return labels, inputs, slice(first, -1)


def vocabulary(model: PreTrainedModel) -> int:
    """Logits that a position has."""
    return getattr(model.config.get_text_config(decoder=True), "vocab_size", None) or 1


def first_labelled(labels: Tensor) -> int:
    """The first position of a causal batch whose next token is counted in some row."""
    return int((labels[:, 1:] != IGNORED).any(dim=0).int().argmax())


def keeps_logits(model: PreTrainedModel) -> bool:
    """Whether the model can form the logits of the last positions alone."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def most_at_once(model: PreTrainedModel, examples: Sequence[Encoded]) -> int:
    """How many of the first of these examples may be in one batch: as many as keep its logits within `MOST_LOGITS`.

    One example is always allowed: where it has more, they are formed in parts.
    """
    formed = model.config.is_encoder_decoder or keeps_logits(model)
    longest, first = 0, 1 << 62
    for count, example in enumerate(examples):
        labels = example.labels
        longest = max(longest, len(labels))
        first = min(first, next((i for i, label in enumerate(labels) if label != IGNORED), 0) if formed else 0)
        if (count + 1) * (longest - first + 1) * vocabulary(model) > MOST_LOGITS:
            return max(count, 1)
    return len(examples)


@torch.no_grad()
def example_nats(
    model: PreTrainedModel,
    examples: Sequence[Encoded],
    *,
    batch_size: int = 32,
    autocast: bool = False,
    observe: Callable[[dict[str, Tensor]], None] = lambda batch: None,
) -> list[float]:
    """Negative log-probability of the completion of each example, batched by length so that little is padded.

    Args:
        model: any causal or encoder-decoder model of transformers.
        examples: encoded examples.
        batch_size: examples a batch; fewer where their logits would be many, halved while they do not fit into memory.
        autocast: compute products in bfloat16.
        observe: called with every batch (to count its FLOPs).
    """
    model.eval()
    device = model.device
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids) + len(examples[i].labels))
    nats: list[float] = []
    while len(nats) < len(order):
        waiting = [examples[i] for i in order[len(nats) : len(nats) + batch_size]]
        chosen = waiting[: most_at_once(model, waiting)]
        batch = {name: tensor.to(device) for name, tensor in collate(chosen).items()}
        observe(batch)
        try:
            nats += token_nats(model, batch, autocast=autocast).double().sum(dim=1).tolist()
        except RuntimeError as error:
            if batch_size == 1 or not out_of_memory(error):
                raise
            batch_size //= 2
    return [value for _, value in sorted(zip(order, nats, strict=True))]


def evaluate(
    model: PreTrainedModel,
    examples: Sequence[Encoded],
    *,
    batch_size: int = 32,
    autocast: bool = False,
    observe: Callable[[dict[str, Tensor]], None] = lambda batch: None,
) -> Evaluation:
    """Loss of the model over examples; the arguments are those of `example_nats`."""
    nats = example_nats(model, examples, batch_size=batch_size, autocast=autocast, observe=observe)
    start = 0 if model.config.is_encoder_decoder else 1
    tokens = sum(label != IGNORED for one in examples for label in one.labels[start:])
    n_bytes, lost = [one.n_bytes for one in examples], [one.n_lost for one in examples]
    charged = [a + LOST_BYTE * b if b else a for a, b in zip(nats, lost, strict=True)]
    total, size = math.fsum(charged), sum(n_bytes)
    if len(examples) == 1:
        return Evaluation(math.fsum(nats), tokens, size, total / size, sum(lost), tuple(charged))
    residuals = [(a - total / size * b) ** 2 for a, b in zip(charged, n_bytes, strict=True)]
    error = math.sqrt(math.fsum(residuals)) / size
    return Evaluation(math.fsum(nats), tokens, size, error, sum(lost), tuple(charged))


def counted(batch: dict[str, Tensor], encoder_decoder: bool) -> int:
    """Number of labels of a batch that the loss counts."""
    labels = batch["labels"] if encoder_decoder else batch["labels"][:, 1:]
    return int((labels != IGNORED).sum())
