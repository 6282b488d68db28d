"""How far a training on another machine is: its worker writes a file, the driver reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lensllm.files import write_whole

EVERY = 1.0
"""Seconds between two writings at the least."""


class StepsWritten:
    """Hears of every step of a training.

    Args:
        file: that is written.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._written = file, float("-inf")

    def __call__(self, name: str, done: int, total: int) -> None:
        """A step is done: as `StepProgress`."""
        if done < total and time.monotonic() < self._written + EVERY:
            return
        write_whole(self._file, json.dumps([name, done, total]))
        self._written = time.monotonic()


class StepsRead:
    """Tells of steps that were written.

    Args:
        file: that is read.
        tell: called with what is trained, steps done and steps in all.
    """

    def __init__(self, file: Path, tell: Callable[[str, int, int], None]) -> None:
        self._file, self._tell, self._last = file, tell, ""

    def look(self) -> None:
        """Tell of the last step, if it is another than at the look before."""
        text = ""
        with suppress(OSError):
            text = self._file.read_text(encoding="utf-8")
        if text and text != self._last:
            self._last = text
            self._tell(*json.loads(text))
