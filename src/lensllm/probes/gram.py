"""Inner products of the gradients of all rows, parameter by parameter, without ever holding a gradient of everything.

For a weight with per-row factors A_i (m, d_in) and G_i (m, d_out), W_i = sum_p a_ip g_ip^T, three ways lead to
<W_i, W_j>; the cheapest is taken:

- `direct`: form W_i for a block of output columns, multiply, add, forget: n^2 d_in d_out;
- `pairs`: sum_pq <a_ip, a_jq> <g_ip, g_jq>, for few positions a row (the head, the last block): (n m)^2 (d_in + d_out);
- `shared`: rows of one example share A, so <W_i, W_j> = <G_i, (A_e A_e'^T) G_j>: n^2 m d_out and a little more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lensllm.errors import InputError
from lensllm.probes.ghost import Capture, ParameterUse, dense_gradient, row_gradients, small_gradient
from lensllm.probes.rows import Rows, inputs_of

FEATURES = 8192
FEATURE_NUMBERS = 2**22  # formed at a time, 16 MB
PAIR_BLOCK = 1024
POSITION_NUMBERS = 2**23  # output gradients of a batch; what autograd keeps beside them is a few times as much
LOOKUP_COST = 64
CHECKED_ROWS = 3


@dataclass
class FactorPair:
    """What one use of a weight left for a chunk of rows.

    Attributes:
        rows: shape (R,).
        left: output gradients, (R, m, d_out); or token ids, (R, m), for an embedding.
        right: layer inputs, (R, m, d_in), or None where the rows share their examples' inputs; for an embedding the
            output gradients.
    """

    rows: Tensor
    left: Tensor
    right: Tensor | None


@dataclass
class Weight:
    """All pieces of one weight; `shared` holds the layer inputs of each example where rows share them."""

    pieces: list[FactorPair] = field(default_factory=list)
    shared: dict[int, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the layer; an embedding has its number of used tokens for outputs."""
        dense = [piece.left.shape[-1] for piece in self.pieces if piece.left.is_floating_point()]
        right = self.pieces[0].right
        d_in = right.shape[-1] if right is not None else next(iter((self.shared or {}).values())).shape[-1]
        return (dense[0] if dense else 1 + max(int(piece.left.max()) for piece in self.pieces)), d_in


class UnusualError(Exception):
    """A parameter that seemed usual had an unusual use in a later chunk."""


