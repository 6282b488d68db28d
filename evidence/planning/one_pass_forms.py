"""Which form of the one-pass ladder is nearest to separate runs: where the defaults of `OnePass` come from.

    python -m evidence one-pass-forms

Task `define`, two models, rungs of 50 to 1,600 examples at the learning rate of the separate runs of
evidence/planning/one_pass.json. Writes change of log loss and cost to evidence/planning/one_pass_forms.json.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from evidence.planning.one_pass import RESULT as SEPARATE_RUNS
from evidence.planning.one_pass_ladder import Factor, Trunk
from evidence.quiet import one_quiet_thread
from evidence.results import write_numbers
from lensllm.candidates import find_candidate
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.in_training import measure
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
MODELS = ["gpt2-0.2m-bible-1.5m", "gpt2-0.2m-mix-5m"]
SIZES = [50, 100, 200, 400, 800, 1600]
WARM_UP = 2


class Form(NamedTuple):
    """Trunk epochs over what is new, cool-down, rate; old examples mixed into the trunk; rate falls as 1 - sqrt."""

    epochs: float
    cool_down: float
    rate: float
    mixed: bool = False
    root: bool = False


FORMS = [
    Form(3, 0, 1),
    Form(3, 0.1, 1),
    Form(3, 0.2, 1),
    Form(2.4, 0.2, 1),
    Form(2.4, 0.2, 1, mixed=True),
    Form(2.4, 0.2, 0.6, mixed=True),
    Form(2.4, 0.2, 0.6),
    Form(2.25, 0.125, 0.6),
    Form(2.25, 0.25, 0.5),
    Form(2.25, 0.25, 0.6),
    Form(2.25, 0.25, 0.7),
    Form(2.25, 0.25, 0.6, root=True),
    Form(2, 0.2, 0.6),
    Form(2, 0.3, 0.6),
]


def warmed_up(warm: int) -> Factor:
    """The rate of the trunk, after so many steps of warm-up."""
    return lambda step: min(1.0, (step + 1) / (warm + 1))


def cooled_down(steps: int, power: float) -> Factor:
    """The rate of a branch, which falls to 0 in so many steps."""
    return lambda step: max(0.0, 1 - (step / steps) ** power)


def ladder(encoded: EncodedTask, form: Form, rate: float) -> tuple[list[float], float]:
    """Test losses at the rungs, and the FLOPs of all training."""
    trunk, train = Trunk(encoded), encoded.split("train")
    losses, spent = [], 0.0
    for before, examples in pairwise([0, *SIZES]):
        began = trunk.meter.total
        steps = max(1, round(form.epochs * (examples - before) / 8))
        new = train[:examples] if form.mixed else train[before:examples]
        seed = examples if form.mixed else 0
        trunk.train(new, steps, form.rate * rate, warmed_up(0 if before else WARM_UP), seed)
        here = trunk.checkpoint()
        if form.cool_down:
            steps = max(1, round(form.cool_down * 3 * examples / 8))
            fall = cooled_down(steps, 0.5 if form.root else 1.0)
            trunk.train(train[:examples], steps, form.rate * rate, fall, 1000 + examples)
        spent += trunk.meter.total - began
        losses.append(measure(trunk.model, encoded, "test", trunk.meter).nats_per_byte)
        trunk.go_back(here)
    return losses, spent


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Every form on both models."""
    one_quiet_thread()
    known = json.loads(SEPARATE_RUNS.read_text())["ladders"]
    rows: list[dict[str, Any]] = []
    for model in MODELS:
        encoded = EncodedTask(find_candidate(model), read_task("define"), TrainingConfig(max_test_examples=1000))
        runs = {row["examples"]: row for row in known[f"define {model}"]["separate"]}
        for form in FORMS:
            losses, spent = ladder(encoded, form, runs[SIZES[0]]["learning_rate"])
            change = [math.log(a / runs[size]["nats_per_byte"]) for a, size in zip(losses, SIZES, strict=True)]
            last = runs[SIZES[-1]]["flops"] - runs[SIZES[-1]]["test_flops"]
            rows.append({"model": model, **form._asdict(), "change": change, "training_over_last_rung": spent / last})
            print(model, form, [round(x, 4) for x in change], round(spent / last, 2), flush=True)
    return write_numbers({"command": "python -m evidence one-pass-forms", "forms": rows}, json_file)
