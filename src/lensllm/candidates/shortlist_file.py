"""Names of models kept in a file: `@shortlist.txt` stands for those that it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lensllm.candidates.files import printable
from lensllm.errors import InputError
from lensllm.text import shortened

COMMENT = re.compile(r"(?:^|\s)#.*")
LARGEST = 1 << 20
"""Bytes of such a file."""


def named_models(models: Sequence[str]) -> list[str]:
    """The models with every `@file` replaced by the names in it, each once.

    A file has one name a line; what follows a `#` at the beginning of a line or behind a space is a comment, and empty
    lines are passed over. A name stands there as on the command line: folder, zoo name or hub id.

    Args:
        models: what the user wrote.

    Raises:
        InputError: if a file cannot be read or names nothing, or with the number of a line that is not one name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "shortlist.txt")
    ...     _ = path.write_text("# from lensllm find\\norg/one@v1  # smallest\\n\\norg/two\\n")
    ...     named_models(["gpt2", f"@{path}", "org/two"])
    ['gpt2', 'org/one@v1', 'org/two', 'org/two']
    """
    return [name for model in models for name in (_read(Path(model[1:])) if model.startswith("@") else [model])]


def _read(path: Path) -> list[str]:
    shown = printable(path)
    names: dict[str, int] = {}
    for number, line in enumerate(_text(path, shown).splitlines(), 1):
        name = COMMENT.sub("", line).strip()
        if name.startswith("@"):
            raise InputError(f"{shown}, line {number}: {shortened(name)} is a file of names in another: name models")
        if len(name.split()) > 1 and not Path(name).is_dir():
            raise InputError(f"{shown}, line {number}: expected one model a line, got {shortened(name)!r}")
        if name in names:
            raise InputError(f"{shown}, line {number}: {shortened(name)} stands on line {names[name]}, too")
        if name:
            names[name] = number
    if not names:
        raise InputError(f"{shown} names no model: write one a line")
    return list(names)


def _text(path: Path, shown: str) -> str:
    try:
        if not path.is_file():
            raise InputError(f"no file of models {shown!r}: @file is read as names of models, one a line")
        if path.stat().st_size > LARGEST:
            raise InputError(f"{shown} has {path.stat().st_size:,} bytes, which no list of models needs")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} is not text in UTF-8") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"no file of models {shown[:80]!r}: {error}") from error
