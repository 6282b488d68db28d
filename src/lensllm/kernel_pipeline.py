"""The neural tangent kernel of one candidate, before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensllm.candidates import Candidate
from lensllm.config import MethodConfig
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.inputs import read_one_tuned, settings_of
from lensllm.probes.measure_job import Measure
from lensllm.probes.record import EXAMPLES, Probe
from lensllm.store import Store
from lensllm.tuning.quiet import quiet
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from lensllm.probes.measure import Measurement

SHOWN = 5
"""Candidates named where one is not among them."""


@dataclass(frozen=True)
class KernelReport:
    """What the kernel of one candidate says of one task.

    Attributes:
        task: its name.
        measurement: the probe, and the kernel with its spectrum and curve.
        measured: examples -> loss after fine-tuning, nats a byte, where it is known.
        notes: what was left out of the data, and the like.
        method: how the model is tuned.
    """

    task: str
    measurement: Measurement
    measured: dict[int, float]
    notes: tuple[str, ...] = ()
    method: str = "full"

    def to_dict(self) -> dict[str, Any]:
        """The probe with the measured losses, in types that JSON knows."""
        measured = {str(size): loss for size, loss in self.measured.items()}
        return {"task": self.task, "method": self.method, **self.measurement.probe.to_dict(), "measured": measured}


def kernel(
    model: str,
    task: Any,
    *,
    probe: int = EXAMPLES,
    curves: str | Path | None = None,
    output_dir: str | Path | None = None,
    **options: object,
) -> KernelReport:
    """Measure a model's neural tangent kernel on a few examples: its spectrum, and the loss it expects of training.

    Args:
        model: a folder, zoo name or hub id.
        task: as for `lensllm.select`.
        probe: number of training examples to probe with.
        curves: measured losses of the model (CSV), nats a byte, to be shown beside.
        output_dir: a selection's folder: keeps the probe, lends its measured losses.
        options: how the task is read and the model is tuned, the fields of `MethodConfig`: the kernel is over what its
            `method` trains.

    Raises:
        InputError: for a model, task or table that cannot be used.

    >>> import lensllm
    >>> report = lensllm.kernel("gpt2-0.2m-random", "define", probe=16)
    >>> probe = report.measurement.probe
    >>> probe.sizes
    [1, 2, 4, 8]
    >>> probe.losses[-1] < probe.zero_shot_probe_loss
    True
    """
    from lensllm.probes.measure import measure
    from lensllm.tuning.encoded_task import EncodedTask

    given, rows = settings_of(MethodConfig, task, options)
    data, candidate = read_one_tuned(given, model, rows)
    config = given.training_config()
    known = _read(curves, candidate.name) if curves is not None else {}
    with quiet():
        made = measure(candidate, EncodedTask(candidate, data, config).train(probe), config.seed)
    if output_dir is not None:
        store = Store(output_dir)
        store.put(Measure(candidate, data, config, probe).key, data.name, made.probe)
        runs = [run for name, run in store.records(Run) if name == data.name and run.status == "done"]
        known |= {run.examples: run.nats_per_byte for run in runs if _belongs(run, candidate, made.probe)}
        store.close()
    return KernelReport(data.name, made, known, data.notes, candidate.method.label)


def _belongs(run: Run, candidate: Candidate, probe: Probe) -> bool:
    """Whether a run is of this model tuned in this way, whether or not its name says in which."""
    method = candidate.method
    names = (candidate.name, *(f"{candidate.name} {label}" for label in (method.label, method.whole_label)))
    return run.candidate in names and run.trained_parameters in (0, probe.trained_parameters)


def _read(path: str | Path, candidate: str) -> dict[int, float]:
    table = Curves.read_csv(path)
    if candidate not in table.candidates:
        known = ", ".join(table.candidates[:SHOWN]) + (", ..." if len(table.candidates) > SHOWN else "")
        raise InputError(f"{path} has no losses of {candidate}: its candidates are {known}")
    row = table.of([candidate])
    return {int(size): float(loss) for size, loss in zip(row.sizes, row.losses[0], strict=True) if loss == loss}
