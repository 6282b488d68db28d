"""The loss that training on d examples would reach, by training in function space.

The linearised model f = f_0 + Theta alpha with Theta ~ K (x) I_V (K the `token` kernel, V the vocabulary) is trained on
the cross-entropy of d examples by gradient descent with Nesterov momentum; the logits of other examples follow through
the cross kernel:

    alpha <- alpha - eta softmax-residual(f_X),   f_0(Z) + K(Z, X) alpha

(the exact linearised dynamics of Lee et al. 2019, arXiv 1902.06720, with softmax cross-entropy.) The loss of the
weighted mean over tokens has curvature at most |K(X, X) diag(w)| / 2, whence the step 2 / (largest eigenvalue). How
long to train is chosen on held-out examples; the loss is scored on yet others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lensllm.arrays import Floats
from lensllm.errors import InputError
from lensllm.probes.kernel import Kernel

MOMENTUM = 0.9
MOST_STEPS = 400
PATIENCE = 1.5


@dataclass(frozen=True)
class KernelCurve:
    """Expected loss after training on d examples, d = 0 being the model as it is.

    Attributes:
        sizes: d, ascending, shape (S,).
        losses: nats a token, shape (S,): the loss before training on all probes, plus the mean over the random subsets
            of the change on scored examples (less noisy than the loss on scored examples alone).
        standard_error: of the mean change, over the subsets, shape (S,); NaN for one subset.
        losses_per_byte: nats a byte of completion text, shape (S,), or None without byte counts.
        steps: median number of descent steps that the held-out examples chose, shape (S,).
    """

    sizes: NDArray[np.int64]
    losses: Floats
    standard_error: Floats
    losses_per_byte: Floats | None
    steps: Floats

    def table(self) -> pd.DataFrame:
        """One row a size."""
        columns = {"examples": self.sizes, "loss": self.losses, "standard_error": self.standard_error}
        if self.losses_per_byte is not None:
            columns["loss_per_byte"] = self.losses_per_byte
        return pd.DataFrame({**columns, "steps": self.steps})


def kernel_curve(
    kernel: Kernel,
    sizes: Sequence[int] | None = None,
    *,
    held_out: int | None = None,
    scored: int | None = None,
    subsets: int = 4,
    n_bytes: ArrayLike | None = None,
    seed: int = 0,
) -> KernelCurve:
    """Loss against the number of training examples, averaged over random subsets of the probes.

    Args:
        kernel: a `token` or `pseudo` kernel of N examples.
        sizes: numbers of training examples; 1, 2, 4, ... up to N / 2 if None. Subsets are nested.
        held_out: number of examples that choose the stopping time; N / 4 if None.
        scored: number of examples that are scored; the rest if None.
        subsets: random divisions of the probes into trained, held-out and scored.
        n_bytes: bytes of each example's completion, for the loss a byte.
        seed: of the divisions.

    Raises:
        InputError: if the kernel has one row an example, or the sizes do not fit the number of examples.
    """
    examples = len(kernel.n_targets)
    held_out = max(1, examples // 4) if held_out is None else held_out
    sizes = [2**k for k in range(20) if 2**k <= examples // 2] if sizes is None else sizes
    wanted = sorted({0, *map(int, sizes)})
    scored = examples - held_out - wanted[-1] if scored is None else scored
    lengths = np.ones(examples) if n_bytes is None else np.asarray(n_bytes, dtype=float)
    _check(kernel, wanted, held_out, scored, subsets, lengths)
    owner = kernel.index[:, 0]
    weights = (kernel.n_targets / np.bincount(owner, minlength=examples))[owner]
    random = np.random.default_rng(seed)
    everywhere = np.ones(len(owner), dtype=bool)
    before = descend(kernel, ~everywhere, weights, {"all": everywhere})["all"].iloc[0]
    changes, changes_per_byte, steps = (np.zeros((subsets, len(wanted))) for _ in range(3))
    for s in range(subsets):
        order = random.permutation(examples)
        last = order[-held_out - scored : -held_out]
        watched = {"held_out": np.isin(owner, order[-held_out:]), "scored": np.isin(owner, last)}
        for column, size in enumerate(wanted):
            path = descend(kernel, np.isin(owner, order[:size]), weights, watched)
            changes[s, column], steps[s, column] = _stopped(path)
        changes_per_byte[s] = changes[s] * kernel.n_targets[last].sum() / lengths[last].sum()
    spread = changes.std(axis=0, ddof=1) / np.sqrt(subsets) if subsets > 1 else np.full(len(wanted), np.nan)
    a_byte = before * kernel.n_targets.sum() / lengths.sum() + changes_per_byte.mean(axis=0)
    return KernelCurve(
        np.array(wanted),
        before + changes.mean(axis=0),
        spread,
        None if n_bytes is None else a_byte,
        np.median(steps, axis=0),
    )


def _stopped(path: pd.DataFrame) -> tuple[float, float]:
    """Change of the scored loss where the held-out loss is lowest, and the step at which that is."""
    best = int(path["held_out"].to_numpy().argmin())
    return float(path["scored"].iloc[best] - path["scored"].iloc[0]), float(path.index[best])


def _check(kernel: Kernel, wanted: list[int], held_out: int, scored: int, subsets: int, lengths: Floats) -> None:
    if kernel.log_probs.ndim == 1:
        raise InputError("the kernel curve needs the logits: measure the kernel with output='token' or 'pseudo'")
    examples = len(kernel.n_targets)
    if wanted[0] < 0 or min(held_out, scored, subsets) < 1 or wanted[-1] + held_out + scored > examples:
        raise InputError(
            f"{examples} probe examples cannot give {wanted[-1]} to train on, {held_out} held out and "
            f"{max(scored, 1)} scored: measure more probes or ask for fewer"
        )
    if lengths.shape != (examples,) or not np.all(lengths > 0):
        raise InputError(f"n_bytes must be {examples} positive numbers, one an example")


def descend(
    kernel: Kernel,
    trained: NDArray[np.bool_],
    weights: Floats,
    watched: dict[str, NDArray[np.bool_]],
    *,
    most: int = MOST_STEPS,
    step: float | None = None,
    momentum: float = MOMENTUM,
) -> pd.DataFrame:
    """Train the linearised model on some rows and watch others.

    Args:
        kernel: with logits.
        trained: which rows to train on, shape (n,); none leaves the model as it is.
        weights: of the rows in every mean, shape (n,).
        watched: sets of rows to report.
        most: steps at most; fewer once the first watched set was best a third of them ago.
        step: eta; 2 / (largest eigenvalue of K diag(w)) if None, the largest that descends for sure.
        momentum: of Nesterov's method.

    Returns:
        Weighted mean cross-entropy, nats a token, one row a reported step (a growing grid), one column a set.
    """
    rows = np.flatnonzero(trained)
    weight = _tensor(weights[rows] / weights[rows].sum())[:, None]
    views = {name: np.flatnonzero(mask) for name, mask in watched.items()}
    blocks = {name: _tensor(kernel.gram[np.ix_(view, rows)]) for name, view in views.items()}
    gram = _tensor(kernel.gram[np.ix_(rows, rows)])
    start = _tensor(kernel.log_probs)
    targets = torch.tensor(kernel.index[:, 2])
    own, own_targets = start[rows], targets[rows]
    if len(rows) and step is None:
        half = weight.sqrt()
        step = 2 / float(torch.linalg.eigvalsh((half * gram * half.T).double())[-1])
    alpha = torch.zeros_like(own)
    velocity = torch.zeros_like(own)
    found: dict[int, list[float]] = {}
    for time in range(most + 1 if len(rows) else 1):
        if _reported(time):
            found[time] = [
                _loss(start[view] + blocks[name] @ alpha, targets[view], weights[view]) for name, view in views.items()
            ]
            history = [losses[0] for losses in found.values()]
            if time >= 12 and time >= PATIENCE * list(found)[int(np.argmin(history))]:
                break
        residual = torch.softmax(own + gram @ alpha, -1)
        residual[torch.arange(len(rows)), own_targets] -= 1
        velocity = momentum * velocity + weight * residual
        alpha -= float(step or 0) * (weight * residual + momentum * velocity)
    return pd.DataFrame.from_dict(found, orient="index", columns=list(views))


def _tensor(array: NDArray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)


def _reported(time: int) -> bool:
    """0 to 8 and then about eight times a doubling."""
    return time <= 8 or time % max(1, 2 ** (time.bit_length() - 4)) == 0


def _loss(logits: Tensor, targets: Tensor, weights: Floats) -> float:
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double()
    return float(losses @ torch.tensor(weights) / weights.sum())
