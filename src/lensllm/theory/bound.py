"""The bound on the test loss of a fine-tuned model, every term of it (Zeng et al. 2025, Theorem 2 to Corollary 1).

With v_i the displacement of layer i from its pre-trained weights, H_i^+ the positive part of the Hessian of the loss
of one example with respect to layer i, n training examples and no loss above C, with probability 1 - delta

    h_i  = max over (x, y) of v_i^T H_i^+[L(x, y)] v_i
    L   <= (1 + eps) Lhat + (1 + eps) sqrt(C) sum_i sqrt(h_i) / sqrt(n) + O(n^-3/4)                              (4)
    sum_i sqrt(h_i) <= sqrt(l sum_i h_i)                                                                         (5)
    sum_i h_i <= C2 n^-beta2                                                                                     (6)
    L   <= (1 + eps) Lhat + C3 n^-beta3 + O(n^-3/4),   C3 = sqrt(C l C2), beta3 = (beta2 + 1) / 2                (7)

(6) is about the sum, because only then does (7) have the l that it is printed with. What is computed of O(n^-3/4) is
the term in which the probability and eps stand in the PAC-Bayes inequality behind (4) (McAllester 2013; Ju, Li & Zhang
2022), C (1 + eps)^2 ln(1 / delta) / (2 eps n); it gives eps its best value. The rest of O(n^-3/4), from the remainder
of the Taylor expansion and from estimating the Hessian on n examples, has an unknown constant and is left out, h_i is
a maximum over a sample, and C is the largest loss seen: what is printed is the computable part of the bound, and
that it lies above test losses is found by comparing, not proved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from transformers import PreTrainedModel

from lensllm.arrays import Floats
from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.tasks.encoded import Encoded
from lensllm.theory.curvature import MAX_STEPS, RELATIVE, LayerHessian, Per, flatten, layers, positive_part
from lensllm.tuning.loss import example_nats

DELTA = 0.01
CURVATURE_EXAMPLES = 8
LEVEL = 0.9
DECAY_SIZES = 3
FILE_NAME = "bound.json"


@dataclass(frozen=True)
class LayerTerm:
    """One layer's part of the bound.

    Attributes:
        layer: its name.
        parameters: how many it has.
        distance: |v|.
        h: upper end of the interval of the maximum over the sample, which the bound uses, nats a byte.
        h_low: lower end of the same.
        h_mean: mean over the sample, for comparison.
        steps: the most products with the Hessian that an example took.
    """

    layer: str
    parameters: int
    distance: float
    h: float
    h_low: float
    h_mean: float
    steps: int


@dataclass(frozen=True)
class Bound:
    """Every term of the bound of one fine-tuned model; losses are means over examples in nats a byte.

    Attributes:
        candidate: its name.
        examples: number n of training examples.
        train_loss: Lhat, mean loss of the training examples, clipped at `largest_loss`.
        test_loss: the same of the test examples.
        largest_loss: C.
        clipped: whether C was given, and losses above it counted as C; otherwise it is the largest loss seen.
        layers: their terms.
        sample: training examples that h_i is a maximum over.
        flops: of the products with Hessians.
    """

    candidate: str
    examples: int
    train_loss: float
    test_loss: float
    largest_loss: float
    clipped: bool
    layers: tuple[LayerTerm, ...]
    sample: int
    flops: float

    @property
    def sum_sqrt_h(self) -> float:
        """sum_i sqrt(h_i)."""
        return math.fsum(math.sqrt(layer.h) for layer in self.layers)

    @property
    def sum_h(self) -> float:
        """sum_i h_i."""
        return math.fsum(layer.h for layer in self.layers)

    @property
    def curvature(self) -> float:
        """sqrt(C) sum_i sqrt(h_i) / sqrt(n)."""
        return math.sqrt(self.largest_loss / self.examples) * self.sum_sqrt_h

    @property
    def curvature_jensen(self) -> float:
        """The same with (5): sqrt(C l sum_i h_i / n)."""
        return math.sqrt(self.largest_loss / self.examples * len(self.layers) * self.sum_h)

    @property
    def epsilon(self) -> float:
        """The eps at which the bound is lowest: sqrt(K / (A + K)).

        A is Lhat plus the curvature term and K = C ln(1 / delta) / (2 n), since the bound is (1 + eps) A +
        (1 + eps)^2 / eps K.
        """
        spread = self._spread
        return math.sqrt(spread / (self.train_loss + self.curvature + spread))

    @property
    def confidence(self) -> float:
        """C (1 + eps)^2 ln(1 / delta) / (2 eps n)."""
        return (1 + self.epsilon) ** 2 / self.epsilon * self._spread

    @property
    def value(self) -> float:
        """The bound on the test loss, without what of O(n^-3/4) is not computable."""
        return (1 + self.epsilon) * (self.train_loss + self.curvature) + self.confidence

    @property
    def gap(self) -> float:
        """Measured generalization gap: test loss minus training loss."""
        return self.test_loss - self.train_loss

    @property
    def distance(self) -> float:
        """|v| over all layers."""
        return math.sqrt(math.fsum(layer.distance**2 for layer in self.layers))

    @property
    def _spread(self) -> float:
        return self.largest_loss * math.log(1 / DELTA) / (2 * self.examples)

    def to_dict(self) -> dict[str, Any]:
        """All terms in types that JSON knows."""
        return {
            "candidate": self.candidate,
            "examples": self.examples,
            "train_loss": self.train_loss,
            "test_loss": self.test_loss,
            "gap": self.gap,
            "largest_loss": self.largest_loss,
            "clipped": self.clipped,
            "sum_sqrt_h": self.sum_sqrt_h,
            "sqrt_l_sum_h": math.sqrt(len(self.layers) * self.sum_h),
            "epsilon": self.epsilon,
            "curvature": self.curvature,
            "curvature_jensen": self.curvature_jensen,
            "confidence": self.confidence,
            "bound": self.value,
            "distance": self.distance,
            "sample": self.sample,
            "flops": self.flops,
            "layers": [vars(layer) for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Bound:
        """Read what `to_dict` wrote."""
        names = ("candidate", "examples", "train_loss", "test_loss", "largest_loss", "clipped", "sample", "flops")
        terms = tuple(LayerTerm(**layer) for layer in record["layers"])
        return cls(**{name: record[name] for name in names}, layers=terms)


def example_losses(model: PreTrainedModel, examples: Sequence[Encoded]) -> Floats:
    """Negative log-probability of each completion, in nats a byte of it, shape (examples,)."""
    with torch.inference_mode():
        nats = example_nats(model, examples)
    return np.array(nats) / np.array([example.n_bytes for example in examples])


def bound(
    candidate: str,
    pretrained: Mapping[str, Tensor],
    tuned: PreTrainedModel,
    train: Sequence[Encoded],
    test: Sequence[Encoded],
    *,
    clip: float | None = None,
    per: Per = "block",
    sample: int = CURVATURE_EXAMPLES,
    relative: float = RELATIVE,
    max_steps: int = MAX_STEPS,
) -> Bound:
    """The bound of one fine-tuned model.

    Args:
        candidate: its name.
        pretrained: the parameters that are trained as they were before, by name: all weights, or adapters as drawn.
        tuned: the fine-tuned model, left with eager attention.
        train: the n examples it was fine-tuned on.
        test: examples that measure the true loss.
        clip: C, losses above it count as C; without it C is the largest loss seen on `train` and `test`.
        per: what a layer is.
        sample: h_i is the maximum over so many of `train`, the first.
        relative: half width of the intervals that is good enough, in parts of the largest value.
        max_steps: products with the Hessian an example and layer may take; the upper end is used however wide.

    Raises:
        InputError: if the weights are of another architecture or not finite, or the model was not changed: then there
            is no displacement and the bound says nothing; the layer is named.
    """
    if not train or not test:
        raise InputError(f"{candidate}: the bound needs training and test examples")
    if clip is not None and not clip > 0:
        raise InputError(f"losses are clipped at a number above 0, got {clip:g}")
    parts = layers(tuned, per)
    moved = _displacements(candidate, pretrained, dict(tuned.named_parameters()), parts)
    losses = {"train": example_losses(tuned, train), "test": example_losses(tuned, test)}
    for split, values in losses.items():
        if not np.isfinite(values).all():
            raise InputError(f"{candidate}: the loss of a {split} example is not finite, so no bound applies to it")
    largest = clip if clip is not None else max(float(values.max()) for values in losses.values())
    few = train[:sample]
    terms, flops = [], 0.0
    for name, part in parts.items():
        term, spent = _layer_term(tuned, part, few, name, moved[name], relative, max_steps)
        terms.append(term)
        flops += spent
    means = {split: float(np.minimum(values, largest).mean()) for split, values in losses.items()}
    losses_of = (means["train"], means["test"], largest)
    return Bound(candidate, len(train), *losses_of, clip is not None, tuple(terms), len(few), flops)


def _displacements(
    candidate: str, pretrained: Mapping[str, Tensor], tuned: Mapping[str, Tensor], parts: Mapping[str, list[str]]
) -> dict[str, Tensor]:
    """v of every layer, on the CPU, shape (parameters of the layer,)."""
    _check_weights(candidate, pretrained, tuned, parts)
    moved = {name: flatten(tuned, part).cpu() - flatten(pretrained, part).cpu() for name, part in parts.items()}
    if not any(v.any() for v in moved.values()):
        raise InputError(
            f"{candidate}: the tuned weights equal the pre-trained ones (zero-shot): with no displacement every h_i is "
            "0 and the bound does not apply; give fine-tuned weights"
        )
    return moved


def _layer_term(
    tuned: PreTrainedModel,
    part: list[str],
    few: Sequence[Encoded],
    name: str,
    v: Tensor,
    relative: float,
    max_steps: int,
) -> tuple[LayerTerm, float]:
    """One layer's term, and the FLOPs of its products with Hessians."""
    if not v.any():
        return LayerTerm(name, v.numel(), 0.0, 0.0, 0.0, 0.0, 0), 0.0
    hessian = LayerHessian(tuned, part, few, name)
    start = v.to(tuned.device)[None].repeat(len(few), 1)
    found = positive_part(hessian.each, start, relative=relative, of_largest=True, max_steps=max_steps)
    high, low = float((found.value + found.error).max()), float((found.value - found.error).max())
    distance = float(v.double().norm())
    term = LayerTerm(name, v.numel(), distance, high, low, float(found.value.mean()), int(found.steps.max()))
    return term, hessian.flops() / len(few) * hessian.products


