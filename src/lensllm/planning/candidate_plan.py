"""What fine-tuning one candidate needs, known before it is run: memory, disk, hours, money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lensllm.candidates import Candidate
from lensllm.planning.speed import estimated_speed
from lensllm.records import Record
from lensllm.search.cost import SECONDS_AN_HOUR, run_flops
from lensllm.search.speed import Speed
from lensllm.tasks import Task
from lensllm.text import gibibytes
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

if TYPE_CHECKING:
    from lensllm.scores.scoring import Scoring
    from lensllm.tuning.device_memory import DeviceMemory
    from lensllm.tuning.memory_plan import MemoryPlan
    from lensllm.tuning.scoring_cost import ScoringCost

FLOAT = 4
ROWS_WRITTEN = 32
"""Rows of the products that tokens are written with, one a prompt of a batch (`lensllm.tuning.generate.BATCH`)."""


@dataclass(frozen=True)
class CandidatePlan:
    """What a candidate needs. All of it is estimated but `parameters`, `trained_parameters` and `download_bytes`.

    Attributes:
        candidate: its name.
        method: of tuning.
        parameters: of the model.
        trained_parameters: those of them, or of its adapters, that are trained.
        memory: on the device, and which batch fits.
        download_bytes: of the weights that are still to be fetched; 0 where they are here.
        disk_bytes: the download, and the best trial's trained parameters, which lie in a file while others are tried.
        flops: of fine-tuning it once on all the data, with one measurement on the test examples and its scores.
        forward_flops: of measuring it as it came.
        speed: what its runs are expected to reach.
        measured_runs: runs that the speed was measured on; 0 where it is that of a bare product, times a part.
        scoring: what the scores of each run cost, if they are as long as they may be; None where nothing is scored.
        scoring_seconds: of the same, where `speed` tells of runs without scores; None where it has them in it.
    """

    candidate: str
    method: str
    parameters: int
    trained_parameters: int
    memory: MemoryPlan
    download_bytes: int
    disk_bytes: int
    flops: float
    forward_flops: float
    speed: Speed
    measured_runs: int = 0
    scoring: ScoringCost | None = None
    scoring_seconds: float | None = None

    @property
    def scoring_flops(self) -> float:
        """Of the scores of each run."""
        return self.scoring.flops if self.scoring else 0.0

    def seconds(self, flops: float) -> float:
        """Of a run of so many FLOPs, its scores included: tokens are written one by one, slower than they are read."""
        if self.scoring_seconds is None:
            return self.speed.seconds(flops)
        return self.speed.seconds(flops - self.scoring_flops) + self.scoring_seconds

    @property
    def hours(self) -> float:
        """Of fine-tuning it on all the data."""
        return self.seconds(self.flops) / SECONDS_AN_HOUR

    @property
    def about(self) -> str:
        """Its name and what it needs."""
        return f"{self.candidate} {gibibytes(self.memory.peak)}"

    @property
    def as_it_came(self) -> Run:
        """What measuring it as it came will cost, as the record that costs are forecast from."""
        return Run(
            self.candidate, 0, "done", test_flops=self.forward_flops, parameters=self.parameters,
            scoring_flops=self.scoring_flops,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        told = {**asdict(self), "memory": self.memory.to_dict(), "hours": self.hours}
        return told | ({"scoring": {**told["scoring"], "flops": self.scoring_flops}} if self.scoring else {})


def plan_candidate(
    candidate: Candidate,
    task: Task,
    training_config: TrainingConfig,
    device: DeviceMemory,
    room: float,
    *,
    records: Sequence[Record] = (),
    both: bool = False,
    scoring: Scoring | None = None,
) -> CandidatePlan:
    """Plan one candidate from its configuration, tokenizer and the headers of its weights.

    Args:
        candidate: admitted.
        task: fitted to all candidates.
        training_config: of every run.
        device: where it would be trained.
        room: bytes that its tensors may take.
        records: of an earlier selection; the runs of this candidate among them tell its speed.
        both: whether activations with gradient checkpointing are told where it is not needed, too.
        scoring: what is scored after each run.

    Raises:
        InputError: if its tokenizer cannot be loaded.
    """
    from lensllm.tuning.batch_shapes import BatchShapes
    from lensllm.tuning.memory_plan import plan_memory
    from lensllm.tuning.reader import reader_of
    from lensllm.tuning.rehearsal import Rehearsal
    from lensllm.tuning.scoring_cost import scoring_cost

    rehearsal = Rehearsal(candidate, training_config, device.kind)
    shapes = BatchShapes(candidate, task, training_config)
    memory = plan_memory(rehearsal, shapes, room, both=both)
    average = shapes.average(rehearsal.model)
    used = rehearsal.used
    forward = sum(used.linear(one.length, one.kept) + used.quadratic(one.length, one.kept) for one in average)
    tested = len(task.test[: training_config.max_test_examples])
    cost = scoring_cost(scoring, reader_of(candidate, training_config), rehearsal.model, used) if scoring else None
    zero_shot = Run(
        candidate.name, 0, "done", test_flops=forward / len(average) * tested, scoring_flops=cost.flops if cost else 0.0
    )
    runs = [one for one in records if isinstance(one, Run) and one.candidate == candidate.name]
    runs = [one for one in runs if one.status == "done" and one.examples]
    tokens = sum(one.length for one in average) // len(average) * memory.micro_batch
    download = getattr(candidate, "download_bytes", 0)
    width = rehearsal.text_setting("hidden_size")
    speed = Speed.of(runs) if runs else Speed(estimated_speed(tokens, width, training_config.dtype, device.kind))
    seconds = None
    if cost and not any(one.scoring_flops for one in runs):
        writing = estimated_speed(ROWS_WRITTEN, width, training_config.dtype, device.kind)
        seconds = cost.likelihood_flops / speed.flops_a_second + cost.generation_flops / writing
    return CandidatePlan(
        candidate.name,
        candidate.method.label,
        rehearsal.parameters,
        rehearsal.trained,
        memory,
        download,
        download + FLOAT * rehearsal.trained,
        run_flops(zero_shot, len(task.train), task, training_config, first=False, method=candidate.method),
        zero_shot.test_flops,
        speed,
        len(runs),
        cost,
        seconds,
    )
