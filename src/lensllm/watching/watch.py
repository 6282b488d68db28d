"""Reads the log of a run elsewhere and says whether it is on forecast, once or as often as it grows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from lensllm.curve_sources import TrackedRun, read_histories
from lensllm.errors import InputError
from lensllm.selection import Selection
from lensllm.text import listed
from lensllm.watching.expected import Expected
from lensllm.watching.verdict import Unit, Verdict, judge

EVERY = 10.0
"""Seconds between two looks at a log."""


def watch(
    folder: str | Path,
    log: str,
    *,
    candidate: str = "",
    examples: int = 0,
    metric: str = "",
    unit: Unit = "token",
    steps: int = 0,
) -> Verdict:
    """Whether a run elsewhere is on the forecast of a selection.

    Args:
        folder: output folder of the selection.
        log: as `lensllm.curve_sources.read_histories`, with one run in it.
        candidate: which it is; "" for the best of the selection.
        examples: that it is trained on; 0 for what the log tells, or else all that the selection was for.
        metric: name of its loss, where it has several.
        unit: of that loss: `token`, as trainers log it, or `byte`.
        steps: optimizer steps that it is to take, where the log does not tell.

    Raises:
        InputError: if there is no such selection, candidate or log, or the log has no loss yet or several runs.

    >>> import json, tempfile
    >>> from lensllm import select
    >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = select("austen", ["gpt2-0.2m-random"], output_dir=folder, **few)
    ...     log = Path(folder) / "run" / "trainer_state.json"
    ...     log.parent.mkdir()
    ...     _ = log.write_text(json.dumps({"log_history": [{"step": 10, "epoch": 1.0, "eval_loss": 99.0}]}))
    ...     verdict = watch(folder, str(log), unit="byte", steps=10)
    >>> verdict.status
    'off'
    """
    run = read_run(log, metric)
    run = replace(run, steps=steps or run.steps)
    expected = Expected.of(Selection.load(folder), candidate, examples or run.examples or 0)
    if unit == "token" and not math.isfinite(expected.bytes_a_token):
        raise InputError(f"bytes a token of {expected.candidate} are not known: log nats a byte and say --unit byte")
    return judge(run, expected, unit)


def follow(look: Callable[[], Verdict], every: float = EVERY) -> Iterator[Verdict]:
    """Look again and again, and give each verdict that says something new, until it is told.

    Args:
        look: what `watch` says now.
        every: seconds between two looks.
    """
    seen = ""
    while True:
        verdict = look()
        if verdict.basis != seen:
            seen = verdict.basis
            yield verdict
        if verdict.status != "cannot tell yet":
            return
        time.sleep(every)


def read_run(log: str, metric: str = "") -> TrackedRun:
    """The one run of a log.

    Raises:
        InputError: if it has none, several, or one without a loss.
    """
    histories, notes = read_histories(log)
    if len(histories) != 1:
        raise InputError(
            f"{log} has {len(histories)} runs ({listed([one.name for one in histories])}): name one, as "
            "trackio:PROJECT/RUN, wandb:ENTITY/PROJECT/ID or the folder of one run"
        )
    run = TrackedRun.of(histories[0], metric)
    if not run.evaluations:
        raise InputError(f"{run.where} has no evaluation loss yet{''.join(f'; {note}' for note in notes)}")
    return run