def _check_weights(
    candidate: str, pretrained: Mapping[str, Tensor], tuned: Mapping[str, Tensor], parts: Mapping[str, list[str]]
) -> None:
    if gone := set(pretrained) - set(tuned):
        raise InputError(
            f"{candidate}: the tuned model has no {min(gone)}: give tuned weights of the same architecture"
        )
    for layer, names in parts.items():
        for name in names:
            if name not in pretrained or pretrained[name].shape != tuned[name].shape:
                was = tuple(pretrained[name].shape) if name in pretrained else "nothing"
                raise InputError(
                    f"{candidate}, layer {layer!r}: {name} is {tuple(tuned[name].shape)} in the tuned model and "
                    f"{was} in the pre-trained one: give tuned weights of the same architecture"
                )
            for which, weights in (("pre-trained", pretrained), ("tuned", tuned)):
                if not torch.isfinite(weights[name]).all():
                    raise InputError(f"{candidate}, layer {layer!r}: {which} {name} has values that are not numbers")


@dataclass(frozen=True)
class Decay:
    """(6) and (7) over the rungs of one candidate.

    Attributes:
        beta2: minus the slope of log sum_i h_i on log n, least squares.
        beta2_interval: 90 %, from Student's t with two degrees fewer than rungs.
        c2: lowest C2 at which C2 n^-beta2 lies on or above every rung.
        c3: sqrt(C l C2) with the largest C of the rungs.
        beta3: (beta2 + 1) / 2.
        power_from: n at which C3 n^-beta3 begins to be the larger of it and C n^-3/4, which is O(n^-3/4) with the
            constant 1 in units of the largest loss; 0 if it is the larger from the first example on, infinite if
            it never is.
        power_from_interval: the same at both ends of beta2's interval, the line turned about its centre.
    """

    beta2: float
    beta2_interval: tuple[float, float]
    c2: float
    c3: float
    beta3: float
    power_from: float
    power_from_interval: tuple[float, float]


