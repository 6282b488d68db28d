"""A row of the ranking."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ranked:
    """One row of the ranking.

    Attributes:
        candidate: its name, as it is printed.
        model: its model.
        method: how it is tuned: "full", or "none" for a model that is used as it is.
        forecast: loss at the target size, nats a byte.
        interval: 90 % interval of the same.
        p_best: probability of the lowest loss of all rows.
        measured: examples -> measured loss, nats a byte.
        flops: spent on this candidate.
        kernel: loss that the kernel expected of the largest d before any training, nats a byte; None if not probed.
        parameters: of the model.
        trained_parameters: those of the model or of its adapters that are trained; 0 for a model that is used as it is.
    """

    candidate: str
    model: str
    method: str
    forecast: float
    interval: tuple[float, float]
    p_best: float
    measured: dict[int, float]
    flops: float
    parameters: int
    kernel: float | None = None
    trained_parameters: int = 0
