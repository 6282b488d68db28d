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
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(
            f"{path} cannot be written ({error.strerror}): free some space or name another place"
        ) from error
