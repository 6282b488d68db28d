"""The directory that a training writes into: nothing of anybody else's is in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.handover.claim import CHECKPOINTS
from lensllm.handover.jobs import Train, spec_of

JOB = "job.json"


def folder_name(candidate: str) -> str:
    """A candidate's name as that of a folder.

    >>> folder_name("org/model lora r16")
    'org-model-lora-r16'
    """
    return re.sub(r"[^\w.-]+", "-", candidate).strip(".-") or "model"


@contextmanager
def held(target: Path, job: Train) -> Iterator[None]:
    """A target directory that holds nothing but this training's own checkpoints, which are gone at the end.

    Raises:
        InputError: if it holds anything else, or another process trains into it.
    """
    checkpoints, spec = target / CHECKPOINTS, spec_of(job)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is no folder: name another --output-dir")
    known = checkpoints / JOB
    if target.is_dir() and any(target.iterdir()):
        if not known.is_file():
            raise InputError(f"{target} is not empty: empty it, or name another --output-dir")
        if known.read_text(encoding="utf-8", errors="replace") != spec:
            raise InputError(
                f"{target} holds the checkpoints of another training: empty it, or name another --output-dir"
            )
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be made ({error.strerror}): name another --output-dir") from error
    lock = FileLock(checkpoints / "lock")
    try:
        with lock.acquire(timeout=0):
            write_whole(known, spec)
            yield
    except Timeout as error:
        raise InputError(f"another process is training into {target}: wait for it") from error
    shutil.rmtree(checkpoints)
