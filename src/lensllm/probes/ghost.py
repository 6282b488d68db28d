"""Per-row gradients as a forward and a backward pass leave them: layer inputs and output gradients, never multiplied.

The gradient of a row with respect to a linear layer's weight is sum_p g_p a_p^T over positions p, with a_p the layer's
input and g_p the gradient at its output. Both are there after one batched pass, so inner products between rows need no
gradient per row ("ghost" products: Goodfellow 2015, arXiv 1510.01799; Li et al. 2022, arXiv 2110.05679).

Every use of a parameter is seen as the torch call that takes it, whatever module makes the call: linear layers,
embeddings, layer norms, scales and biases, tied or used several times. A parameter with any other use is left to
`row_gradients`, one backward pass a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

MULTIPLICATIONS = (torch.mul, torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__)


@dataclass
class ParameterUse:
    """One call that takes a parameter.

    Attributes:
        parameter: its name.
        kind: `linear` (out x in weight), `linear_t` (in x out weight), `embedding`, `scale` (output = x * weight),
            `shift` (output = x + bias) or `broadcast` (a function of parameters alone, the same for every row).
        inputs: what multiplies the weight, (R, m, d_in); token ids, (R, m), for an embedding; None for a shift;
            for a broadcast the output itself, with its graph.
        output: tensor whose gradient is wanted.
        version: version counter of `output` when it was made.
        shape: (R, m, d_out) of the gradient.
        keep: 1 where a position counts, (R, m), for an embedding with a padding index; else None.
    """

    parameter: str
    kind: str
    inputs: Tensor | None
    output: Tensor
    version: int
    shape: tuple[int, ...]
    keep: Tensor | None = None
    gradient: Tensor | None = None

    @property
    def has_gradient(self) -> bool:
        """Whether the outputs depend on this use."""
        return self.gradient is not None


class Capture(TorchFunctionMode):
    """Records the uses of named parameters in a forward pass of `rows` rows.

    Attributes:
        uses: in the order of the calls.
        unusual: names of parameters with a use that is not understood, or not one row at a time.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], rows: int, lengths: frozenset[int]) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in parameters.items()}
        self.rows = rows
        self.lengths = lengths
        self.uses: list[ParameterUse] = []
        self.unusual: set[str] = set()
        self._shared: dict[int, str] = {}
        self._alive: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: dict | None = None
    ) -> Any:
        """Run the call; note it if it takes a parameter."""
        kwargs = kwargs or {}
        values = [*args, *kwargs.values()]
        taken = _known(values, self.names)
        shared = _known(values, self._shared)
        result = func(*args, **kwargs)
        if not (taken or shared) or _is_description(result) or any(result is value for value in values):
            return result
        if shared and not taken:
            return self._continue(result, shared, values)
        record = None if shared else _RECORDERS.get(func)
        if record is None:
            self.unusual.update(taken + shared)
            return result
        return record(self, result, taken, *args, **kwargs)

    def _name(self, value: Any) -> str | None:
        return self.names.get(id(value))

    def by_row(self, tensor: Tensor) -> Tensor | None:
        """The tensor as (rows, positions, features), or None where its dimensions do not say which are rows."""
        if self.rows == 1:
            return tensor.reshape(1, -1, tensor.shape[-1])
        if tensor.dim() > 1 and len(tensor) == self.rows:
            return tensor.reshape(self.rows, -1, tensor.shape[-1])
        if tensor.dim() == 2 and any(len(tensor) == self.rows * length for length in self.lengths):
            return tensor.reshape(self.rows, -1, tensor.shape[-1])
        return None

    def _add(self, name: str | None, kind: str, inputs: Tensor | None, output: Tensor, keep: Tensor | None) -> None:
        if name is None:
            return
        by_row = self.by_row(output)
        if by_row is None:
            self.unusual.add(name)
            return
        if inputs is not None:
            inputs = inputs.detach()
        self.uses.append(ParameterUse(name, kind, inputs, output, output._version, tuple(by_row.shape), keep))

    def _linear(self, result: Tensor, taken: list[str], input: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
        self._product(result, input, weight, bias, "linear")
        return result

    def _addmm(
        self, result: Tensor, taken: list[str], bias: Tensor, input: Tensor, weight: Tensor, **scales: Any
    ) -> Tensor:
        if scales or bias.dim() != 1:
            self.unusual.update(taken)
        else:
            self._product(result, input, weight, bias, "linear_t")
        return result

    def _product(self, result: Tensor, input: Tensor, weight: Tensor, bias: Any, kind: str) -> None:
        if self._name(input) is not None:
            self.unusual.add(str(self._name(input)))
        if self._name(weight) is not None:
            inputs = self.by_row(input)
            if inputs is None:
                self.unusual.add(self.names[id(weight)])
            else:
                self._add(self._name(weight), kind, inputs, result, None)
        self._add(self._name(bias), "shift", None, result, None)

    def _embedding(
        self,
        result: Tensor,
        taken: list[str],
        input: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor:
        if max_norm is not None or scale_grad_by_freq:
            self.unusual.update(taken)
            return result
        if input.dim() == 2 and len(input) == 1 and self.rows > 1:
            input, result = input.expand(self.rows, -1), result.expand(self.rows, -1, -1)
        if input.dim() != 2 or len(input) != self.rows:
            return self._follow(result, taken[0])
        keep = None if padding_idx is None else input != padding_idx % len(weight)
        self._add(taken[0], "embedding", input, result, keep)
        return result

    def _follow(self, tensor: Tensor, name: str) -> Tensor:
        self._shared[id(tensor)] = name
        self._alive.append(tensor)
        return tensor

    def _continue(self, result: Any, shared: list[str], values: Sequence[Any]) -> Any:
        """Follow a tensor made of one parameter alone until it is an attention bias to spread over the rows."""
        if len(shared) > 1 or not isinstance(result, Tensor) or sum(isinstance(v, Tensor) for v in values) > 1:
            self.unusual.update(shared)
            return result
        if result.dim() != 4 or len(result) != 1:
            return self._follow(result, shared[0])
        spread = result.expand(self.rows, -1, -1, -1)
        self.uses.append(ParameterUse(shared[0], "broadcast", result, spread, spread._version, tuple(spread.shape)))
        return spread

    def _layer_norm(
        self,
        result: Tensor,
        taken: list[str],
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        if len(normalized_shape) != 1:
            self.unusual.update(taken)
            return result
        if self._name(weight) is not None:
            with torch.no_grad():
                normed = self.by_row(F.layer_norm(input, tuple(normalized_shape), None, None, eps))
            if normed is None:
                self.unusual.update(taken)
                return result
            self._add(self._name(weight), "scale", normed, result, None)
        self._add(self._name(bias), "shift", None, result, None)
        return result

    def _multiply(self, result: Tensor, taken: list[str], one: Any, other: Any) -> Tensor:
        weight, factor = (one, other) if self._name(one) is not None else (other, one)
        factor_by_row = self.by_row(factor) if isinstance(factor, Tensor) and factor.dim() > 1 else None
        if len(taken) > 1 or weight.dim() != 1 or factor_by_row is None or factor_by_row.shape[-1] != len(weight):
            self.unusual.update(taken)
        else:
            self._add(taken[0], "scale", factor_by_row, result, None)
        return result

    def gradients(self, outputs: Tensor) -> None:
        """Differentiate the sum of `outputs`, one value a row, and fill in `gradient` of every use."""
        used = [use for use in self.uses if use.parameter not in self.unusual]
        changed = {use.parameter for use in used if use.output._version != use.version}
        self.unusual |= changed
        self.uses = [use for use in used if use.parameter not in changed]
        for use in self.uses:
            if not use.output.requires_grad:
                self.unusual.add(use.parameter)
        self.uses = [use for use in self.uses if use.parameter not in self.unusual]
        if not self.uses:
            return
        found = torch.autograd.grad(
            outputs.sum(),
            [use.output for use in self.uses],
            allow_unused=True,
            retain_graph=any(use.kind == "broadcast" for use in self.uses),
        )
        for use, gradient in zip(self.uses, found, strict=True):
            if gradient is not None:
                use.gradient = gradient if use.kind == "broadcast" else gradient.reshape(use.shape)


_RECORDERS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.linear: Capture._linear,
    torch.addmm: Capture._addmm,
    F.embedding: Capture._embedding,
    F.layer_norm: Capture._layer_norm,
    **dict.fromkeys(MULTIPLICATIONS, Capture._multiply),
}


def _known(values: Sequence[Any], names: dict[int, str]) -> list[str]:
    """Names of the values that have one, looked for in lists and tuples too."""
    found = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _known(value, names)
        elif id(value) in names:
            found.append(names[id(value)])
    return found


def _is_description(result: Any) -> bool:
    """Whether a call told something about a parameter (its dtype, its device) and made no tensor of it."""
    return not isinstance(result, (Tensor, list, tuple))


def small_gradient(use: ParameterUse, parameter: Tensor) -> Tensor:
    """Gradients of R rows with respect to a scale, a shift or a broadcast parameter, shape (R, size)."""
    gradient = use.gradient
    assert gradient is not None
    if use.kind == "shift":
        return gradient.sum(1)
    if use.kind == "scale":
        assert use.inputs is not None
        return (gradient * use.inputs).sum(1)
    assert use.inputs is not None
    pulled = torch.autograd.grad(use.inputs, parameter, gradient[:, None], is_grads_batched=True, retain_graph=True)[0]
    return pulled.reshape(len(gradient), -1)


def dense_gradient(use: ParameterUse, parameter: Tensor) -> Tensor:
    """The gradients themselves, shape (R, *parameter.shape); for few rows only."""
    gradient, inputs = use.gradient, use.inputs
    assert gradient is not None
    if use.kind == "linear":
        return torch.einsum("rpo,rpi->roi", gradient, inputs)
    if use.kind == "linear_t":
        return torch.einsum("rpi,rpo->rio", inputs, gradient)
    if use.kind == "embedding":
        assert inputs is not None
        kept = gradient if use.keep is None else gradient * use.keep[..., None]
        dense = parameter.new_zeros(len(gradient), *parameter.shape)
        for row, ids, vectors in zip(dense, inputs, kept, strict=True):
            row.index_add_(0, ids, vectors)
        return dense
    return small_gradient(use, parameter).reshape(-1, *parameter.shape)


def row_gradients(output: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Gradient of one row's output with respect to these parameters, flat, by plain autograd."""
    found = torch.autograd.grad(output, list(parameters), allow_unused=True, retain_graph=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(parameters, found, strict=True)]
    )
