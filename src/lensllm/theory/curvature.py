"""The curvature of a model's loss, one layer at a time: products with its Hessian, and what is read from them.

A layer is a transformer block or a single parameter; its Hessian is that of the loss with respect to its parameters
alone, all others held still. Nothing of the size of a Hessian is ever formed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from lensllm.arrays import Floats
from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.errors import InputError
from lensllm.tasks.encoded import IGNORED, Encoded, collate
from lensllm.theory.lanczos import Lanczos, Matvec, bracket
from lensllm.tuning.loss import first_labelled, keeps_logits

Per = Literal["block", "matrix"]

OUTSIDE = "outside the blocks"
AT_ONCE = 8
RELATIVE = 0.1
MAX_STEPS = 10
MORE = 1.25  # the interval costs more the more steps there are, so it is looked at after a quarter more of them


def layers(model: PreTrainedModel, per: Per = "block") -> dict[str, list[str]]:
    """Names of the trainable parameters of every layer.

    Per block, a layer is an entry of the model's numbered blocks; embeddings, output head and last norms are one more.
    Per matrix, every parameter is a layer.

    Raises:
        InputError: if nothing can be trained.
    """
    found: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            block = re.match(r".*?\.\d+(?=\.)", name)
            layer = name if per == "matrix" else block.group() if block else OUTSIDE
            found.setdefault(layer, []).append(name)
    if not found:
        raise InputError("no parameter requires a gradient: there is no layer to take the curvature of")
    return found


def flatten(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """These tensors end to end, shape (p,)."""
    return torch.cat([tensors[name].detach().flatten() for name in names])


def use_eager_attention(model: PreTrainedModel) -> None:
    """Switch to the attention that has a second derivative, and say so once where that changes anything."""
    if model.config._attn_implementation != "eager":
        warnings.warn(
            f"attention {model.config._attn_implementation!r} has no second derivative: "
            "the curvature is taken with 'eager', which computes the same",
            stacklevel=2,
        )
        model.set_attn_implementation("eager")


class LayerHessian:
    """Hessians of the losses of m examples with respect to one layer.

    The loss of an example is its negative log-probability in nats a byte of completion. Products are
    grad_w <grad_w L, u>, so that any model of transformers works that can be differentiated twice; examples go through
    together, each with a direction of its own (`torch.func.vmap`).

    Args:
        model: used in evaluation mode with eager attention, which it is left in.
        layer: names of its parameters.
        examples: m of them.
        name: of the layer, for messages.

    Attributes:
        size: number p of parameters.
        products: number of Hessian-vector products made, one an example each.
    """

    def __init__(self, model: PreTrainedModel, layer: Sequence[str], examples: Sequence[Encoded], name: str) -> None:
        use_eager_attention(model)
        model.eval()
        self.name = name
        self.products = 0
        self._model, self._layer, self._examples = model, list(layer), list(examples)
        parameters = dict(model.named_parameters())
        self._fixed = {key: p.detach() for key, p in parameters.items() if key not in self._layer}
        self._part = {key: parameters[key].detach() for key in self._layer}
        self.size = sum(p.numel() for p in self._part.values())

    def __len__(self) -> int:
        return len(self._examples)

    def each(self, vectors: Tensor, which: np.ndarray) -> Tensor:
        """Each row, shape (r, p), times the Hessian of the example `which` names, shape (r,).

        Raises:
            InputError: naming the layer, if a product is not finite; naming the architecture, if it has none.
        """
        result = torch.empty_like(vectors)
        for rows in self._batches(which):
            batch = self._batch([self._examples[i] for i in which[rows]])
            result[torch.as_tensor(rows)] = self._products(vectors[torch.as_tensor(rows)], batch)
        return self._finite(result)

    def _products(self, vectors: Tensor, batch: dict[str, Tensor]) -> Tensor:
        try:
            return vmap(self._product)(vectors, batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            kind = self._model.config.model_type
            raise InputError(
                f"{kind} has an operation without a second derivative for each example, so its curvature cannot be "
                f"measured ({str(error).strip().splitlines()[0][:120]})"
            ) from error

    def mean(self, vectors: Tensor, which: np.ndarray) -> Tensor:
        """Each row, shape (r, p), times the Hessian of the mean loss of all examples; `which` is not looked at.

        Raises:
            InputError: naming the layer, if a product is not finite.
        """
        result = torch.zeros_like(vectors)
        for rows in self._batches(np.arange(len(self))):
            batch = {key: t[:, 0] for key, t in self._batch([self._examples[i] for i in rows]).items()}
            for row, vector in enumerate(vectors):
                result[row] += self._product(vector, batch) / len(self)
        self.products += len(vectors) * (len(self) - 1)
        return self._finite(result)

    def flops(self) -> float:
        """Floating-point operations of one product of every example, by torch's counter."""
        with FlopCounterMode(display=False) as counter:
            self.each(torch.zeros(len(self), self.size, dtype=self._model.dtype), np.arange(len(self)))
        self.products -= len(self)
        return float(counter.get_total_flops())

    def _product(self, vector: Tensor, batch: dict[str, Tensor]) -> Tensor:
        shapes = [self._part[key].shape for key in self._layer]
        pieces = vector.split([shape.numel() for shape in shapes])
        direction = {key: u.view(s) for key, u, s in zip(self._layer, pieces, shapes, strict=True)}

        def along(part: dict[str, Tensor]) -> Tensor:
            slope = grad(self._loss)(part, batch)
            return torch.stack([(slope[key] * direction[key]).sum() for key in self._layer]).sum()

        product = grad(along)(self._part)
        return torch.cat([product[key].flatten() for key in self._layer])

    def _loss(self, part: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """Sum of the losses of a batch's rows."""
        labels = batch["labels"]
        inputs: dict[str, Any] = {"input_ids": batch["input_ids"], "use_cache": False}
        inputs["attention_mask"] = torch.ones(inputs["input_ids"].shape, device=labels.device)
        if "decoder_input_ids" in batch:
            inputs["decoder_input_ids"] = batch["decoder_input_ids"]
        elif keeps_logits(self._model):
            inputs["logits_to_keep"] = labels.shape[1] + 1
        logits = functional_call(self._model, {**self._fixed, **part}, (), inputs).logits
        if "decoder_input_ids" not in batch:
            logits = logits[:, -labels.shape[1] - 1 : -1]
        nats = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        return (nats.sum(1) / batch["n_bytes"]).sum()

    def _batches(self, which: np.ndarray) -> Iterator[np.ndarray]:
        """Positions in `which` to run together: an encoder's inputs of one length, so that no mask is needed."""
        encoder = self._model.config.is_encoder_decoder
        lengths = [(len(self._examples[i].input_ids), len(self._examples[i].labels)) for i in which]
        order = sorted(range(len(which)), key=lambda row: lengths[row])
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and end - start < AT_ONCE:
                if encoder and lengths[order[end]][0] != lengths[order[start]][0]:
                    break
                end += 1
            yield np.array(order[start:end])
            start = end

    def _batch(self, examples: Sequence[Encoded]) -> dict[str, Tensor]:
        """Rows of (1, length) each; what a causal model reads behind an example's end changes nothing before it."""
        batch = {key: tensor.to(self._model.device) for key, tensor in collate(examples).items()}
        del batch["attention_mask"]
        if self._model.config.is_encoder_decoder:
            batch["decoder_input_ids"] = decoder_inputs(self._model, batch["labels"])
        else:
            batch["labels"] = batch["labels"][:, first_labelled(batch["labels"]) + 1 :]
        n_bytes = torch.tensor([float(example.n_bytes) for example in examples], dtype=self._model.dtype)
        batch["n_bytes"] = n_bytes.to(self._model.device)
        return {key: tensor.unsqueeze(1) for key, tensor in batch.items()}

    def _finite(self, result: Tensor) -> Tensor:
        self.products += len(result)
        if not torch.isfinite(result).all():
            raise InputError(
                f"layer {self.name!r}: a product with its Hessian is not finite, so the curvature of this model cannot "
                "be measured; its weights or its losses are too large or not numbers"
            )
        return result


@dataclass(frozen=True)
class Quadrature:
    """v^T H^+ v of m problems.

    Attributes:
        value: middle of the interval, shape (m,).
        error: half the interval: the true value lies within `value` +- `error`, up to rounding, shape (m,).
        steps: products with H that each took, shape (m,).
    """

    value: Floats
    error: Floats
    steps: np.ndarray


def positive_part(
    matvec: Matvec,
    start: Tensor,
    *,
    relative: float = RELATIVE,
    of_largest: bool = False,
    max_steps: int = MAX_STEPS,
) -> Quadrature:
    """v^T H^+ v by Lanczos started at v (`lensllm.theory.lanczos`), with as many steps as its interval asks for.

    H^+ is H with its negative eigenvalues set to 0. A problem is done once half its interval is `relative` of its own
    value or, with `of_largest`, of the largest of the m values, which is what a maximum and a mean over them need.

    Args:
        matvec: products with each problem's H.
        start: v of each problem, shape (m, p).
        relative: half width of the interval that is good enough.
        of_largest: measure it by the largest value.
        max_steps: after so many products the interval is taken as it is.
    """
    m = len(start)
    lower, upper, steps = np.zeros(m), np.zeros(m), np.zeros(m, dtype=int)
    active = np.flatnonzero(start.double().norm(dim=1).cpu().numpy() > 0)
    lanczos = Lanczos(matvec, start)
    eps = torch.finfo(start.dtype).eps
    last = min(max_steps, start.shape[1])
    checked = 0
    for step in range(1, last + 1):
        if not active.size:
            break
        lanczos.step(active)
        steps[active] += 1
        if step < last and step < MORE * checked:
            continue
        checked = step
        found = lanczos.found(active)
        lower[active], upper[active] = bracket(found)
        rounding = eps * found.square * np.abs(found.alpha).max(1)
        lower[active], upper[active] = np.maximum(lower[active] - rounding, 0.0), upper[active] + rounding
        enough = relative * (lower.max() if of_largest else (lower + upper)[active] / 2)
        active = active[(upper - lower)[active] / 2 > np.maximum(enough, 2 * rounding)]
    return Quadrature((lower + upper) / 2, (upper - lower) / 2, steps)


@dataclass(frozen=True)
class Eigenvalues:
    """The largest eigenvalues, descending, and for each how far an eigenvalue of H can be from it, shapes (count,)."""

    value: Floats
    error: Floats


def largest_eigenvalues(
    matvec: Matvec, start: Tensor, count: int = 1, *, relative: float = 1e-2, max_steps: int = 60
) -> Eigenvalues:
    """The `count` largest eigenvalues of one H by Lanczos from a random `start`, shape (p,).

    A Ritz value theta with eigenvector s of T_k has an eigenvalue of H within beta_k |s_k| (Parlett 1998, 4.5.1); steps
    are added until that is `relative` of the largest in size, for each of them.

    Raises:
        InputError: if more eigenvalues are asked for than there are parameters.
    """
    if not 1 <= count <= len(start):
        raise InputError(f"asked for {count} eigenvalues of a layer with {len(start)} parameters")
    one = np.array([0])
    lanczos = Lanczos(matvec, start[None])
    for step in range(1, min(max_steps, len(start)) + 1):
        lanczos.step(one)
        found = lanczos.found(one)
        theta, vectors = np.linalg.eigh(found.matrices()[0])
        error = found.beta[0, -1] * np.abs(vectors[-1])
        good = (error[-count:] <= relative * np.abs(theta).max()).all()
        if found.beta[0, -1] == 0 or (step >= count and good):
            break
    return Eigenvalues(theta[::-1][:count], error[::-1][:count])


@dataclass(frozen=True)
class Trace:
    """The trace of H and its standard error over random vectors."""

    value: float
    standard_error: float
    vectors: int


def trace(
    matvec: Matvec, size: int, *, relative: float = 0.05, least: int = 8, most: int = 256, seed: int = 0
) -> Trace:
    """The trace of one H with `size` rows: the mean of z^T H z over z in {-1, +1}^p (Hutchinson 1989).

    Vectors are added until the standard error is `relative` of the mean, at least `least` and at most `most`.
    """
    generator = torch.Generator().manual_seed(seed)
    values: list[float] = []
    error = np.inf
    while len(values) < most and (len(values) < least or error > relative * abs(np.mean(values))):
        z = torch.randint(0, 2, (1, size), generator=generator).float() * 2 - 1
        values.append(float((z * matvec(z, np.array([0])).float()).sum()))
        error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf
    return Trace(float(np.mean(values)), error, len(values))


@dataclass(frozen=True)
class Density:
    """Spectral density at `eigenvalues`, shapes (points,); it integrates to 1."""

    eigenvalues: Floats
    density: Floats


def spectral_density(
    matvec: Matvec, size: int, *, vectors: int = 4, steps: int = 30, points: int = 400, seed: int = 0
) -> Density:
    """How the eigenvalues of one H are spread: stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).

    The Gauss rules of `vectors` random directions, each node a normal density whose width is 1 % of the range.
    """
    generator = torch.Generator().manual_seed(seed)
    nodes, weights = [], []
    for _ in range(vectors):
        lanczos = Lanczos(matvec, torch.randn((1, size), generator=generator))
        for _ in range(min(steps, size)):
            lanczos.step(np.array([0]))
            found = lanczos.found(np.array([0]))
            if found.beta[0, -1] == 0:
                break
        theta, eigenvectors = np.linalg.eigh(found.matrices()[0])
        nodes.append(theta)
        weights.append(eigenvectors[0] ** 2 / vectors)
    node, weight = np.concatenate(nodes), np.concatenate(weights)
    span = float(np.ptp(node)) or 1.0
    width = 0.01 * span
    at = np.linspace(node.min() - 0.05 * span, node.max() + 0.05 * span, points)
    kernel = np.exp(-0.5 * ((at[:, None] - node) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return Density(at, kernel @ weight)
