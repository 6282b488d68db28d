"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lensllm.errors import InputError


def write_whole(path: str | Path, text: str) -> None:
    """Write a text beside its place and move it there, so that nobody ever reads a part of it.

    Lone surrogates, which some names hold, are written as escapes.

    Raises:
        InputError: if it cannot be written; what was there before is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "answer.txt", "42")
    ...     [file.name for file in Path(folder).iterdir()]
    ['answer.txt']
    """
    write_whole_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_whole_bytes(path: str | Path, content: bytes) -> None:
    """The same for a file that is no text.

    Raises:
        InputError: as `write_whole`.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise _unwritten(path, error) from error


def write_before_end(path: str | Path, text: str, end: str) -> None:
    """Write a text into a file before the `end` that it has, in one piece: the death of this process tears nothing.

    Raises:
        InputError: if it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "list.json", "[1]")
    ...     write_before_end(Path(folder) / "list.json", ", 2", "]")
    ...     print(Path(folder, "list.json").read_text())
    [1, 2]
    """
    try:
        with Path(path).open("r+b", buffering=0) as file:
            file.seek(-len(end.encode()), os.SEEK_END)
            file.write((text + end).encode("utf-8", "backslashreplace"))
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritten(path, error) from error


def append_text(path: str | Path, text: str) -> None:
    """Write a text behind what a file has; the file is made where there is none.

    Raises:
        InputError: if it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_text(Path(folder) / "lines.txt", "one\\n")
    ...     append_text(Path(folder) / "lines.txt", "two\\n")
    ...     print(Path(folder, "lines.txt").read_text(), end="")
    one
    two
    """
    try:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: str | Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written ({error.strerror}): free some space or name another place")
