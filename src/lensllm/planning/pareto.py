"""Forecast loss against what a candidate costs to train and to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lensllm.tuning.weights_memory import ADAPTER

COSTS = ("training_flops", "training_memory", "parameters", "serving_memory", "flops_per_byte")
"""Those with a front, where they are known: a token's FLOPs cannot be compared between tokenizers."""


@dataclass(frozen=True)
class Cost:
    """What a candidate costs.

    Attributes:
        training_flops: of fine-tuning on all the data at hand, evaluation left out; proportional to the data.
        parameters: of the model.
        flops_per_token: a forward pass over test prompt and completion, for each completion token.
        flops_per_byte: the same for each byte of completion text: comparable between tokenizers.
        trained_parameters: those of the model or of its adapters that are trained.
        served_parameters: the model's, and those of adapters that are not merged into it.
        training_memory: bytes of weights, gradients and optimizer, activations left out; None if not known.
        serving_memory: bytes of the weights in the type that is computed in; None if not known.

    >>> cost = Cost(training_flops=2e12, parameters=250_000, flops_per_token=6e6, flops_per_byte=2e6)
    >>> f"{cost.flops_per_byte * 1e6:.0e} FLOPs to write a megabyte"
    '2e+12 FLOPs to write a megabyte'
    """

    training_flops: float
    parameters: int
    flops_per_token: float
    flops_per_byte: float
    trained_parameters: int = 0
    served_parameters: int = 0
    training_memory: float | None = None
    serving_memory: float | None = None

    @property
    def untrained(self) -> Cost:
        """Of the model as it came: nothing is trained, and nothing is served beside it."""
        known, beside = self.serving_memory, ADAPTER * (self.served_parameters - self.parameters)
        return replace(
            self,
            training_flops=0.0,
            trained_parameters=0,
            served_parameters=self.parameters,
            training_memory=None if known is None else 0.0,
            serving_memory=None if known is None else known - (beside if self.served_parameters else 0.0),
        )


@dataclass(frozen=True)
class Offer:
    """A candidate's forecast loss with its cost.

    Attributes:
        candidate: its name.
        loss: forecast at the data at hand.
        cost: of the candidate; a model used as it is has no training.
        front: the costs (of `COSTS`, where they are known of all) for which nothing is both no dearer and no worse: the
            Pareto fronts that it is on.
        method: how it is tuned: "full", or "none" for a model that is used as it is.

    >>> small, large = Cost(1e12, 250_000, 6e6, 2e6), Cost(4e12, 900_000, 2e7, 7e6)
    >>> for offer in offers({"small": 1.2, "large": 1.3}, {"small": small, "large": large}):
    ...     print(offer.candidate, offer.loss, offer.front)
    small 1.2 ('training_flops', 'parameters', 'flops_per_byte')
    large 1.3 ()
    """

    candidate: str
    loss: float
    cost: Cost
    front: tuple[str, ...]
    method: str = "full"


def offers(
    losses: Mapping[str, float], costs: Mapping[str, Cost], methods: Mapping[str, str] | None = None
) -> tuple[Offer, ...]:
    """Every candidate whose loss and cost are known, from the lowest loss to the highest, equal ones by name.

    Args:
        losses: forecast at the data at hand.
        costs: of the candidates.
        methods: how they are tuned, "full" where not said.
    """
    known = [name for name in costs if np.isfinite(losses.get(name, np.nan))]
    names, how = sorted(known, key=lambda name: (losses[name], name)), dict(methods or {})
    kinds = known_costs([costs[name] for name in names])
    fronts = {kind: front([(float(getattr(costs[name], kind)), losses[name]) for name in names]) for kind in kinds}
    return tuple(
        Offer(name, losses[name], costs[name], tuple(kind for kind in kinds if fronts[kind][at]), how.get(name, "full"))
        for at, name in enumerate(names)
    )


def known_costs(costs: Sequence[Cost]) -> tuple[str, ...]:
    """Those of `COSTS` that are known of all: a record from before memory was counted has none."""
    return tuple(kind for kind in COSTS if all(getattr(cost, kind) is not None for cost in costs))


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points no other one equals or beats in both coordinates, while beating it in one."""
    table = np.array(points, dtype=float).reshape(-1, 2)
    no_worse = (table[:, None] <= table[None]).all(axis=2)
    better = (table[:, None] < table[None]).any(axis=2)
    beaten = np.asarray((no_worse & better).any(axis=0))
    return [not bool(row) for row in beaten]