def fit_decay(bounds: Sequence[Bound]) -> Decay:
    """Fit (6) to the bounds of one candidate at growing n.

    Raises:
        InputError: if there are fewer than three sizes, or a sum of h_i is 0.
    """
    n = np.array([b.examples for b in bounds], dtype=float)
    h = np.array([b.sum_h for b in bounds])
    if len(np.unique(n)) < DECAY_SIZES or not (h > 0).all():
        raise InputError(
            f"the decay of h (6) is fitted to {DECAY_SIZES} or more sizes with h above 0: got {len(np.unique(n))} sizes"
        )
    line = stats.linregress(np.log(n), np.log(h))
    half = float(line.stderr) * float(stats.t.ppf((1 + LEVEL) / 2, len(n) - 2))
    beta2 = -float(line.slope)
    largest, count = max(b.largest_loss for b in bounds), len(bounds[0].layers)
    ends = sorted(_power_from(beta, n, h, largest, count) for beta in (beta2 - half, beta2 + half))
    c2 = float((h * n**beta2).max())
    return Decay(
        beta2,
        (beta2 - half, beta2 + half),
        c2,
        math.sqrt(largest * count * c2),
        (beta2 + 1) / 2,
        _power_from(beta2, n, h, largest, count),
        (ends[0], ends[1]),
    )


