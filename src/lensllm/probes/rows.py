"""The rows of a kernel: which scalar of which example is differentiated, and how rows are run in batches.

A row is one scalar output with a gradient of its own. A causal model's output at a position depends on no later
position, so a row's example is cut right after the position that predicts its token, and rows of like length share a
forward pass; what the padding on the right computes reaches no output of interest.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.errors import InputError

IGNORED = -100
ROW_LIMIT = 128
POSITION_LIMIT = 1024
LOGIT_LIMIT = 2**25
SPREAD = 4
LEAST_SHARE = 0.75
SEQ2SEQ_LEAST = 2  # (queries, keys) of an attention bias is then never (1, positions)


@dataclass(frozen=True)
class UnpaddedExample:
    """One example without its padding.

    Attributes:
        source: input of the encoder, shape (L,); empty for a causal model.
        inputs: input of the (causal) decoder, shape (T,).
        positions: positions of `inputs` whose logits predict a completion token, ascending, shape (C,).
        targets: those tokens, shape (C,).
        offset: what turns a position into the place of its token in the labels: 1 for a causal model, else 0.
    """

    source: Tensor
    inputs: Tensor
    positions: Tensor
    targets: Tensor
    offset: int


def read_examples(model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> list[UnpaddedExample]:
    """Examples of batches with `input_ids`, `labels` (-100 where no loss is taken) and optionally `attention_mask`.

    Positions outside the attention mask are removed, so padding on either side changes nothing.

    Raises:
        InputError: if there is no example, shapes disagree, or an example has no label left; the example is named.
    """
    base = base_model(model)
    device = next(model.parameters()).device
    examples: list[UnpaddedExample] = []
    for batch in batches:
        ids, labels = batch["input_ids"].to(device), batch["labels"].to(device)
        mask = batch.get("attention_mask")
        mask = torch.ones_like(ids) if mask is None else mask.to(device)
        if mask.shape != ids.shape or len(labels) != len(ids):
            raise InputError(
                f"example {len(examples)}: input_ids {tuple(ids.shape)}, attention_mask {tuple(mask.shape)} and "
                f"labels {tuple(labels.shape)} do not fit together"
            )
        for row_ids, row_mask, row_labels in zip(ids, mask.bool(), labels, strict=True):
            name = f"example {len(examples)}"
            empty = row_ids[:0]
            if is_encoder_decoder(model):
                length = int((row_labels != IGNORED).nonzero().max()) + 1 if (row_labels != IGNORED).any() else 0
                row_labels = row_labels[:length]
                positions = (row_labels != IGNORED).nonzero()[:, 0]
                inputs = _shifted(base, row_labels) if length else empty
                example = UnpaddedExample(row_ids[row_mask], inputs, positions, row_labels[positions], 0)
            else:
                if row_labels.shape != row_ids.shape:
                    raise InputError(f"{name}: {len(row_ids)} input_ids but {len(row_labels)} labels")
                row_ids, row_labels = row_ids[row_mask], row_labels[row_mask]
                positions = (row_labels[1:] != IGNORED).nonzero()[:, 0]
                example = UnpaddedExample(empty, row_ids, positions, row_labels[1:][positions], 1)
            if not len(example.positions):
                raise InputError(f"{name} has no label to predict (all are -100): drop it or mask less")
            examples.append(example)
    if not examples:
        raise InputError("no examples: the kernel needs at least one")
    return examples


def base_model(model: Any) -> Any:
    """The transformers model inside an adapter's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _shifted(model: Any, labels: Tensor) -> Tensor:
    """What the decoder reads to predict these labels, shape (T,)."""
    return decoder_inputs(model, labels[None])[0]


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether the model reads `source` with an encoder."""
    return bool(getattr(base_model(model).config, "is_encoder_decoder", False))


@dataclass(frozen=True)
class Rows:
    """The rows of a kernel, in the order of the examples.

    Attributes:
        examples: what the rows are taken from.
        example: the example of each row, shape (n,).
        length: how many decoder positions the row needs, shape (n,).
        scalar: whether a row is the mean log-probability of its example's targets; else a row is one token.
    """

    examples: list[UnpaddedExample]
    example: list[int]
    length: list[int]
    scalar: bool
    longest: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        last = {e: i for i, e in enumerate(self.example)}
        object.__setattr__(self, "longest", [last[e] == i for i, e in enumerate(self.example)])

    def __len__(self) -> int:
        return len(self.example)

    def chunks(self, vocabulary: int, positions: int = POSITION_LIMIT) -> Iterator[list[int]]:
        """Rows to run together, longest first, at most so many positions, none with as many rows as positions.

        A tensor's leading dimension then tells whether it counts rows.
        """
        order = sorted(range(len(self)), key=lambda i: (-len(self.source(i)), -self.length[i], i))
        start = 0
        while start < len(order):
            source, longest = len(self.source(order[start])), self.length[order[start]]
            if source:
                longest = max(self.length)
            kept = longest if self.scalar or source else SPREAD
            most = min(positions, POSITION_LIMIT) // (source + longest)
            most = min(ROW_LIMIT, most, LOGIT_LIMIT // (kept * vocabulary))
            chunk = order[start : start + max(1, most)]
            if not source:
                shortest = LEAST_SHARE * longest if self.scalar else longest - SPREAD + 1
                chunk = [i for i in chunk if self.length[i] >= shortest]
            while len(chunk) > 1 and len(chunk) in self._widths(chunk):
                chunk = chunk[:-1]
            yield chunk
            start += len(chunk)

    def _widths(self, chunk: list[int]) -> set[int]:
        """Numbers of positions that the tensors of a chunk may have."""
        longest = max(self.length[i] for i in chunk)
        return {2, len(self.source(chunk[0])), longest, longest - min(self.first(i) for i in chunk)}

    def first(self, row: int) -> int:
        """Decoder position of the first logits that a row needs."""
        return int(self.examples[self.example[row]].positions[0]) if self.scalar else self.length[row] - 1

    def source(self, row: int) -> Tensor:
        """Encoder input of a row."""
        return self.examples[self.example[row]].source


@dataclass(frozen=True)
class Inputs:
    """Padded model inputs of a chunk of rows, and which logits to read.

    Attributes:
        model_inputs: keyword arguments of the model.
        first: decoder position of the first logits that come back.
        lengths: numbers of positions that a row's tensors may have.
    """

    model_inputs: dict[str, object]
    first: int
    lengths: frozenset[int]


def inputs_of(model: nn.Module, rows: Rows, chunk: list[int]) -> Inputs:
    """Model inputs of these rows."""
    accepted = inspect.signature(base_model(model).forward).parameters
    decoder = [rows.examples[rows.example[i]].inputs[: rows.length[i]] for i in chunk]
    seq2seq = is_encoder_decoder(model)
    longest = max(SEQ2SEQ_LEAST if seq2seq else 1, *(len(ids) for ids in decoder))
    ids = torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in decoder])
    arguments: dict[str, object] = {"use_cache": False} if "use_cache" in accepted else {}
    first, lengths = 0, {longest}
    if seq2seq:
        source = nn.utils.rnn.pad_sequence([rows.source(i) for i in chunk], batch_first=True)
        source = nn.functional.pad(source, (0, max(0, SEQ2SEQ_LEAST - source.shape[1])))
        sizes = torch.tensor([len(rows.source(i)) for i in chunk], device=ids.device)
        arguments |= {"input_ids": source, "decoder_input_ids": ids}
        lengths.add(source.shape[1])
        if int(sizes.min()) < source.shape[1]:
            places = torch.arange(source.shape[1], device=ids.device)
            arguments["attention_mask"] = (places[None] < sizes[:, None]).long()
    else:
        arguments["input_ids"] = ids
    if "logits_to_keep" in accepted:
        first = min(rows.first(i) for i in chunk)
        arguments["logits_to_keep"] = torch.arange(first, longest, device=ids.device)
        lengths.add(longest - first)
    return Inputs(arguments, first, frozenset(lengths))
