"""How far a training is and how long it will take, on stderr: a bar in a terminal, a line each tenth elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lensllm.text import time_left, visible


class StepProgress:
    """Hears of every step of a training.

    Args:
        label: what is trained.
    """

    def __init__(self, label: str) -> None:
        self._label = visible(label)
        self._name, self._first, self._began, self._tenth = "", 0, 0.0, 0
        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._drawn = self._bar.add_task(self._label, total=None) if console.is_terminal else None

    def __call__(self, name: str, done: int, total: int) -> None:
        """A step is done.

        Args:
            name: of the training, of which there may be several.
            done: steps of it, those before an interruption included.
            total: steps of it.
        """
        if name != self._name:
            self._name, self._first, self._began, self._tenth = name, done, time.monotonic(), 10 * (done - 1) // total
        if self._drawn is not None:
            self._bar.start()
            self._bar.update(self._drawn, description=f"{self._label}, {name}", completed=done, total=total)
            if done == total:
                self._bar.stop()
        elif (tenth := 10 * done // total) > self._tenth:
            self._tenth = tenth
            steps = f"step {done:,} of {total:,}"
            print(f"{self._label}, {name}: {steps}{self._left(done, total)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away, where there is one."""
        if self._drawn is not None:
            self._bar.stop()

    def _left(self, done: int, total: int) -> str:
        """The time left at the pace so far, in words; nothing where none is known yet."""
        left = time_left(time.monotonic() - self._began, done - self._first, total - done)
        return f", {left} left" if left else ""
