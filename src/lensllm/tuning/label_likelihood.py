"""Which of a task's labels a model finds likeliest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from transformers import PreTrainedModel

from lensllm.scores.asked import Asked
from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import Reader
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import example_nats


def likeliest_labels(
    model: PreTrainedModel,
    asked: Sequence[Asked],
    labels: Sequence[str],
    reader: Reader,
    meter: FlopMeter,
    *,
    autocast: bool = False,
) -> list[str]:
    """The label with the largest log-probability, summed over its tokens and the end token, given the prompt.

    Of labels that are equally likely the first.

    Raises:
        InputError: if a label does not fit the model behind a prompt.
        ArithmeticError: if a log-probability is not a number.
    """
    rows = encode_with([one.answered(label) for one in asked for label in labels], reader, 0.0)
    charge = partial(meter.charge, training=False)
    with torch.inference_mode():
        nats = example_nats(model, rows, autocast=autocast, observe=charge)
    if not all(map(math.isfinite, nats)):
        raise ArithmeticError("the log-probability of a label is not finite")
    found = [nats[i : i + len(labels)] for i in range(0, len(nats), len(labels))]
    return [labels[min(range(len(labels)), key=of.__getitem__)] for of in found]
