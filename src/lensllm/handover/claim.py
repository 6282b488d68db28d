"""Whose try a folder is for: a file that the driver makes there, and that the worker has to see."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lensllm.errors import InputError
from lensllm.files import write_whole

CHECKPOINTS = "checkpoints"
CLAIM = "claim-"
STEPS = "steps-"


def claim(target: Path) -> str:
    """Make the folder of a training that of a new try: whatever is left of an earlier one is to end.

    Its name is a new one each time, so that no machine takes what it remembers of a shared disk for what is there.

    Args:
        target: folder of the model; that of its checkpoints is there.

    Returns:
        What the worker is told.

    Raises:
        InputError: if it cannot be written.
    """
    token = secrets.token_hex(16)
    before = [path for kind in (CLAIM, STEPS) for path in (target / CHECKPOINTS).glob(f"{kind}*")]
    write_whole(_file(target, CLAIM, token), "")
    for path in before:
        path.unlink(missing_ok=True)
    return token


def check_claim(target: Path, token: str) -> None:
    """Look whether a folder is here the one that was claimed.

    Raises:
        InputError: if it is another, is claimed by a later try, or cannot be written.
    """
    mark = _file(target, CLAIM, token)
    if not mark.exists():
        what = "is not the folder there that it is where the command runs"
    elif not os.access(mark.parent, os.W_OK):
        what = "cannot be written there"
    else:
        return
    raise InputError(
        f"{target} {what}: name one on a disk that all nodes have under the same path with --output-dir, or train on "
        "this machine with --executor processes"
    )


def steps_file(target: Path, token: str) -> Path:
    """Where a worker writes how far its try is."""
    return _file(target, STEPS, token)


def _file(target: Path, kind: str, token: str) -> Path:
    return target / CHECKPOINTS / f"{kind}{token}"
