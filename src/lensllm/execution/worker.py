"""The other end of `lensllm.execution.processes`: what runs in a worker process."""

from __future__ import annotations

import io
import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from lensllm.execution.attempt import attempt
from lensllm.jobs import Lost
from lensllm.tasks import Task
from lensllm.tuning.context import Context

LOOK_EVERY = 0.5
"""Seconds between two looks at whether the parent lives."""


def serve(file: int, parent: int) -> None:
    """Make jobs as they come through a pipe, until it closes or the parent dies.

    Where the kernel does not see to that (`START` in `processes`), a thread looks whether the parent lives.

    Args:
        file: descriptor of the pipe's end.
        parent: process number of the program that asks.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(file)
    context, tasks = Context(), dict[str, Task]()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            sent = pipe.recv_bytes()
            try:
                job = _Unpickler(io.BytesIO(sent), tasks).load()
            except Exception as error:
                pipe.send(Lost(f"a worker process cannot read the job ({type(error).__name__}: {error})"))
                continue
            if isinstance(job, Task):
                tasks.clear()
                tasks[job.fingerprint] = job
            else:
                pipe.send(attempt(job, context))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)


class _Unpickler(pickle.Unpickler):
    """Puts tasks that came before in their place. What it reads comes from the parent through an inherited pipe."""

    def __init__(self, file: io.BytesIO, tasks: dict[str, Task]) -> None:
        super().__init__(file)
        self._tasks = tasks

    def persistent_load(self, fingerprint: Any) -> Task:
        return self._tasks[fingerprint]
