"""How far a command is: a bar in a notebook or, on stderr, in a terminal; lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lensllm.jobs import Job
from lensllm.objectives import OBJECTIVES
from lensllm.records import Record
from lensllm.search.callbacks import Callback
from lensllm.search.callbacks import Progress as Jobs
from lensllm.text import counted, duration, time_left, visible
from lensllm.tuning.run import Run

FIRST = 8.0
"""Seconds until the first line, so that nobody wonders whether anything runs."""
OFTEN = 10.0
"""Seconds between two lines at the least, however fast jobs end."""
SELDOM = 50.0
"""Seconds between two lines at the most."""


class Told(Callback):
    """Hears of jobs, and of steps beside them."""

    def step(self, what: str, done: int, of: int) -> None:
        """Say what is done beside jobs, and how much of it. Of 0: what alone."""


class ProgressBar(Told):
    """A bar of jobs with what ended last, and the time that is left at the pace so far."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._shown = bar.add_task("starting", total=None)

    def step(self, what: str, done: int, of: int) -> None:
        """The pace begins anew with the first."""
        if of and not done:
            self._bar.reset(self._shown, total=of)
        progress = {"completed": done, "total": of} if of else {}
        self._bar.update(self._shown, description=visible(what), **progress)  # type: ignore[arg-type]

    def on_run_begin(self, job: Job, progress: Jobs) -> None:
        """Say what runs."""
        self._bar.update(self._shown, total=progress.expected, description=visible(job.label))

    def on_run_end(self, job: Job, record: Record, progress: Jobs) -> None:
        """Say what came of it."""
        described = visible(f"{job.label}: {_came_of(record)}")
        self._bar.update(self._shown, completed=progress.done, total=progress.expected, description=described)


class ProgressLines(Told):
    """A line within `FIRST` seconds, then where something ended, and every `SELDOM` seconds whatever happens."""

    def __init__(self) -> None:
        self._began = self._pace_from = time.monotonic()
        self._said: float | None = None
        self._doing, self._since = "reading models and data", self._began
        self._done = self._of = self._before = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def step(self, what: str, done: int, of: int) -> None:
        """The pace begins anew with the first."""
        with self._lock:
            if of and not done:
                self._pace_from, self._before = time.monotonic(), 0
            self._doing, self._since, self._done, self._of = what, time.monotonic(), done, of
            self._say_if_due(OFTEN, what)

    def on_run_begin(self, job: Job, progress: Jobs) -> None:
        """Remember what runs."""
        with self._lock:
            if not self._of:
                self._pace_from, self._before = time.monotonic(), progress.done
            self._doing, self._since = job.label, time.monotonic()
            self._done, self._of = progress.done, progress.expected

    def on_run_end(self, job: Job, record: Record, progress: Jobs) -> None:
        """Say what came of it."""
        with self._lock:
            self._done, self._of = progress.done, progress.expected
            self._say_if_due(OFTEN, f"{job.label}: {_came_of(record)}")

    def close(self) -> None:
        """Say nothing more."""
        self._over.set()

    def _beat(self) -> None:
        while not self._over.wait(min(1.0, FIRST)):
            with self._lock:
                silent = f", for {duration(time.monotonic() - self._since)} so far" if self._said else ""
                self._say_if_due(SELDOM, self._doing + silent)

    def _say_if_due(self, pause: float, what: str) -> None:
        now = time.monotonic()
        if now - (self._began if self._said is None else self._said) < (FIRST if self._said is None else pause):
            return
        self._said = now
        far = f"{self._done} of {self._of}, " if self._of else ""
        print(f"{duration(now - self._began)}: {far}{visible(what)}{self._left(now)}", file=sys.stderr, flush=True)

    def _left(self, now: float) -> str:
        left = time_left(now - self._pace_from, self._done - self._before, self._of - self._done)
        return f"; about {left} left for what is known of" if left else ""


class NotebookBar(Told):
    """A bar of jobs below a notebook's cell, with what ended last and the time that is left at the pace so far.

    Args:
        show: puts HTML in place of what was shown before.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._began = time.monotonic()
        self._from = 0
        self._said, self._done, self._of = "reading models and data", 0, 0
        self._draw()

    def on_run_begin(self, job: Job, progress: Jobs) -> None:
        """Say what runs."""
        if not self._of:
            self._from, self._began = progress.done, time.monotonic()
        self._said, self._done, self._of = job.label, progress.done, progress.expected
        self._draw()

    def on_run_end(self, job: Job, record: Record, progress: Jobs) -> None:
        """Say what came of it."""
        self._said, self._done, self._of = f"{job.label}: {_came_of(record)}", progress.done, progress.expected
        self._draw()

    def close(self) -> None:
        """Say how long it took."""
        self._said = f"{counted(self._done, 'run')} in {duration(time.monotonic() - self._began)}"
        self._of = self._done
        self._draw()

    def _draw(self) -> None:
        left = time_left(time.monotonic() - self._began, self._done - self._from, self._of - self._done)
        about = f", about {left} left" if left else ""
        far = f"{self._done} of {self._of}{about}; " if self._done < self._of else ""
        value = f'value="{self._done}" max="{self._of}"' if self._of else ""
        self._show(f"<div><progress {value}></progress> {escape(visible(far + self._said))}</div>")


def _came_of(record: Record) -> str:
    loss = OBJECTIVES[0].read(record)[0] if isinstance(record, Run) else float("nan")
    return record.status if loss != loss else OBJECTIVES[0].format(loss)


@contextmanager
def progress(wanted: bool | None = True) -> Iterator[list[Told]]:
    """Callbacks that say how far a command is.

    Args:
        wanted: None for only where somebody looks, in a notebook or a terminal.
    """
    errors = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not wanted and not (wanted is None and (errors.is_jupyter or errors.is_terminal)):
        yield []
        return
    if errors.is_jupyter:
        below = NotebookBar(_display())
        yield [below]
        below.close()
        return
    if not errors.is_terminal:
        lines = ProgressLines()
        try:
            yield [lines]
        finally:
            lines.close()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as bar:
        yield [ProgressBar(bar)]


def _display() -> Callable[[str], None]:
    """Shows HTML below a notebook's cell, each time in place of the last."""
    shown = import_module("IPython.display")
    handle = shown.display(shown.HTML(""), display_id=True)
    return lambda html: handle.update(shown.HTML(html))
