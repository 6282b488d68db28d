"""What every measuring command begins with: a task and candidates, checked by themselves and against each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lensllm.candidates import Candidate, Refused, admit_candidates, cross
from lensllm.candidates.find import Found
from lensllm.config import MethodConfig, SelectConfig, TaskConfig
from lensllm.errors import InputError
from lensllm.given import Given
from lensllm.scores import Score
from lensllm.scores.scoring import KeptTask, Scoring, kept_task, scored_set
from lensllm.tasks import Task, read_task
from lensllm.tasks.examples import Reading, read_part
from lensllm.tuning.fit import fit_all
from lensllm.tuning.optimizers import check_optimizer
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


def read_inputs(
    config: TaskConfig,
    models: Sequence[str],
    data: Any = None,
    *,
    weights: bool = True,
    known: Mapping[str, Candidate] | None = None,
) -> tuple[Task, Found]:
    """The task without the rows that a candidate cannot take, and the candidates that can take the task.

    Args:
        config: the task and how it is read.
        models: what the user wrote.
        data: examples in place of `config.task`.
        weights: whether those of hub models are downloaded.
        known: model -> its candidate, for those that were found before.

    Raises:
        InputError: for a task that cannot be used, or if no candidate is left.
    """
    task = read_task(config.task if data is None else data, **config.reading())
    found = admit_candidates(models, config.chat_template, weights=weights, known=known)
    with quiet():
        task, unread = fit_all(task, found.admitted, config.training_config(), config.skip_bad_rows)
    return task, found.without(unread)


def read_candidates(
    config: SelectConfig, given: Given | None = None, *, weights: bool = True
) -> tuple[Task, Found, tuple[str, ...]]:
    """The task, the candidates that can take it (models x methods), and what was chosen for the user.

    Args:
        config: the task, the models, the methods and the optimizer.
        given: examples in place of `config.task`, and candidates that were found before.
        weights: whether those of hub models are downloaded.

    Raises:
        InputError: as `read_inputs`, or for settings of a candidate that its method has not, or an optimizer that this
            machine has not.
    """
    check_optimizer(config.optim)
    given = given or Given()
    asked = config.asked()
    task, found = read_inputs(config, config.model_names(), given.data, weights=weights, known=given.candidates)
    models = {model.model_name_or_path: model for model in found.admitted}
    with quiet():
        crossed = cross([(models[name], method) for name, method in asked if name in models], config.lora())
    refused = (*found.refused, *(Refused(*one) for one in crossed.refused.items()))
    return task, Found(crossed.candidates, refused), crossed.notes


def read_scoring(
    config: SelectConfig, task: Task, candidates: Sequence[Candidate], given: Given | None = None
) -> tuple[Scoring | None, tuple[str, ...]]:
    """What is scored after each run, None for nothing, and what is to be said of it.

    Args:
        config: names the scores.
        task: whose test examples are scored.
        candidates: that a second task has to be read for.
        given: scores that are objects.

    Raises:
        InputError: for a score that is not known or that the task has not what it needs for, or a second task that
            cannot be used.
    """
    if not config.score and not config.keep_score:
        return None, ()
    own = given.scores if given else {}
    scores = [own.get(name, name) for name in config.score]
    scored, notes = scored_set(task, scores, config.score_examples)
    if not config.keep_score:
        return Scoring(scored), notes
    kept, said = _read_kept(config, candidates, scores)
    return Scoring(scored, kept), (*notes, *said)


def check_rank_by(config: SelectConfig, scoring: Scoring | None) -> None:
    """Refuse to rank by what is not measured.

    Raises:
        InputError: naming what candidates can be ranked by.
    """
    known = ["loss", *(one.name for one in (scoring.scored.scores if scoring else ()))]
    if config.rank_by not in known:
        raise InputError(f"rank_by is {config.rank_by!r}, expected one of {', '.join(known)} (scores come by --score)")


def _read_kept(
    config: SelectConfig, candidates: Sequence[Candidate], scores: Sequence[str | Score]
) -> tuple[KeptTask, tuple[str, ...]]:
    """All examples of a file; of any other source its test examples."""
    if Path(config.keep_score).is_file():
        part = read_part([Path(config.keep_score)], Reading(learn=config.learn, skip_bad_rows=config.skip_bad_rows))
        whole = Task(Path(config.keep_score).name.split(".")[0], tuple(part.examples), (), tuple(part.examples))
    else:
        whole = read_task(config.keep_score, learn=config.learn, skip_bad_rows=config.skip_bad_rows)
    order = np.random.default_rng(config.subset_seed).permutation(len(whole.test))
    drawn = tuple(whole.test[i] for i in order[: max(config.max_test_examples, config.score_examples)])
    with quiet():
        alone = Task(whole.name, (), (), drawn)
        fitted, refused = fit_all(alone, candidates, config.training_config(), config.skip_bad_rows)
    most = (config.max_test_examples, config.score_examples)
    kept, notes = kept_task(whole.name, fitted.test, whole.train, scores, most)
    said = [f"{whole.name}: {note}" for note in (*fitted.notes, *refused.values())]
    return kept, (*said, *notes)


def read_inputs_of_one(config: TaskConfig, model: str, data: Any = None) -> tuple[Task, Candidate]:
    """The same for one candidate.

    Raises:
        InputError: as `read_inputs`.
    """
    task, found = read_inputs(config, [model], data)
    return task, found.admitted[0]


def read_one_tuned(config: MethodConfig, model: str, data: Any = None) -> tuple[Task, Candidate]:
    """The same with the method that it is tuned by.

    Raises:
        InputError: as `read_inputs`, or if the model cannot be tuned so.
    """
    task, candidate = read_inputs_of_one(config, model, data)
    if config.method == "full":
        return task, candidate
    with quiet():
        crossed = cross([(candidate, config.tuned_by())], config.lora())
    return replace(task, notes=(*task.notes, *crossed.notes)), crossed.candidates[0]
