"""The bound on the test loss of one candidate's fine-tuned models."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensllm.candidates import find_candidate
from lensllm.candidates.four_bits import GIVE
from lensllm.config import MethodConfig
from lensllm.errors import InputError, NothingMeasured
from lensllm.execution import InProcess
from lensllm.inputs import read_one_tuned, settings_of
from lensllm.search.callbacks import Callback
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder
from lensllm.store import Store
from lensllm.theory.bound import DECAY_SIZES, Bound, Decay, Per, fit_decay, save_bounds
from lensllm.theory.bound_job import BoundOf, BoundTerms
from lensllm.tuning.quiet import quiet

if TYPE_CHECKING:
    from lensllm.tuning.encoded_task import EncodedTask


ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class BoundReport:
    """The bounds of one candidate on one task.

    Attributes:
        task: its name.
        candidate: its name.
        bounds: one a number of training examples, ascending.
        decay: how they fall with the data; None with fewer than three.
        notes: what was left out of the data, and the like.
    """

    task: str
    candidate: str
    bounds: list[Bound]
    decay: Decay | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All terms in types that JSON knows."""
        decay = vars(self.decay) if self.decay else None
        return {"task": self.task, "bounds": [bound.to_dict() for bound in self.bounds], "decay": decay}


def bound(
    model: str,
    task: Any,
    *,
    sizes: Sequence[int] = (),
    tuned: str | Path | None = None,
    clip: float | None = None,
    per: Per = "block",
    output_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    **options: object,
) -> BoundReport:
    """Bound the test loss of fine-tuned models by their curvature (`lensllm.theory.bound` has the formula).

    Args:
        model: the pre-trained model: a folder, zoo name or hub id.
        task: as for `lensllm.select`.
        sizes: numbers of examples to fine-tune on, as `select` does; with `tuned`, how many that was tuned on (all of
            the training examples if not given).
        tuned: a folder of fine-tuned weights; without it, models are fine-tuned here.
        clip: C, losses above it count as C; without it C is the largest loss seen.
        per: what a layer is, a transformer block or a weight matrix.
        output_dir: a selection's folder: its next report shows the bound, and what was computed is kept there.
        callbacks: hear of every run.
        options: how the task is read and the model is tuned, the fields of `MethodConfig`; what its
            `method` trains is what moves and is bounded.

    Raises:
        InputError: for a model, task or size that cannot be used, or weights that do not belong to the model or are an
            adapter alone.

    >>> import lensllm
    >>> report = lensllm.bound("gpt2-0.2m-random", "define", sizes=[50])
    >>> report.bounds[0].value > report.bounds[0].test_loss
    True
    """
    given, rows = settings_of(MethodConfig, task, options)
    if tuned is not None:
        _check_whole(Path(tuned))
        if given.method != "full":
            raise InputError(f"{tuned} holds whole weights, tuned in full: leave --method {given.method} out")
    if given.method == "qlora":
        raise InputError(
            "method qlora: weights in 4 bits have no second derivative for each example, so their curvature cannot be "
            "measured: --method lora bounds the same adapter beside whole weights"
        )
    data, candidate = read_one_tuned(given, model, rows)
    if given.method != "full":
        candidate = replace(candidate, name=f"{candidate.name} {candidate.method.label}")
    if candidate.four_bits is not None:
        raise InputError(f"{candidate.name} comes in 4 bits, and weights in 4 bits cannot be trained: {GIVE}")
    config = given.training_config()
    if tuned is not None:
        from lensllm.tuning.encoded_task import EncodedTask

        bounds = [_of_weights(str(tuned), EncodedTask(candidate, data, config), sizes, clip, per)]
    elif not sizes:
        raise InputError("give --sizes, the numbers of examples to fine-tune on, or a folder of fine-tuned weights")
    else:
        jobs = [BoundOf(candidate, data, config, min(sizes), clip=clip, per=per)]
        bounds = _of_ladder(Ladder(jobs, sizes), output_dir, callbacks)
        if not bounds:
            raise InputError(f"every run of {candidate.name} diverged: there is nothing to bound")
    if output_dir is not None:
        save_bounds(output_dir, data.name, bounds)
    decay = fit_decay(bounds) if len(bounds) >= DECAY_SIZES else None
    return BoundReport(data.name, candidate.name, bounds, decay, data.notes)


def _check_whole(tuned: Path) -> None:
    """An adapter's folder says where its A ended and not where it began, so how far it moved is not known."""
    if (tuned / ADAPTER).is_file():
        raise InputError(
            f"{tuned} holds an adapter of peft, which does not say from which drawn weights it was trained, and the "
            "bound is over how far it moved: give whole tuned weights"
        )


def _of_ladder(ladder: Ladder, output_dir: str | Path | None, callbacks: Sequence[Callback]) -> list[Bound]:
    with ExitStack() as stack:
        folder = output_dir or stack.enter_context(tempfile.TemporaryDirectory())
        store = Store(folder)
        stack.callback(store.close)
        try:
            records = [record for _, record in drive(ladder, InProcess(), store, callbacks)]
        except NothingMeasured as error:
            raise InputError(next(iter(error.reasons.values()))) from error
    for record in records:
        if record.status == "failed":
            raise InputError(record.error)
    return [record.bound for record in records if isinstance(record, BoundTerms) and record.bound is not None]


def _of_weights(tuned: str, encoded: EncodedTask, sizes: Sequence[int], clip: float | None, per: Per) -> Bound:
    from lensllm.candidates.load import load_model
    from lensllm.theory.bound import bound as bound_of

    available = len(encoded.task.train)
    if len(sizes) > 1:
        raise InputError(f"{tuned} was fine-tuned on one number of examples, got --sizes {' '.join(map(str, sizes))}")
    examples = sizes[0] if sizes else available
    if not 1 <= examples <= available:
        raise InputError(f"size {examples} is outside 1 to {available}, the task's training examples")
    with quiet():
        pretrained = {name: p.detach() for name, p in load_model(encoded.candidate).named_parameters()}
        model = load_model(find_candidate(tuned, tokenizer=False), attn_implementation="eager")
        train, test = encoded.train(examples), encoded.split("test")
        return bound_of(encoded.candidate.name, pretrained, model, train, test, clip=clip, per=per)
