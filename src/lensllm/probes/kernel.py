"""The empirical neural tangent kernel of a language model on a handful of examples.

    Theta(i, j) = <grad_theta f_i, grad_theta f_j>      (LensLLM, arXiv 2505.03793, equation 8)

for three choices of f. `scalar`: the mean log-probability of an example's completion, one row an example. `token`: the
logits at every completion token, averaged over the vocabulary, tr(P Theta_ij P) / V, by random directions P xi, xi in
{-1, +1}^V / sqrt(V), whose inner products are unbiased (Hutchinson 1989); P subtracts the mean over the vocabulary,
because a shift common to all logits changes no probability and its kernel, large in trained models, would be noise.
`pseudo`: the one direction of all ones, 1 / sqrt(V) (the pseudo-NTK of Mohamadi, Bae, Sutherland 2023, arXiv
2206.12543), which is just that shift.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lensllm.errors import InputError
from lensllm.probes.gram import grams, not_finite
from lensllm.probes.rows import Rows, UnpaddedExample, base_model, inputs_of, read_examples

Output = Literal["scalar", "token", "pseudo"]


@dataclass(frozen=True)
class Kernel:
    """A kernel with what is needed to use it.

    Attributes:
        gram: Theta, shape (n, n), symmetric, positive semi-definite within rounding.
        log_probs: the model before training; `token` and `pseudo`: log-probabilities of the whole vocabulary at each
            row's position, shape (n, V); `scalar`: mean log-probability of each example's completion, shape (n,). Nats.
        index: (example, position of the token in the example without padding, token) of each row, shape (n, 3); -1 for
            position and token where a row is a whole example.
        n_targets: completion tokens of each example, whether they are rows or not, shape (examples,).
        standard_error: what the random vectors and projections leave: Frobenius norm of the entries' standard errors
            over that of the kernel; 0 where nothing is random, NaN where one draw cannot tell.
    """

    gram: NDArray[np.float64]
    log_probs: NDArray[np.float32]
    index: NDArray[np.int64]
    n_targets: NDArray[np.int64]
    standard_error: float

    @property
    def residual(self) -> NDArray[np.float64]:
        """f_0(X) - y: softmax minus the one-hot target, (n, V); for `scalar` the log-probabilities minus 0, (n,)."""
        if self.log_probs.ndim == 1:
            return self.log_probs.astype(float)
        residual = np.exp(self.log_probs.astype(float))
        residual[np.arange(len(residual)), self.index[:, 2]] -= 1
        return residual

    def save(self, path: str | Path) -> None:
        """Write every attribute and the residual to a compressed .npz file, which appears whole or not at all.

        Raises:
            InputError: if the folder does not exist or cannot be written to.
        """
        path = Path(path)
        unfinished = path.with_name(path.name + ".part")
        try:
            opened = open(unfinished, "wb")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error
        with opened as file:
            np.savez_compressed(
                file,
                gram=self.gram,
                log_probs=self.log_probs,
                residual=self.residual.astype(np.float32),
                index=self.index,
                n_targets=self.n_targets,
                standard_error=np.array(self.standard_error),
            )
        unfinished.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Kernel:
        """Read what `save` wrote.

        Raises:
            InputError: if the file is missing or is not a kernel.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                gram, log_probs, index, n_targets, standard_error = (file[field.name] for field in fields(cls))
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} is not a saved kernel: {error}") from error
        return cls(gram, log_probs, index, n_targets, float(standard_error))


def kernel(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    output: Output = "token",
    *,
    vectors: int = 1,
    tokens: int | None = None,
    projection: int | None = None,
    seed: int = 0,
    memory: int = 2**30,
) -> Kernel:
    """The empirical neural tangent kernel over the parameters that require a gradient.

    Exact up to rounding for the given vectors: layer by layer, from layer inputs and output gradients.

    Args:
        model: causal or encoder-decoder transformers model, with or without adapters, in float32 or float64.
        batches: `input_ids`, `labels` (-100 where no loss is taken), optional `attention_mask`; padding is removed.
        output: f, see the module's head.
        vectors: random directions that a `token` kernel averages over; the error falls as 1 / sqrt(vectors).
        tokens: at most so many completion tokens of an example become rows, drawn at random; all of them if None.
        projection: replace the input a and the output gradient g of every linear layer by random projections onto so
            many dimensions each (LoGra: Choe et al. 2024, arXiv 2405.13954), twice independently; None is exact.
        seed: of vectors, projections and drawn tokens.
        memory: bytes for stored output gradients; when they need more, layers are measured a group at a time.

    Raises:
        InputError: if an example has no label left, the model is no language model in full precision, nothing is
            trainable, a derivative is missing or a value is not finite; the example or layer is named.
    """
    parameters = _checked(model, output, vectors, tokens, projection)
    random = np.random.default_rng(seed)
    examples = read_examples(model, batches)
    with _evaluating(model), torch.enable_grad():
        rows, index = _rows(examples, output == "scalar", tokens, random)
        log_probs = None if rows.scalar else _before_training(model, rows, index)
        vocabulary = _vocabulary(model) if log_probs is None else log_probs.shape[-1]
        directions = _directions(output, vectors, vocabulary, next(iter(parameters.values())), random)
        draws, values = grams(
            model, parameters, rows, directions, log_probs, vocabulary, projection, int(random.integers(2**31)), memory
        )
    if vectors > 1 and projection is not None:
        draws = [(one + other) / 2 for one, other in zip(draws[::2], draws[1::2], strict=True)]
    gram = np.mean(draws, axis=0)
    certain = output != "token" and projection is None
    return Kernel(
        gram,
        values if log_probs is None else log_probs,
        index,
        np.array([len(example.targets) for example in examples]),
        0.0 if certain else _standard_error(draws, gram),
    )


