"""The network that was fitted to the prior, without torch: what becomes of candidates beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import softmax

from lensllm.arrays import Floats

FOLDER = Path(__file__).with_name("networks")
HEADS = 4
LAYERS = 3
DEGREES = 4
"""Of freedom of every Student's t."""
LEAST_SCALE = 0.01
EPSILON = 1e-5


@dataclass(frozen=True)
class Prediction:
    """What the network says of B pools, in the units of `features.Features`.

    Attributes:
        weight: of the P parts of each candidate's own deviation, shape (B, K, P); they add up to 1.
        place: middle of each part, shape (B, K, P), in units; in log loss their mean over a pool is 0.
        scale: of each part, a Student's t of 4 degrees, shape (B, K, P).
        common: middle of what all candidates do, shape (B,).
        common_scale: of a Student's t of 4 degrees, shape (B,).
    """

    weight: Floats
    place: Floats
    scale: Floats
    common: Floats
    common_scale: Floats

    @property
    def mean(self) -> Floats:
        """Expected own deviations, shape (B, K)."""
        return np.asarray((self.weight * self.place).sum(axis=2))


class Network:
    """Attention from a few points to the candidates and back, three times; equivariant in the candidates.

    Args:
        file: weights, as `python -m evidence prior-fit` writes them.
    """

    def __init__(self, file: Path) -> None:
        self._w = {name: values.astype(np.float32) for name, values in load_file(file).items()}

    def __call__(self, rows: Floats, unit: Floats) -> Prediction:
        """What it says of pools, rows of shape (B, K, COUNT) and units of shape (B, K)."""
        at = self._linear("second", np.maximum(self._linear("first", np.asarray(rows, dtype=np.float32)), 0))
        for layer in range(LAYERS):
            points = np.broadcast_to(self._w[f"points.{layer}"], (len(rows), *self._w[f"points.{layer}"].shape))
            few = self._attend(f"gather.{layer}", points, at)
            at = self._attend(f"spread.{layer}", at, few)
        at = self._norm("norm", at)
        weight, place, scale = np.split(self._linear("own", at).astype(float), 3, axis=2)
        weight = softmax(weight, axis=2)
        moved = (weight * place).sum(axis=2) * unit
        place = place - in_units(moved.mean(axis=1, keepdims=True), unit)[:, :, None]
        pooled = np.concatenate([at.mean(axis=1, keepdims=True), at.max(axis=1, keepdims=True)], axis=2)
        pool = self._linear("common", pooled)[:, 0].astype(float)  # a product a pool: others in the batch change no bit
        return Prediction(weight, place, _positive(scale), pool[:, 0], _positive(pool[:, 1]))

    def _linear(self, name: str, values: Floats) -> Floats:
        return np.asarray(values @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"])

    def _norm(self, name: str, values: Floats) -> Floats:
        off = values - values.mean(axis=-1, keepdims=True)
        scaled = off / np.sqrt((off**2).mean(axis=-1, keepdims=True) + EPSILON)
        return np.asarray(scaled * self._w[f"{name}.weight"] + self._w[f"{name}.bias"])

    def _attend(self, name: str, at: Floats, over: Floats) -> Floats:
        b, n, width = at.shape

        def heads(values: Floats) -> Floats:
            return values.reshape(b, -1, HEADS, width // HEADS).transpose(0, 2, 1, 3)

        query = heads(self._linear(f"{name}.q", self._norm(f"{name}.before", at)))
        key, value = map(heads, np.split(self._linear(f"{name}.kv", self._norm(f"{name}.over", over)), 2, axis=2))
        found = softmax(query @ key.swapaxes(2, 3) / np.sqrt(width // HEADS), axis=3) @ value
        at = at + self._linear(f"{name}.out", found.transpose(0, 2, 1, 3).reshape(b, n, width))
        inner = np.maximum(self._linear(f"{name}.up", self._norm(f"{name}.after", at)), 0)
        return at + self._linear(f"{name}.down", inner)


def in_units(values: Floats, unit: Floats) -> Floats:
    """Values in each candidate's unit, 0 where the unit is, as nothing is forecast there; both (B, K) or (B, 1)."""
    return np.divide(values, unit, out=np.zeros_like(unit), where=unit > 0)


def _positive(values: Floats) -> Floats:
    return np.asarray(np.logaddexp(values, 0.0) * 0.5 + LEAST_SCALE)


@cache
def _networks() -> tuple[Network, ...]:
    """Those that come with the package, read once."""
    return tuple(Network(file) for file in sorted(FOLDER.glob("*.safetensors")))


def predict(rows: Floats, unit: Floats) -> Prediction:
    """What the networks of the package say together: each reader of the prior is believed alike.

    Args:
        rows: of pools, shape (B, K, COUNT).
        unit: of what is said of each candidate, shape (B, K).
    """
    return mixture_of([network(rows, unit) for network in _networks()])


def mixture_of(said: Sequence[Prediction]) -> Prediction:
    """A mixture of what several networks say; of the common part the mean and the variance of the mixture."""
    common = np.stack([one.common for one in said])
    scales = np.stack([one.common_scale for one in said])
    return Prediction(
        np.concatenate([one.weight for one in said], axis=2) / len(said),
        np.concatenate([one.place for one in said], axis=2),
        np.concatenate([one.scale for one in said], axis=2),
        common.mean(axis=0),
        np.sqrt((scales**2).mean(axis=0) + common.var(axis=0) / 2),
    )