class GramSum:
    """Adds up n x n inner products in float64; what comes below the diagonal is not read."""

    def __init__(self, n: int, device: torch.device) -> None:
        self.total = torch.zeros(n, n, dtype=torch.float64, device=device)

    def add_features(self, features: Tensor) -> None:
        """Add F F^T for features F of shape (n, k)."""
        n = len(features)
        step = -(-n // max(1, min(8, n // 32)))
        for start in range(0, n, step):
            self.total[start : start + step, start:] += features[start : start + step] @ features[start:].T

    def symmetric(self) -> Tensor:
        """The whole matrix."""
        upper = torch.triu(self.total)
        return upper + torch.triu(upper, 1).T


def grams(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    rows: Rows,
    directions: Sequence[Tensor | None],
    log_probs: NDArray[np.float32] | None,
    vocabulary: int,
    projection: int | None,
    seed: int,
    memory: int,
) -> tuple[list[NDArray[np.float64]], NDArray[np.float32]]:
    """Independent draws of the kernel, one a direction, two a direction under random projections; and f, shape (n,).

    `log_probs` of rows that were cut short are those of the whole examples, to compare with; None where none was.
    """
    truth = None
    if log_probs is not None:
        truth = torch.as_tensor(log_probs, device=next(iter(parameters.values())).device)
    unusual, sizes = _check(model, parameters, rows, directions[0], truth)
    positions = max(len(rows.source(i)) + rows.length[i] for i in range(len(rows)))
    chunks = list(rows.chunks(vocabulary, POSITION_NUMBERS * positions // max(1, sum(sizes.values()))))
    draws: list[NDArray[np.float64]] = []
    generator = torch.Generator().manual_seed(seed)
    for direction in directions:
        while True:
            usual = {name: p for name, p in parameters.items() if name not in unusual}
            exact = GramSum(len(rows), next(iter(parameters.values())).device)
            sketches = [GramSum(len(rows), exact.total.device) for _ in range(2 if projection else 0)]
            try:
                for group in _groups(usual, sizes, rows, memory, projection):
                    values = _Measure(model, group, rows, direction, truth, projection, generator).add_to(
                        exact, sketches, chunks
                    )
            except UnusualError as found:
                unusual |= set(found.args[0])
                continue
            break
        _add_row_by_row(exact, model, {name: parameters[name] for name in sorted(unusual)}, rows, direction, memory)
        if sketches:
            draws += [(exact.symmetric() + sketch.symmetric()).cpu().numpy() for sketch in sketches]
        else:
            draws.append(exact.symmetric().cpu().numpy())
    return draws, values.float().cpu().numpy()


def outputs(model: nn.Module, rows: Rows, chunk: Sequence[int], direction: Tensor | None) -> tuple[Tensor, Tensor]:
    """The scalar of each row, shape (R,), and the logits it was made of, (positions, V)."""
    inputs = inputs_of(model, rows, list(chunk))
    logits = model(**inputs.model_inputs).logits
    if direction is not None:
        places = torch.tensor([rows.length[i] - 1 - inputs.first for i in chunk], device=logits.device)
        logits = logits[torch.arange(len(chunk), device=logits.device), places]
        return logits @ direction.to(logits.dtype), logits
    examples = [rows.examples[rows.example[i]] for i in chunk]
    counts = torch.tensor([len(example.targets) for example in examples], device=logits.device)
    owner = torch.repeat_interleave(torch.arange(len(chunk), device=logits.device), counts)
    logits = logits[owner, torch.cat([example.positions for example in examples]) - inputs.first]
    targets = torch.cat([example.targets for example in examples])
    log_probs = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
    return log_probs.new_zeros(len(chunk)).index_add(0, owner, log_probs / counts[owner]), logits


def captured(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    rows: Rows,
    chunk: Sequence[int],
    direction: Tensor | None,
    log_probs: Tensor | None,
) -> tuple[Capture, Tensor]:
    """Run a chunk forward and backward and note what reaches these parameters; and the scalar of each row, (R,)."""
    inputs = inputs_of(model, rows, list(chunk))
    capture = Capture(parameters, len(chunk), inputs.lengths)
    with capture:
        values, logits = outputs(model, rows, chunk, direction)
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        raise not_finite(rows.example[chunk[int(bad[0, 0])]])
    if log_probs is not None:
        _same(logits.detach(), log_probs[list(chunk)])
    if not values.requires_grad:
        raise InputError(
            f"the logits of {type(model).__name__} carry no gradient: its forward pass is cut somewhere, "
            "for example by an attention without a derivative; try attn_implementation='eager'"
        )
    try:
        capture.gradients(values)
    except (NotImplementedError, RuntimeError) as error:
        if "derivative" not in str(error) and "not implemented" not in str(error):
            raise
        raise InputError(
            f"{type(model).__name__} has a layer without a derivative ({error}): load it with "
            "attn_implementation='eager'"
        ) from error
    return capture, values.detach()


def not_finite(example: int) -> InputError:
    """The error for an example that the model cannot read."""
    return InputError(f"example {example}: the model's logits are not finite before any training")


def _same(logits: Tensor, log_probs: Tensor) -> None:
    """Logits of rows that were cut short must be those of the whole examples."""
    off = (torch.log_softmax(logits, -1) - log_probs).abs().max()
    if off > 1e-3 * max(1.0, float(log_probs.abs().max())):
        raise InputError(
            f"the model's output depends on later positions (log-probabilities move by {float(off):.2g} nats when they "
            "are cut off): the kernel needs a causal or an encoder-decoder language model"
        )


def _check(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    rows: Rows,
    direction: Tensor | None,
    log_probs: Tensor | None,
) -> tuple[set[str], dict[str, int]]:
    """Names whose gradients of two rows, put together from their uses, are not what plain autograd says.

    Also the numbers a row must store for each of the others at most.
    """
    longest = sorted(range(len(rows)), key=lambda i: (-len(rows.source(i)), -rows.length[i], i))
    others = [i for i in longest if rows.example[i] != rows.example[longest[0]]]
    chunk = [longest[0], *(others or longest[1:])[: CHECKED_ROWS - 1]]
    while len(chunk) > 1 and len(chunk) in inputs_of(model, rows, chunk).lengths:
        chunk = chunk[:-1]
    capture, _ = captured(model, parameters, rows, chunk, direction, log_probs)
    unusual = set(capture.unusual)
    uses = [use for use in capture.uses if use.parameter not in unusual]
    sizes: dict[str, int] = {}
    for use in uses:
        sizes[use.parameter] = sizes.get(use.parameter, 0) + int(np.prod(use.shape[1:]))
    for place, row in enumerate(chunk[:2]):
        truth = torch.autograd.grad(
            outputs(model, rows, [row], direction)[0].sum(), list(parameters.values()), allow_unused=True
        )
        scale = sum(float(g.square().sum()) for g in truth if g is not None) ** 0.5
        for (name, parameter), true in zip(parameters.items(), truth, strict=True):
            own = [dense_gradient(use, parameter)[place] for use in uses if use.parameter == name and use.has_gradient]
            built = sum(own, torch.zeros_like(parameter))
            true = torch.zeros_like(parameter) if true is None else true
            if not torch.isfinite(true).all():
                raise InputError(f"the gradient of {name} is not finite for example {rows.example[row]}")
            if float((built - true).norm()) > 1e-3 * float(true.norm()) + 1e-5 * scale:
                unusual.add(name)
    return unusual, sizes


def _groups(
    parameters: dict[str, nn.Parameter], sizes: dict[str, int], rows: Rows, memory: int, projection: int | None
) -> list[dict[str, nn.Parameter]]:
    """Split the parameters so that what is stored of each group fits the memory."""
    longest = max(rows.length)
    effective = sum(rows.length) / longest
    groups: list[dict[str, nn.Parameter]] = [{}]
    filled = 0.0
    for name, parameter in parameters.items():
        size = sizes.get(name, 0) * effective * parameter.element_size()
        if projection and parameter.dim() > 1:
            size = min(size, 2.0 * projection**2 * len(rows) * parameter.element_size())
        if groups[-1] and filled + size > memory:
            groups.append({})
            filled = 0.0
        groups[-1][name] = parameter
        filled += size
    return groups


class _Measure:
    """One pass over all chunks for a group of parameters, and the products that follow from it."""

    def __init__(
        self,
        model: nn.Module,
        parameters: dict[str, nn.Parameter],
        rows: Rows,
        direction: Tensor | None,
        log_probs: Tensor | None,
        projection: int | None,
        generator: torch.Generator,
    ) -> None:
        self.model, self.parameters, self.rows, self.direction = model, parameters, rows, direction
        self.log_probs, self.projection, self.generator = log_probs, projection, generator
        self.weights: dict[str, Weight] = {}
        self.small: dict[str, Tensor] = {}
        self.sketched: dict[str, list[Tensor]] = {}
        self.projections: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def add_to(self, exact: GramSum, sketches: list[GramSum], chunks: Sequence[list[int]]) -> Tensor:
        """Add the inner products over these parameters; the scalar of each row comes back, shape (n,)."""
        found = exact.total.new_zeros(len(self.rows))
        for chunk in chunks:
            capture, values = captured(self.model, self.parameters, self.rows, chunk, self.direction, self.log_probs)
            if capture.unusual:
                raise UnusualError(sorted(capture.unusual))
            found[chunk] = values.to(found)
            self._store_all(capture.uses, chunk)
            del capture  # or its activations would stay until the next chunk's are there too
        for name, features in self.small.items():
            self._finite(name, features.square().sum(1))
            exact.add_features(features)
        self.small.clear()
        for name in list(self.weights):
            before = exact.total.diagonal().clone()
            _add_weight(exact, self.weights.pop(name), self.rows)
            self._finite(name, exact.total.diagonal() - before)
        for name, halves in self.sketched.items():
            for sketch, features in zip(sketches, halves, strict=True):
                self._finite(name, features.square().sum(1))
                sketch.add_features(features)
        return found

    def _store_all(self, uses: list[ParameterUse], chunk: list[int]) -> None:
        for use in uses:
            if use.has_gradient:
                self._store(use, chunk, sum(u.parameter == use.parameter for u in uses) > 1)

    def _finite(self, name: str, squares: Tensor) -> None:
        bad = (~torch.isfinite(squares)).nonzero()
        if len(bad):
            raise InputError(f"the gradient of {name} is not finite for example {self.rows.example[int(bad[0, 0])]}")

    def _store(self, use: ParameterUse, chunk: list[int], several: bool) -> None:
        places = torch.tensor(chunk, device=use.output.device)
        name = use.parameter
        if use.kind not in ("linear", "linear_t", "embedding"):
            features = small_gradient(use, self.parameters[name])
            if name not in self.small:
                self.small[name] = features.new_zeros(len(self.rows), features.shape[1])
            self.small[name].index_add_(0, places, features)
            return
        gradient, inputs = use.gradient, use.inputs
        assert gradient is not None
        assert inputs is not None
        weight = self.weights.get(name)
        if use.kind == "embedding":
            if use.keep is not None:
                gradient = gradient * use.keep[..., None]
            self.weights.setdefault(name, Weight()).pieces.append(FactorPair(places, inputs, gradient))
            return
        if name not in self.sketched and (weight is None or weight.shared is None):
            gradient, inputs, compact = _compact(gradient, inputs)
            if weight is None and not compact and self._sketches(name, several):
                self._start_sketch(name, gradient.shape[-1], inputs.shape[-1], gradient)
            elif weight is None:
                own = compact or several or self.rows.scalar
                weight = self.weights[name] = Weight(shared=None if own else {})
        if name in self.sketched:
            for features, (of_output, of_input) in zip(self.sketched[name], self.projections[name], strict=True):
                products = torch.bmm((gradient @ of_output).transpose(1, 2), inputs @ of_input)
                features.index_add_(0, places, products.flatten(1))
            return
        assert weight is not None
        if weight.shared is not None and several:
            raise UnusualError([name])
        if weight.shared is not None:
            for place, row in enumerate(chunk):
                if self.rows.longest[row]:
                    weight.shared[self.rows.example[row]] = inputs[place].clone()
        weight.pieces.append(FactorPair(places, gradient, None if weight.shared is not None else inputs))

    def _sketches(self, name: str, several: bool) -> bool:
        k = self.projection
        return k is not None and not several and self.parameters[name].numel() > k * k

    def _start_sketch(self, name: str, d_out: int, d_in: int, like: Tensor) -> None:
        assert self.projection is not None
        pairs = []
        for _ in range(2):
            pairs.append(tuple(_projection(d, self.projection, self.generator, like) for d in (d_out, d_in)))
        self.projections[name] = [(one, other) for one, other in pairs]
        size = pairs[0][0].shape[1] * pairs[0][1].shape[1]
        self.sketched[name] = [like.new_zeros(len(self.rows), size) for _ in range(2)]


def _projection(d: int, k: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """A random k-dimensional subspace of d dimensions, scaled so that P P^T is the identity on average; (d, k)."""
    if k >= d:
        return torch.eye(d, dtype=like.dtype, device=like.device)
    basis = torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64))[0]
    return (basis * (d / k) ** 0.5).to(like)


def _compact(gradient: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Drop the positions of each row that no gradient reaches, if that drops at least half of them."""
    reached = gradient.abs().amax(-1) != 0
    most = max(1, int(reached.sum(1).max()))
    if 2 * most > gradient.shape[1]:
        return gradient, inputs, False
    kept = torch.argsort(~reached, dim=1, stable=True)[:, :most, None]
    return torch.take_along_dim(gradient, kept, 1), torch.take_along_dim(inputs, kept, 1), True


def _add_weight(total: GramSum, weight: Weight, rows: Rows) -> None:
    """Add the inner products of one weight's gradients, the way with the fewest multiplications."""
    n, (d_out, d_in), shared = len(rows), weight.shape, weight.shared
    linear = sum(piece.left.shape[:2].numel() for piece in weight.pieces if piece.left.is_floating_point())
    lookups = sum(piece.left.numel() for piece in weight.pieces if not piece.left.is_floating_point())
    direct = 0.6 * n * n * d_in * d_out + (linear + n * bool(lookups)) * d_in * d_out
    pairs = 1.5 * linear**2 * (d_in + d_out) + linear * lookups * (d_in + LOOKUP_COST) + lookups * n * d_in
    if shared is not None:
        width = max(len(inputs) for inputs in shared.values())
        flat = sum(len(inputs) for inputs in shared.values())
        pairs = flat * (len(shared) * width * d_in + n * width * d_out) + n * n * width * d_out
    if direct <= pairs:
        _add_direct(total, weight, rows)
    elif shared is not None:
        _add_shared(total, weight, rows)
    else:
        _add_pairs(total, weight, n)


def _inputs(weight: Weight, rows: Rows) -> Tensor | None:
    """Layer inputs of all examples, padded with zeros, (examples, m, d_in)."""
    if weight.shared is None:
        return None
    return nn.utils.rnn.pad_sequence([weight.shared[e] for e in range(len(rows.examples))], batch_first=True)


def _add_direct(total: GramSum, weight: Weight, rows: Rows) -> None:
    chunks: dict[int, list[FactorPair]] = {}
    for piece in weight.pieces:
        chunks.setdefault(int(piece.rows[0]), []).append(piece)
    order = torch.cat([pieces[0].rows for pieces in chunks.values()])
    example = torch.tensor(rows.example, device=order.device)
    shared = _inputs(weight, rows)
    d_out, d_in = weight.shape
    columns = min(d_out, max(16, max(FEATURES, FEATURE_NUMBERS // len(rows)) // d_in))
    like = shared if shared is not None else weight.pieces[0].right
    assert like is not None
    memory = like.new_empty(len(order) * columns * d_in)
    part = GramSum(len(order), order.device)
    for start in range(0, d_out, columns):
        width = min(columns, d_out - start)
        features = memory[: len(order) * width * d_in].view(len(order), width, d_in)
        for pieces, block in zip(
            chunks.values(), features.split([len(p[0].rows) for p in chunks.values()]), strict=True
        ):
            for use, piece in enumerate(pieces):
                right = piece.right
                if right is None and shared is not None:
                    right = shared.index_select(0, example[piece.rows])[:, : piece.left.shape[1]]
                assert right is not None
                if not piece.left.is_floating_point():
                    if not use:
                        block.zero_()
                    row, place = ((piece.left >= start) & (piece.left < start + width)).nonzero(as_tuple=True)
                    slots = row * width + piece.left[row, place] - start
                    block.flatten(0, 1).index_add_(0, slots, right[row, place])
                else:
                    left = piece.left[..., start : start + width].transpose(1, 2)
                    torch.baddbmm(block, left, right, beta=float(use > 0), out=block)
        part.add_features(features.flatten(1))
    total.total[order[:, None], order] += part.symmetric()


def _add_shared(total: GramSum, weight: Weight, rows: Rows) -> None:
    inputs = _inputs(weight, rows)
    assert inputs is not None
    n, width, first = len(rows), inputs.shape[1], weight.pieces[0].left
    gradients = first.new_zeros(n, width, first.shape[-1])
    for piece in weight.pieces:
        gradients[piece.rows, : piece.left.shape[1]] = piece.left
    example = torch.tensor(rows.example, device=first.device)
    starts = torch.searchsorted(example, torch.arange(len(inputs) + 1, device=first.device)).tolist()
    for e, (start, stop) in enumerate(pairwise(starts)):
        own = inputs[e, : len(weight.shared[e])] if weight.shared is not None else inputs[e]
        products = torch.einsum("pi,eqi->epq", own, inputs[e:])
        spread = torch.bmm(products.index_select(0, example[start:] - e), gradients[start:]).flatten(1)
        total.total[start:stop, start:] += gradients[start:stop, : len(own)].flatten(1) @ spread.T


def _add_pairs(total: GramSum, weight: Weight, n: int) -> None:
    looked_up = [piece for piece in weight.pieces if not piece.left.is_floating_point()]
    linear = [piece for piece in weight.pieces if piece.left.is_floating_point()]
    if linear:
        owner, outputs, inputs = _flat(linear)
        for start in range(0, len(owner), PAIR_BLOCK):
            part = slice(start, start + PAIR_BLOCK)
            products = (outputs[part] @ outputs.T) * (inputs[part] @ inputs.T)
            _add_owned(total, products, owner[part], owner)
    if looked_up:
        ids_owner, ids, vectors = _flat(looked_up)
        _add_lookups(total, ids_owner, ids, vectors, n)
        if linear:
            cross = GramSum(n, total.total.device)
            for start in range(0, len(ids), PAIR_BLOCK):
                part = slice(start, start + PAIR_BLOCK)
                products = outputs[:, ids[part]].T * (vectors[part] @ inputs.T)
                _add_owned(cross, products, ids_owner[part], owner)
            total.total += cross.total + cross.total.T


def _flat(pieces: Sequence[FactorPair]) -> tuple[Tensor, Tensor, Tensor]:
    """Row, left and right of every position, one after the other."""
    owner = torch.cat([piece.rows.repeat_interleave(piece.left.shape[1]) for piece in pieces])
    left = torch.cat([piece.left.flatten(0, 1) for piece in pieces])
    right = torch.cat([piece.right.flatten(0, 1) for piece in pieces if piece.right is not None])
    return owner, left, right


def _add_owned(total: GramSum, products: Tensor, row_owner: Tensor, column_owner: Tensor) -> None:
    """Add products between positions to the entries of the rows that own them."""
    columns = products.new_zeros(len(products), len(total.total)).index_add_(1, column_owner, products)
    total.total.index_add_(0, row_owner, columns.double())


def _add_lookups(total: GramSum, owner: Tensor, ids: Tensor, vectors: Tensor, n: int) -> None:
    """Rows meet in the gradient of an embedding only where they read the same token."""
    reached = (vectors != 0).any(-1)
    keys, inverse = torch.unique(ids[reached] * n + owner[reached], return_inverse=True)
    summed = vectors.new_zeros(len(keys), vectors.shape[1]).index_add_(0, inverse, vectors[reached])
    rows = keys % n
    _, counts = torch.unique_consecutive(keys // n, return_counts=True)
    start = 0
    for count in counts.tolist():
        mine, block = rows[start : start + count], summed[start : start + count]
        total.total[mine[:, None], mine] += block @ block.T
        start += count


def _add_row_by_row(
    total: GramSum,
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    rows: Rows,
    direction: Tensor | None,
    memory: int,
) -> None:
    """Add the inner products over parameters of unusual use, by one backward pass a row."""
    remaining = list(parameters.items())
    while remaining:
        group = [remaining.pop(0)]
        while remaining and _bytes([*group, remaining[0]], len(rows)) <= memory:
            group.append(remaining.pop(0))
        features = torch.stack(
            [
                row_gradients(outputs(model, rows, [row], direction)[0].sum(), [parameter for _, parameter in group])
                for row in range(len(rows))
            ]
        )
        bad = (~torch.isfinite(features).all(1)).nonzero()
        if len(bad):
            raise InputError(f"the gradient of {group[0][0]} is not finite for example {rows.example[int(bad[0, 0])]}")
        total.add_features(features)


def _bytes(parameters: Sequence[tuple[str, nn.Parameter]], n: int) -> int:
    return n * sum(parameter.numel() * parameter.element_size() for _, parameter in parameters)
