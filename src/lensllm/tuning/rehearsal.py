"""A step of training and a batch of evaluation, gone through without a number: what each needs in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from lensllm.candidates import Candidate
from lensllm.candidates.configuration import configuration
from lensllm.candidates.tensors import bytes_changed
from lensllm.candidates.weights import model_class
from lensllm.tasks.encoded import IGNORED
from lensllm.tuning.batch_shapes import Shape
from lensllm.tuning.live_bytes import LiveBytes
from lensllm.tuning.logits_in_parts import nats_in_parts, read_contiguously
from lensllm.tuning.loss import MOST_LOGITS, MOST_MEASURED, keeps_logits, vocabulary
from lensllm.tuning.memory import set_gradient_checkpointing
from lensllm.tuning.rehearsed_four_bits import quantise
from lensllm.tuning.training_config import TrainingConfig
from lensllm.tuning.used_parameters import used_parameters

OPTIMIZER = {"adamw_8bit": 2.0, "paged_adamw_8bit": 2.0, "adafactor": 0.0}
"""Bytes a trained parameter; 8 of AdamW, whose mean and mean square of every gradient are in float32. Adafactor keeps
sums of rows and columns only."""
ADAMW = 8.0


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a step of training.

    Attributes:
        activations: what the forward pass keeps for the backward pass, beside the logits.
        peak: the most that all tensors hold at once, weights, gradients and optimizer included.
    """

    activations: int
    peak: int