def _checked(
    model: nn.Module, output: Output, vectors: int, tokens: int | None, projection: int | None
) -> dict[str, nn.Parameter]:
    """The parameters of the kernel by name, once everything that was asked for makes sense."""
    if output not in ("scalar", "token", "pseudo"):
        raise InputError(f"output is 'scalar', 'token' or 'pseudo', got {output!r}")
    for name, value in (("vectors", vectors), ("tokens", tokens), ("projection", projection)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if output != "token" and vectors > 1:
        raise InputError(f"{vectors} random vectors make sense for output='token' only, got {output!r}")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise InputError("no parameter requires a gradient: the kernel over nothing is empty")
    for name, parameter in parameters.items():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise InputError(f"{name} is {parameter.dtype}: load the model with dtype=torch.float32 for a kernel")
    return parameters


def _directions(
    output: Output, vectors: int, vocabulary: int, like: Tensor, random: np.random.Generator
) -> list[Tensor | None]:
    """What the logits of a row are projected on: random centred signs, the constant, or nothing for one scalar."""
    if output == "scalar":
        return [None]
    if output == "pseudo":
        return [like.new_full((vocabulary,), vocabulary**-0.5)]
    signs = random.integers(0, 2, (vectors, vocabulary)) * 2.0 - 1
    centred = (signs - signs.mean(1, keepdims=True)) / math.sqrt(vocabulary)
    return [torch.tensor(row).to(like) for row in centred]


def _standard_error(draws: list[NDArray[np.float64]], gram: NDArray[np.float64]) -> float:
    if len(draws) < 2:
        return math.nan
    variance = sum(np.square(draw - gram).sum() for draw in draws) / (len(draws) - 1) / len(draws)
    return float(math.sqrt(variance) / np.linalg.norm(gram))


def _rows(
    examples: list[UnpaddedExample], scalar: bool, tokens: int | None, random: np.random.Generator
) -> tuple[Rows, NDArray[np.int64]]:
    if scalar:
        lengths = [int(example.positions[-1]) + 1 for example in examples]
        return Rows(examples, list(range(len(examples))), lengths, True), np.array(
            [(e, -1, -1) for e in range(len(examples))]
        )
    index = []
    for e, example in enumerate(examples):
        places = np.arange(len(example.positions))
        if tokens is not None and tokens < len(places):
            places = np.sort(random.choice(places, tokens, replace=False))
        for place in places:
            index.append((e, int(example.positions[place]) + example.offset, int(example.targets[place])))
    table = np.array(index)
    lengths = [position - examples[e].offset + 1 for e, position, _ in index]
    return Rows(examples, table[:, 0].tolist(), lengths, False), table


def _before_training(model: nn.Module, rows: Rows, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log-probabilities at each token by whole examples, in which nothing was cut off."""
    whole = Rows(
        rows.examples, list(range(len(rows.examples))), [len(example.inputs) for example in rows.examples], True
    )
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        for chunk in whole.chunks(_vocabulary(model)):
            inputs = inputs_of(model, whole, chunk)
            logits = model(**inputs.model_inputs).logits
            for place, e in enumerate(chunk):
                mine = index[index[:, 0] == e, 1] - whole.examples[e].offset - inputs.first
                found[e] = torch.log_softmax(logits[place, mine].float(), -1)
                if not torch.isfinite(found[e]).all():
                    raise not_finite(e)
    return torch.cat([found[e] for e in range(len(rows.examples))]).cpu().numpy()


def _vocabulary(model: nn.Module) -> int:
    return int(base_model(model).get_output_embeddings().weight.shape[0])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was
