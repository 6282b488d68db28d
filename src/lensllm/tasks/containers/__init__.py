"""The file types that examples come in, one a file; a new type is a module here and its name in `CONTAINERS`."""

from __future__ import annotations

import csv
import lzma
import zlib
from pathlib import Path

import pyarrow as pa

from lensllm.errors import InputError
from lensllm.tasks.containers import arrow, delimited_text, json_document, json_lines, parquet
from lensllm.tasks.containers.opening import COMPRESSIONS, Container, Opened
from lensllm.tasks.rows import Row
from lensllm.text import visible

CONTAINERS: tuple[Container, ...] = (
    json_document.CONTAINER,
    json_lines.CONTAINER,
    delimited_text.COMMAS,
    delimited_text.TABS,
    parquet.CONTAINER,
    arrow.CONTAINER,
)
SUFFIXES = tuple(suffix for container in CONTAINERS for suffix in container.suffixes)


def container_of(path: Path) -> Container | None:
    """The file type that a name's ending tells, whatever its case; compression may follow: `a.JSONL.gz`."""
    kind = _kind(path)
    return next((container for container in CONTAINERS if kind in container.suffixes), None)


def stem(path: Path) -> str:
    """The name without the endings of compression and file type: `a.x` for `a.x.jsonl.gz`."""
    name = path.name
    for suffixes in (tuple(COMPRESSIONS), SUFFIXES):
        ending = Path(name).suffix
        if ending.lower() in suffixes:
            name = name.removesuffix(ending)
    return name


def read_rows(path: Path) -> tuple[list[Row], str, tuple[str, ...]]:
    """The rows of a file, what they are counted in (`line` or `row`), and what is to be said of the file.

    Raises:
        InputError: naming the file, and the row where there is one, if it cannot be read whole.
    """
    container = container_of(path)
    if container is None:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path} is of an unknown kind: expected one of {known}, or these with {_compressed()}")
    opened = Opened(path)
    try:
        return list(container.rows(opened)), container.unit, tuple(opened.notes)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 (byte {error.start:,}): save it as UTF-8") from error
    except EOFError as error:
        raise InputError(f"{path} is cut short: its compressed data end too early, fetch or write it anew") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} is damaged: {visible(error)}; fetch or write it anew") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be read") from error
    except (OSError, ValueError, csv.Error, pa.ArrowException, MemoryError) as error:
        raise InputError(f"{path} cannot be read as {_kind(path)}: {visible(error)}") from error


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in COMPRESSIONS else suffix


def _compressed() -> str:
    return ", ".join(COMPRESSIONS)
