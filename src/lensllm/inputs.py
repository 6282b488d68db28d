"""What every measuring command begins with: a task and candidates, checked by themselves and against each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lensllm.candidates import Candidate, admit_candidates
from lensllm.candidates.find import Found
from lensllm.config import TaskConfig
from lensllm.tasks import Task, read_task
from lensllm.tuning.fit import fit_all
from lensllm.tuning.quiet import quiet

Config = TypeVar("Config", bound=TaskConfig)


def settings_of(config: type[Config], task: Any, options: Mapping[str, Any]) -> tuple[Config, Any]:
    """The configuration of a call from Python, and the examples if they were given in place of a source.

    Raises:
        InputError: as `TaskConfig.of`.
    """
    if isinstance(task, str | os.PathLike):
        return config.of(task=os.fsdecode(task), **options), None
    return config.of(**options), task


def read_inputs(config: TaskConfig, models: Sequence[str], data: Any = None) -> tuple[Task, Found]:
    """The task without the rows that a candidate cannot take, and the candidates that can take the task.

    Args:
        config: the task and how it is read.
        models: what the user wrote.
        data: examples in place of `config.task`.

    Raises:
        InputError: for a task that cannot be used, or if no candidate is left.
    """
    task = read_task(config.task if data is None else data, **config.reading())
    found = admit_candidates(models, config.chat_template)
    with quiet():
        task, unread = fit_all(task, found.admitted, config.training_config(), config.skip_bad_rows)
    return task, found.without(unread)


def read_inputs_of_one(config: TaskConfig, model: str, data: Any = None) -> tuple[Task, Candidate]:
    """The same for one candidate.

    Raises:
        InputError: as `read_inputs`.
    """
    task, found = read_inputs(config, [model], data)
    return task, found.admitted[0]
