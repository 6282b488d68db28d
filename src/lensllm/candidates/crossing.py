"""Models x methods: which candidates there are to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.configuration import configuration
from lensllm.candidates.headers import read_headers
from lensllm.candidates.methods import Full, Lora, Method
from lensllm.errors import InputError

LORA_FROM = 100_000_000
"""Parameters from which on a model is tuned by LoRA where nothing is said: full tuning keeps 16 bytes a parameter."""


@dataclass(frozen=True)
class Crossed:
    """The candidates, in the order of the models and then of the methods.

    Attributes:
        candidates: those that can be tuned so.
        refused: name of a candidate -> why its model cannot be tuned so.
        notes: what was chosen for the user.
    """

    candidates: tuple[Candidate, ...]
    refused: dict[str, str]
    notes: tuple[str, ...] = ()


def cross(models: Sequence[Candidate], methods: Sequence[Method], lora: Lora) -> Crossed:
    """Every model with every method; without methods, LoRA from 100 M parameters on and full tuning below.

    Args:
        models: admitted.
        methods: ways to tune each of them; empty for the default.
        lora: the LoRA of the default.

    >>> from lensllm.candidates import find_candidates
    >>> models = find_candidates(["gpt2-0.2m-random"])
    >>> [one.name for one in cross(models, [Full(), Lora(lora_r=4)], Lora()).candidates]
    ['gpt2-0.2m-random full', 'gpt2-0.2m-random lora r4']
    >>> [(one.name, one.method.name) for one in cross(models, [], Lora()).candidates]
    [('gpt2-0.2m-random', 'full')]
    """
    candidates, refused, notes = [], {}, []
    for model in models:
        large = not methods and _parameters(model) >= LORA_FROM
        for method in methods or ([lora] if large else [Full()]):
            variant = method.label if len(methods) > 1 else ""
            candidate = replace(model, name=f"{model.name} {variant}".strip(), method=method, variant=variant)
            try:
                _check(candidate)
                candidates.append(candidate)
            except InputError as error:
                refused[candidate.name] = f"{candidate.name}: {error}"
        if large:
            notes.append(
                f"{model.name} is tuned by {lora.told}, as it has {LORA_FROM // 1_000_000} M parameters or more: "
                "--methods full trains all its weights, --methods full lora tries both"
            )
    if not candidates:
        raise InputError("; ".join(refused.values()))
    return Crossed(tuple(candidates), refused, tuple(notes))


def _parameters(model: Candidate) -> int:
    return sum(tensor.size for tensor in read_headers(model.folder, model.shards).values())


def _check(candidate: Candidate) -> None:
    """Try the method on the model without its weights.

    Raises:
        InputError: if it cannot be tuned so.
    """
    if isinstance(candidate.method, Full):
        return
    import torch

    from lensllm.candidates.weights import model_class

    kind, config = model_class(configuration(candidate.folder))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = kind(config)
        model.tie_weights()
        candidate.method.prepare(model)
