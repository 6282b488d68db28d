"""A file opened for reading, through its compression and its byte order mark."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa

from lensllm.delimited import encoding_of
from lensllm.errors import InputError
from lensllm.tasks.rows import Row

COMPRESSIONS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.input_stream(str(path), compression="zstd"),
}
SIGNS = {
    b"\x1f\x8b": "compressed with gzip: end its name in .gz",
    b"BZh": "compressed with bzip2: end its name in .bz2",
    b"\xfd7zXZ": "compressed with xz: end its name in .xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstandard: end its name in .zst",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save the table as CSV",
    b"PAR1": "a Parquet file: end its name in .parquet",
    b"ARROW1": "an Arrow file: end its name in .arrow",
    b"version https://git-lfs": "a pointer to a file that git-lfs has not fetched: fetch it first",
}


@dataclass
class Opened:
    """A file to be read once.

    Attributes:
        path: of the file.
        notes: what a container finds worth saying of it.
    """

    path: Path
    notes: list[str] = field(default_factory=list)

    def binary(self) -> BinaryIO:
        """The bytes, decompressed."""
        opener = COMPRESSIONS.get(self.path.suffix.lower())
        return opener(self.path) if opener else self.path.open("rb")

    def text(self) -> TextIO:
        """The text, without a byte order mark; line ends are left as they are.

        Raises:
            InputError: if the first bytes say that this is no text.
        """
        raw = self.binary()
        start = raw.read(32)
        for sign, what in SIGNS.items():
            if start.startswith(sign):
                raise InputError(f"{self.path} is {what}")
        raw.close()
        return io.TextIOWrapper(self.binary(), encoding=encoding_of(start), newline="")


@dataclass(frozen=True)
class Container:
    """A file type.

    Attributes:
        suffixes: endings of its files, in small letters.
        unit: what its rows are counted in: `line` or `row`.
        rows: the rows of an opened file.
    """

    suffixes: tuple[str, ...]
    unit: str
    rows: Callable[[Opened], Iterator[Row]]
