"""The weights of a candidate as its model has them, from headers: 4-bit ones unpacked by name and shape."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.files import regular
from lensllm.candidates.four_bits import BLOCK, GIVE, NESTED_BLOCK
from lensllm.candidates.headers import Tensor
from lensllm.errors import InputError

STATE = re.compile(r"(?P<weight>.+\.weight)\.quant_state\.bitsandbytes__(?P<kind>nf4|fp4)")
LARGEST_STATE = 4096
TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16}
"""Of a number in safetensors; 8 of the others."""


def tensors_of(candidate: Candidate) -> dict[str, Tensor]:
    """Every weight of the candidate's files; one in 4 bits has the type and shape that it had, without its parts.

    A 4-bit weight is a tensor of bytes, two weights each, beside its scales (`absmax`), the 16 values (`quant_map`),
    where the scales are quantised theirs (`nested_absmax`, `nested_quant_map`), and a JSON object as bytes
    (`quant_state.bitsandbytes__nf4`). All of them must be there with the sizes that this object implies, as
    bitsandbytes reads as many bytes as it says.

    Raises:
        InputError: naming a part that is missing or has another size, and as `read_headers`.
    """
    tensors = dict(candidate.tensors)
    if candidate.four_bits is None:
        return tensors
    states = _states(candidate, tensors)
    if not states:
        raise InputError(f"its weights are quantised (bitsandbytes) by config.json, and its files hold none so: {GIVE}")
    for name, text in states.items():
        found = STATE.fullmatch(name)
        assert found is not None
        weight = found["weight"]
        state = _state(name, text, found["kind"])
        for part, dtype, size in state.parts():
            there = tensors.pop(f"{weight}{part}", None)
            if there is None:
                raise InputError(f"its 4-bit weight {weight} lacks {weight}{part}")
            if (there.dtype, there.size) != (dtype, size):
                raise InputError(
                    f"{weight}{part} has {there.size:,} numbers of the type {there.dtype}, "
                    f"and {name} tells of {size:,} of {dtype}"
                )
        del tensors[name]
        tensors[weight] = Tensor(state.dtype, state.shape)
    return tensors


def four_bit_weights(candidate: Candidate) -> set[str]:
    """Names of those in 4 bits."""
    if candidate.four_bits is None:
        return set()
    found = map(STATE.fullmatch, candidate.tensors)
    return {one["weight"] for one in found if one is not None}


def bytes_changed(candidate: Candidate, held: str) -> int:
    """Bytes of the files whose tensors are made into something else while they are read, beside which both are there.

    A tensor that is held as its file has it is the mapped file itself.

    Args:
        candidate: admitted.
        held: torch's name of the type of its weights, `uint8` for those that are packed into 4 bits or come so.
    """
    kept = "U8" if held == "uint8" else TYPES[held]
    return sum(one.size * BITS.get(one.dtype, 8) // 8 for one in candidate.tensors.values() if one.dtype != kept)


@dataclass(frozen=True)
class _State:
    """What bitsandbytes notes of a 4-bit weight: its shape and safetensors type before."""

    shape: tuple[int, int]
    dtype: str
    nested: bool

    def parts(self) -> list[tuple[str, str, int]]:
        """End of the name, safetensors type and number of elements of the packed weight and what it needs."""
        weights = math.prod(self.shape)
        scales = -(-weights // BLOCK)
        always = [("", "U8", -(-weights // 2)), (".quant_map", "F32", 16)]
        if not self.nested:
            return [*always, (".absmax", "F32", scales)]
        inner = -(-scales // NESTED_BLOCK)
        return [*always, (".absmax", "U8", scales), (".nested_absmax", "F32", inner), (".nested_quant_map", "F32", 256)]


def _states(candidate: Candidate, tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """The JSON objects, by name."""
    read = {}
    for file in candidate.shards:
        with safe_open(regular(candidate.folder, file), "numpy") as opened:
            for name in filter(STATE.fullmatch, opened.keys()):
                if tensors[name].dtype != "U8" or tensors[name].size > LARGEST_STATE:
                    raise InputError(f"{name} is not the state of a 4-bit weight")
                read[name] = opened.get_tensor(name).tobytes()
    return read


def _state(name: str, text: bytes, kind: str) -> _State:
    try:
        said = json.loads(text)
        rows, columns = said["shape"]
        shape, nested = (rows, columns), said.get("nested_blocksize")
        known = (
            said["quant_type"] == kind
            and said["dtype"] in TYPES
            and said["blocksize"] == BLOCK
            and all(type(side) is int and side > 0 for side in shape)
            and (nested is None or (nested == NESTED_BLOCK and _inner(said)))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{name} is not the state of a 4-bit weight") from error
    if not known:
        raise InputError(f"{name} describes a 4-bit weight that is not known")
    return _State(shape, TYPES[said["dtype"]], nested is not None)


def _inner(said: dict[str, Any]) -> bool:
    """Whether what is said of quantised scales is known."""
    return said["nested_dtype"] == "float32" and math.isfinite(said["nested_offset"])
