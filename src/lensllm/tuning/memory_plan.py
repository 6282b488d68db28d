"""What a candidate needs in memory, known before a weight is read; which batch fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lensllm.candidates.configuration import first_line
from lensllm.tuning.attempts import Attempt
from lensllm.tuning.batch_shapes import BatchShapes, Shape
from lensllm.tuning.rehearsal import Rehearsal, StepMemory

FLOAT = 4
LOSS_COPIES = 2
"""Cross entropy keeps the logarithms of the probabilities in float32, and its gradient is one more."""
DOUBT = 1.15
"""A batch is said to fit if this times its peak does (docs/check.md has how far off predictions were)."""
HALF = 2
KEPT_A_LAYER = 34
"""Bytes a number of the width that a layer keeps for each token in half precision, where its own code cannot be
rehearsed (Korthikanti et al. 2022, *Reducing Activation Recomputation*, with attention that keeps no products)."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that a candidate needs on the device, all of them estimates.

    Attributes:
        weights: all parameters and buffers; adapters twice, as those they began as are kept for the next trial.
        gradients: of what is trained.
        optimizer: what it keeps of gradients past.
        activations: kept by a forward pass over the longest micro-batch for its backward pass.
        activations_checkpointed: the same with gradient checkpointing; None if it was not needed or the model has none.
        logits: of the longest micro-batch, with the loss's copies.
        logits_evaluation: of the longest batch of evaluation.
        loading: seen while the files are read. On the CPU files whose numbers are changed are counted beside what is
            made of them; the system takes their pages back where memory is short, so that they do not decide what fits.
        training: the most at once in training: less than the sum of these, as they are not all there at one moment.
        evaluation: the most at once in evaluation.
        micro_batch: examples at once; gradients add up to the protocol's batch.
        gradient_checkpointing: whether activations have to be formed twice.
        length: tokens of the longest batch.
        fits: whether the device has room for it; these are the smallest needs if not.
        estimated: why activations are a rule of thumb and not rehearsed; empty where they are.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    activations_checkpointed: int | None
    logits: int
    logits_evaluation: int
    loading: int
    training: int
    evaluation: int
    micro_batch: int
    gradient_checkpointing: bool
    length: int
    fits: bool
    estimated: str = ""

    @property
    def peak(self) -> int:
        """The most at once, once it is loaded."""
        return max(self.training, self.evaluation)

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        return {**asdict(self), "peak": self.peak}


def plan_memory(rehearsal: Rehearsal, shapes: BatchShapes, room: float, *, both: bool = False) -> MemoryPlan:
    """The first of what a run would try that fits (`lensllm.tuning.attempts`), or the last.

    Args:
        rehearsal: of the candidate.
        shapes: of its batches.
        room: bytes that the device has free.
        both: rehearse with gradient checkpointing, too, where that is not needed.

    Raises:
        InputError: if gradient checkpointing is asked for and the model cannot do it.
    """
    tried, evaluation = shapes.training(rehearsal.model), shapes.evaluation(rehearsal.model)
    try:
        return _rehearsed(rehearsal, tried, evaluation, room, both)
    except Exception as error:
        shape = tried[0][1]
        memory = _rule_of_thumb(rehearsal, shape)
        measured = rehearsal.weights + _logits(rehearsal, evaluation, copies=1)
        why = f"{type(error).__name__}: {first_line(error)}"
        return _plan(rehearsal, Attempt(shape.rows, False), shape, evaluation, memory, measured, room, estimated=why)


def _rehearsed(
    rehearsal: Rehearsal, tried: Sequence[tuple[Attempt, Shape]], evaluation: Shape, room: float, both: bool
) -> MemoryPlan:
    """Step by step until one fits."""
    measured = rehearsal.evaluation(evaluation)
    for attempt, shape in tried:
        memory = rehearsal.step(shape, checkpointing=attempt.checkpointing)
        if DOUBT * max(memory.peak, measured) <= room:
            break
    plain = rehearsal.step(shape) if attempt.checkpointing else memory
    checkpointed = memory.activations if attempt.checkpointing else None
    if both and checkpointed is None and rehearsal.can_checkpoint:
        checkpointed = rehearsal.step(shape, checkpointing=True).activations
    return _plan(
        rehearsal, attempt, shape, evaluation, memory, measured, room,
        activations=plain.activations, checkpointed=checkpointed,
    )  # fmt: skip


def _plan(
    rehearsal: Rehearsal,
    attempt: Attempt,
    shape: Shape,
    evaluation: Shape,
    memory: StepMemory,
    measured: int,
    room: float,
    *,
    activations: int | None = None,
    checkpointed: int | None = None,
    estimated: str = "",
) -> MemoryPlan:
    return MemoryPlan(
        weights=rehearsal.weights,
        gradients=FLOAT * rehearsal.trained,
        optimizer=rehearsal.optimizer,
        activations=memory.activations if activations is None else activations,
        activations_checkpointed=checkpointed,
        logits=_logits(rehearsal, shape, LOSS_COPIES),
        logits_evaluation=_logits(rehearsal, evaluation, copies=1),
        loading=rehearsal.loading,
        training=memory.peak,
        evaluation=measured,
        micro_batch=attempt.micro_batch,
        gradient_checkpointing=attempt.checkpointing,
        length=shape.length,
        fits=DOUBT * max(memory.peak, measured) <= room,
        estimated=estimated,
    )


def _logits(rehearsal: Rehearsal, shape: Shape, copies: int) -> int:
    """Bytes of the logits as they are formed, in float32 if that is another type, and of the loss's copies."""
    size, count = rehearsal.dtype.itemsize, shape.rows * shape.kept * rehearsal.text_setting("vocab_size")
    return count * (size + FLOAT * (size != FLOAT) + FLOAT * copies)


def _rule_of_thumb(rehearsal: Rehearsal, shape: Shape) -> StepMemory:
    width, layers = rehearsal.text_setting("hidden_size"), rehearsal.text_setting("num_hidden_layers")
    tokens = shape.rows * max(shape.length, shape.kept)
    kept = KEPT_A_LAYER * width * layers * tokens * rehearsal.dtype.itemsize // HALF
    held = rehearsal.weights + FLOAT * rehearsal.trained + rehearsal.optimizer
    return StepMemory(kept, held + kept + _logits(rehearsal, shape, LOSS_COPIES))