def _power_from(beta2: float, n: Floats, h: Floats, largest: float, count: int) -> float:
    """n at which sqrt(C l C2) n^-(beta2 + 1) / 2 comes to be the larger of it and C n^-3/4."""
    log_c2 = float(np.mean(np.log(h) + beta2 * np.log(n)))
    log_c3, beta3 = 0.5 * (math.log(largest * count) + log_c2), (beta2 + 1) / 2
    if beta3 >= 0.75:
        return math.inf
    log_n = (math.log(largest) - log_c3) / (0.75 - beta3)
    return math.exp(min(log_n, 700.0)) if log_n > 0 else 0.0


def save_bounds(folder: str | Path, task: str, bounds: Sequence[Bound]) -> None:
    """Write the bounds of one candidate into the folder's `bound.json`, beside those of others on the same task.

    Raises:
        InputError: if that file is damaged.
    """
    path = Path(folder) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _read(path)
    known = known if known.get("task") == task else {"task": task, "candidates": {}}
    known["candidates"][bounds[0].candidate] = [b.to_dict() for b in bounds]
    write_whole(path, json.dumps(known, indent=1) + "\n")


def load_bounds(folder: str | Path, task: str | None = None) -> dict[str, list[Bound]]:
    """The bounds of every candidate in the folder's `bound.json`; none if there is no such file or another task's.

    Raises:
        InputError: if it is damaged.
    """
    path = Path(folder) / FILE_NAME
    known = _read(path)
    if task is not None and known.get("task") != task:
        return {}
    try:
        return {name: [Bound.from_dict(b) for b in rows] for name, rows in known.get("candidates", {}).items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error!r}): delete it and run lensllm bound again") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): delete it and run lensllm bound again") from error
    if not isinstance(known, dict):
        raise InputError(f"{path} is damaged: delete it and run lensllm bound again")
    return known


def decays(bounds: Mapping[str, Sequence[Bound]]) -> dict[str, Decay]:
    """(6) and (7) of every candidate that has three sizes or more."""
    return {name: fit_decay(rows) for name, rows in bounds.items() if len(rows) >= DECAY_SIZES}
