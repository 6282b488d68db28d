"""Models x methods: which candidates there are to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.configuration import configuration
from lensllm.candidates.methods import Full, Lora, Method, Qlora
from lensllm.candidates.methods.qlora import share_in_four_bits
from lensllm.candidates.tensors import tensors_of
from lensllm.errors import InputError

LORA_FROM = 100_000_000
"""Parameters from which on a model is tuned by LoRA where nothing is said: full tuning keeps 16 bytes a parameter."""

MOST = 0.5
"""Share of the weights in 4 bits below which it is said how few they are."""


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


def cross(asked: Sequence[tuple[Candidate, Method | None]], lora: Lora) -> Crossed:
    """The candidates of these models and methods, each once; the method is in their names where there are several.

    A model that comes in 4 bits is tuned by QLoRA over it as it is, where LoRA or nothing was asked for.

    Args:
        asked: an admitted model and how it is tuned; None for LoRA from 100 M parameters on and full tuning below.
        lora: the LoRA of the default.

    Raises:
        InputError: if no candidate is left.

    >>> from lensllm.candidates import find_candidate
    >>> model = find_candidate("gpt2-0.2m-random")
    >>> [one.name for one in cross([(model, Full()), (model, Lora(lora_r=4))], Lora()).candidates]
    ['gpt2-0.2m-random full', 'gpt2-0.2m-random lora r4']
    >>> [(one.name, one.method.name) for one in cross([(model, None)], Lora()).candidates]
    [('gpt2-0.2m-random', 'full')]
    """
    candidates: dict[str, Candidate] = {}
    refused, notes = {}, dict[str, None]()
    ways = {method for _, method in asked}
    labels = [method.label for method in ways if method is not None]
    for model, method in asked:
        quantised = model.four_bits is not None
        large = method is None and not quantised and _parameters(model) >= LORA_FROM
        chosen = method or (lora if large or quantised else Full())
        chosen = _over_four_bits(chosen) if quantised else chosen
        label = chosen.label if labels.count(chosen.label) <= 1 else chosen.whole_label
        variant = label if len(ways) > 1 else ""
        candidate = replace(model, name=f"{model.name} {variant}".strip(), method=chosen, variant=variant)
        try:
            notes |= dict.fromkeys(_check(candidate))
            candidates.setdefault(candidate.name, candidate)
            if quantised:
                notes[f"{candidate.name} comes in 4 bits and is tuned by {chosen.told} over it as it is"] = None
        except InputError as error:
            refused[candidate.name] = f"{candidate.name}: {error}"
        if large:
            said = (
                f"{model.name} is tuned by {lora.told}, as it has {LORA_FROM // 1_000_000} M parameters or more: "
                "--methods full trains all its weights, --methods full lora tries both"
            )
            notes[said] = None
    if not candidates:
        raise InputError("; ".join(refused.values()))
    return Crossed(tuple(candidates.values()), refused, tuple(notes))


def _over_four_bits(method: Method) -> Method:
    """The method for a model that comes in 4 bits: there LoRA is QLoRA."""
    return Qlora(**asdict(method)) if isinstance(method, Lora) else method


def _parameters(model: Candidate) -> int:
    return sum(tensor.size for tensor in tensors_of(model).values())


def share_of(candidate: Candidate) -> float:
    """Share of a model's parameters that QLoRA holds in 4 bits, from its configuration alone."""
    return share_in_four_bits(_without_weights(candidate))


def _without_weights(candidate: Candidate) -> Any:
    """Its model, on no device."""
    import torch

    from lensllm.candidates.weights import model_class

    kind, config = model_class(configuration(candidate.folder))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = kind(config)
        model.tie_weights()
    return model


def _check(candidate: Candidate) -> list[str]:
    """Try the method on the model without its weights.

    Returns:
        What is to be said of it.

    Raises:
        InputError: if it cannot be tuned so.
    """
    candidate.method.check_installed()
    if isinstance(candidate.method, Full):
        if candidate.four_bits is not None:
            raise InputError(
                "it comes in 4 bits, and weights in 4 bits cannot be trained: --methods qlora trains beside them"
            )
        return []
    import torch

    model = _without_weights(candidate)
    share = share_in_four_bits(model)
    with torch.device("meta"):
        candidate.method.prepare(model)
    if isinstance(candidate.method, Qlora) and share < MOST:
        return [f"{candidate.name}: only {share:.0%} of its weights are in linear layers, which QLoRA holds in 4 bits"]
    return []
