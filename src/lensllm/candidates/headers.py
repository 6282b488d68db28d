"""Names, types and shapes of weights, from the headers of safetensors files: no weight is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lensllm.candidates.files import regular
from lensllm.errors import InputError

LARGEST_HEADER = 100_000_000
FLOATS = ("F64", "F32", "F16", "BF16")
EIGHT_BITS = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2")


@dataclass(frozen=True)
class Tensor:
    """One entry of a header: safetensors' name of its type, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


def read_headers(folder: Path, files: list[str]) -> dict[str, Tensor]:
    """Every tensor of these files by its name.

    Raises:
        InputError: for a file that is not safetensors, is cut short, or holds a name that another file holds, too.
    """
    return joined(_header(folder, file) for file in files)


def joined(headers: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files of a model.

    Raises:
        InputError: for a name that two files hold.
    """
    tensors: dict[str, Tensor] = {}
    for found in headers:
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise InputError(f"{twice[0]} is in two of the weight files: one of them is left over")
        tensors |= found
    return tensors


def _header(folder: Path, file: str) -> dict[str, Tensor]:
    path = regular(folder, file)
    size = path.stat().st_size
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise InputError(f"{file} is not a safetensors file, or the download is not complete ({size:,} bytes)")
        text = opened.read(length)
    try:
        found = json.loads(text)
        found.pop("__metadata__", None)
        tensors = {
            name: (Tensor(str(one["dtype"]), tuple(map(int, one["shape"]))), int(one["data_offsets"][1]))
            for name, one in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"{file} is not a safetensors file: its header cannot be read") from error
    end = 8 + length + max((stop for _, stop in tensors.values()), default=0)
    if end != size:
        raise InputError(f"{file} has {size:,} bytes and its header tells of {end:,}: the download is not complete")
    return {name: tensor for name, (tensor, _) in tensors.items()}