class Rehearsal:
    """A candidate as it is trained, without its weights: every operation has shapes and types and no numbers.

    The model is built from its configuration, prepared by its method and put under torch's `FakeTensorMode`; a step
    then runs through the model's own code, autograd and autocast, while `LiveBytes` counts what is alive. So what is
    kept for the backward pass is counted for any architecture, and nothing is assumed about it.

    With bfloat16 products are formed in it by autocast; weights are held in what the method says, those of `qlora` in
    four bits.

    Args:
        candidate: admitted; no weight is read.
        training_config: type of products, optimizer.
        device: the kind that runs are trained on (what attention keeps depends on it).

    Attributes:
        model: as it is trained, with fake tensors.
        parameters: number of the model's.
        trained: number of those, or of its adapters', that are trained.
        weights: bytes of all parameters and buffers; adapters twice, as those they began as are kept, too.
        loading: bytes that the process is seen to have while the files are read, files that are mapped included.
        optimizer: bytes that it keeps.
        used: how many parameters a token is multiplied with, for FLOPs.
    """

    def __init__(self, candidate: Candidate, training_config: TrainingConfig, device: str = "cpu") -> None:
        self.config = training_config
        self.dtype = getattr(torch, training_config.dtype)
        self._device = device
        self._fake, self._live = FakeTensorMode(allow_non_fake_inputs=True), LiveBytes()
        kind, config = model_class(configuration(candidate.folder))
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = _built(kind, config, candidate.method.weights_dtype(training_config.dtype))
            model.tie_weights()
            self.parameters = sum(one.numel() for one in model.parameters())
            self.used = used_parameters(model)
            if candidate.method.name == "qlora":
                quantise(model)
            self.model = candidate.method.prepare(model)
            if (head := self.model.get_output_embeddings()) is not None:
                read_contiguously(head)
        with self._fake:
            place(self.model, device)
            stays = any(not one.requires_grad for one in self.model.parameters())
            self._start = [torch.empty_like(one) for one in self._trained() if stays]
        self.trained = sum(one.numel() for one in self._trained())
        self.optimizer = round(OPTIMIZER.get(training_config.optim, ADAMW) * self.trained)
        self._live.hold([*self.model.parameters(), *self.model.buffers(), *self._start])
        self.weights = self._live.now
        held = "uint8" if candidate.method.name == "qlora" else candidate.method.weights_dtype(training_config.dtype)
        self.loading = self.weights + (bytes_changed(candidate, held) if device == "cpu" else 0)

    @property
    def can_checkpoint(self) -> bool:
        """Whether the model knows gradient checkpointing."""
        return bool(self.model.supports_gradient_checkpointing)

    def text_setting(self, name: str) -> int:
        """A number of the configuration's part for text; 1 where it has none."""
        value = getattr(self.model.config.get_text_config(decoder=True), name, None)
        return value if isinstance(value, int) and value > 0 else 1

    def step(self, shape: Shape, *, checkpointing: bool = False) -> StepMemory:
        """One step of training, the optimizer's moments there as from the second step on.

        Args:
            shape: of the batch.
            checkpointing: whether activations are formed again in the backward pass.
        """
        trained, accumulates = self._trained(), shape.rows < self.config.train_batch_size
        with self._trains(checkpointing), self._inside():
            moments = torch.zeros(self.optimizer, dtype=torch.uint8)
            for one in trained:
                one.grad = torch.zeros_like(one) if accumulates else None
            before = self._live.peak = self._live.now
            nats, logits = self._nats(shape)
            activations = self._live.now - before - logits
            loss = nats.sum()
            del nats
            loss.backward()
            del loss, moments
        return StepMemory(activations, self._live.peak)

    def evaluation(self, shape: Shape) -> int:
        """The most that all tensors hold at once while a batch is measured, the model included."""
        self.model.eval()
        with self._inside(), torch.no_grad():
            self._live.peak = self._live.now
            self._nats(shape)
        return self._live.peak

    @contextmanager
    def _inside(self) -> Iterator[None]:
        log = logging.getLogger("torch._subclasses.fake_tensor")
        disabled, log.disabled = log.disabled, True
        try:
            with torch.random.fork_rng(devices=[]), self._fake, self._live, torch.device(self._device):
                yield
        finally:
            log.disabled = disabled

    @contextmanager
    def _trains(self, checkpointing: bool) -> Iterator[None]:
        model = self.model.train()
        if checkpointing:
            set_gradient_checkpointing(model, True)
        try:
            yield
        finally:
            if checkpointing:
                set_gradient_checkpointing(model, False)
            for one in self._trained():
                one.grad = None

    def _trained(self) -> list[Tensor]:
        return [one for one in self.model.parameters() if one.requires_grad]

    def _nats(self, shape: Shape) -> tuple[Tensor, int]:
        """Loss of each label, as `token_nats` forms it, and the bytes that its logits keep for the backward pass."""
        model, causal = self.model, not self.model.config.is_encoder_decoder
        ids = torch.zeros(shape.rows, shape.length, dtype=torch.long)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        if not causal:
            inputs["decoder_input_ids"] = torch.zeros(shape.rows, shape.kept, dtype=torch.long)
        elif keeps_logits(model):
            inputs["logits_to_keep"] = shape.kept
        positions = slice(-shape.kept, -1) if causal else slice(None)
        labels = torch.zeros(shape.rows, shape.kept - causal, dtype=torch.long)
        most = MOST_LOGITS if torch.is_grad_enabled() else MOST_MEASURED
        with torch.autocast(self._device, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            if labels.numel() * vocabulary(model) > most:
                parts = nats_in_parts(model, inputs, labels, positions, most, IGNORED)
                if parts is not None:
                    return parts, 0
            logits = model(**inputs).logits[:, positions]
        without = self._live.now - logits.untyped_storage().nbytes()
        nats = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
        del logits
        return nats, self._live.now - without


def _built(kind: Any, config: Any, dtype: str) -> Any:
    """The model as it is loaded."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        return kind(config)
    finally:
        torch.set_default_dtype(before)


def place(model: nn.Module, device: str) -> None:
    """Put what lies on the meta device on another, inside `FakeTensorMode`; what modules share they share afterwards.

    Args:
        model: changed in place.
        device: its kind.
    """
    placed: dict[int, Any] = {}

    def moved(one: Tensor) -> Any:
        if id(one) not in placed:
            empty = torch.empty_like(one, device=device)
            placed[id(one)] = nn.Parameter(empty, one.requires_grad) if isinstance(one, nn.Parameter) else empty
        return placed[id(one)]

    for module in model.modules():
        for held in (module._parameters, module._buffers):
            made: dict[str, Any] = {name: moved(one) for name, one in held.items() if one is not None}
            held.update(made)
