"""How long later runs take as foretold after the first rung, against how long they took.

    python -m evidence time-foretold

Three candidates climb as `select` lets them: as they came, 50 examples with three learning rates, then more. After the
first rung FLOPs of the others are foretold from shapes, and their seconds from the speed of what was run, in two ways:
`lensllm.search.speed.Speed`, which keeps apart what does not grow with the examples, and FLOPs a second of everything
so far. A run that tried a second learning rate, because its validation loss did not fall, takes twice as long as was to
be foretold; such runs are told apart. Seconds are the processor's, of one thread, so that what else the machine does
counts for little. Results go to evidence/speed/time_foretold.json.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evidence.results import write_numbers
from lensllm.candidates import Candidate, Full, Lora, Method, find_candidate
from lensllm.jobs import UNKNOWN
from lensllm.search.cost import run_flops
from lensllm.search.speed import Speed
from lensllm.tasks import Task, read_task
from lensllm.tuning.context import Context
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
TASK = "sentiment"


@dataclass(frozen=True)
class Climb:
    """One candidate, the sizes that it is trained on and how many test examples it is measured on."""

    model: str
    method: Method
    sizes: tuple[int, ...]
    tests: int


CLIMBS = (
    Climb("gpt2-0.9m-glosses-1.5m", Full(), (50, 100, 200, 400, 800), 300),
    Climb("llama-0.9m-mix-5m", Lora(lora_r=4), (50, 100, 200, 400, 800), 300),
    Climb("t5-0.9m-mix-5m", Full(), (50, 100, 200, 400, 800), 300),
)


def climbed(climb: Climb, candidate: Candidate, task: Task, config: TrainingConfig) -> Iterator[Run]:
    """The model as it came, and its run of every size."""
    job, context = FineTune(candidate, task, config, 0), Context()
    for examples in (*climb.sizes, 0):
        with patch("time.perf_counter", time.process_time):
            run = job.run(context)
        assert isinstance(run, Run)
        yield run
        after = job.next(run, examples, UNKNOWN) if examples else None
        if after is None:
            return
        job = after


def rows(climb: Climb) -> Iterator[dict[str, Any]]:
    """Each later run beside what was foretold after the first rung."""
    candidate = replace(find_candidate(climb.model), method=climb.method)
    task = read_task(TASK)
    config = TrainingConfig(max_test_examples=climb.tests, max_validation_examples=climb.tests)
    zero, first, *later = climbed(climb, candidate, task, config)
    apart, whole = Speed.of([zero, first]), (zero.flops + first.flops) / (zero.seconds + first.seconds)
    for run in later:
        flops = run_flops(zero, run.examples, task, config, first=False, method=climb.method)
        yield {
            "model": climb.model,
            "method": climb.method.label,
            "examples": run.examples,
            "seconds": run.seconds,
            "rates_tried": max(len(run.trials), 1),
            "error": apart.seconds(flops) / run.seconds - 1,
            "error_of_flops_a_second": flops / whole / run.seconds - 1,
        }


def run(json_file: Path | None = RESULT) -> dict[str, Any]:
    """All candidates; each row is printed as it comes."""
    made, told = [], dict[str, Any]()
    for climb in CLIMBS:
        for row in rows(climb):
            tried = f"{row['rates_tried']} rate{'s' * (row['rates_tried'] > 1)}"
            off = f"{row['error']:+5.0%} (FLOPs a second: {row['error_of_flops_a_second']:+5.0%})"
            print(f"{row['model']:24} {row['method']:5} {row['examples']:4} {row['seconds']:6.1f} s {off} {tried}")
            made.append(row)
        once = [abs(row["error"]) for row in made if row["rates_tried"] == 1]
        within = sum(error <= 0.3 for error in once) / len(once) if once else float("nan")
        numbers = {
            "command": "python -m evidence time-foretold",
            "runs": made,
            "largest_error_of_one_rate": max(once, default=0.0),
            "within_30_percent_of_one_rate": within,
        }
        told = write_numbers(numbers, json_file)
    return told
