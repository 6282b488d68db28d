"""What a Python program hands to `select` as objects, where the command line has names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from lensllm.candidates import Candidate, Full, Lora
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.execution import Executor
from lensllm.files import write_whole
from lensllm.scores import SCORES, Score
from lensllm.scores.function import UserFunction
from lensllm.scores.own import OwnScore, own_score
from lensllm.selectors import Selector
from lensllm.selectors.named import selector_named
from lensllm.text import shortened

FOLDER = "scores"
"""Of the output folder, where the texts of scores are kept."""


@dataclass(frozen=True)
class Given:
    """Objects in place of names.

    Attributes:
        data: examples in place of `task`.
        candidates: by the names that `SelectConfig.candidates` has for them.
        scores: by the names that `SelectConfig.score` has for them.
        selector: forecasts the losses; None for the one that `SelectConfig.selector` names.
        executor: runs the jobs and is left open; None for the one that `SelectConfig.executor` names.
    """

    data: Any = None
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    selector: Selector | None = None
    executor: Executor | None = None

    @classmethod
    def of(cls, task: Any, models: Any, options: Mapping[str, Any]) -> tuple[SelectConfig, Self]:
        """The configuration of a call from Python, and the objects in it.

        Raises:
            InputError: as `SelectConfig.of`, or for an object that is none of its kind.
        """
        known, objects = dict(options), dict[str, Any]()
        if isinstance(task, str | os.PathLike):
            known["task"] = os.fsdecode(task)
        elif task is not None:
            objects["data"] = task
        names, objects["candidates"] = _models(models)
        known["models"] = names
        known["candidates"] = [*known.get("candidates", ()), *map(_spelled, _all_candidates(models))]
        folder = Path(known.get("output_dir", SelectConfig.model_fields["output_dir"].default))
        known["score"], objects["scores"] = _scores(known.get("score", ()), folder)
        for name, kind in (("selector", Selector), ("executor", Executor)):
            if not isinstance(known.get(name, ""), str):
                objects[name] = _object(name, known.pop(name), kind)
        return SelectConfig.of(**known), cls(**objects)

    def chosen_selector(self, config: SelectConfig) -> Selector | None:
        """What forecasts the losses; None for the default.

        Raises:
            InputError: if there is no selector of the name asked for.
        """
        return self.selector or selector_named(config.selector)

    def selector_name(self, config: SelectConfig) -> str:
        """Its name; empty for the default."""
        return type(self.selector).__name__ if self.selector else config.selector

    @property
    def told(self) -> dict[str, str]:
        """Option -> name of the object given for it, of those that no command line can name."""
        found = {name: type(one).__name__ for name, one in (("selector", self.selector), ("executor", self.executor))
                 if one is not None}  # fmt: skip
        scores = [name for name, one in self.scores.items() if isinstance(one, OwnScore)]
        return found | ({"score": ", ".join(scores)} if scores else {})

    def keep_texts(self, folder: Path) -> None:
        """Write the texts of scores into the output folder, as they run."""
        for one in self.scores.values():
            if isinstance(one, UserFunction | OwnScore):
                text, name = (one.source, one.function) if isinstance(one, UserFunction) else (one.text, one.kind)
                (folder / FOLDER).mkdir(parents=True, exist_ok=True)
                write_whole(folder / FOLDER / f"{name}.py", text)


def _object(option: str, given: Any, kind: type[Any]) -> Any:
    if not isinstance(given, kind):
        raise InputError(
            f"{option}: expected a name or an object of a subclass of {kind.__module__.rpartition('.')[0]}."
            f"{kind.__name__}, got {shortened(repr(given))}"
        )
    return given


def _each(models: Any) -> list[Any]:
    return [models] if isinstance(models, str | os.PathLike | Candidate) else list(models)


def _all_candidates(models: Any) -> list[Candidate]:
    return [one for one in _each(models) if isinstance(one, Candidate)]


def _models(models: Any) -> tuple[list[Any], dict[str, Candidate]]:
    """Names as they are; of candidates the models, however they are tuned."""
    names = [os.fsdecode(one) if isinstance(one, os.PathLike) else one
             for one in _each(models) if not isinstance(one, Candidate)]  # fmt: skip
    found: dict[str, Candidate] = {}
    for one in _all_candidates(models):
        if found.setdefault(one.model_name_or_path, one.model) != one.model:
            raise InputError(
                f"two candidates are {one.model_name_or_path} with another folder, name or chat template: give one"
            )
    return names, found


def _spelled(candidate: Candidate) -> dict[str, Any]:
    """A candidate as a configuration names it."""
    method = candidate.method
    if not isinstance(method, Full | Lora):
        raise InputError(f"candidate {candidate.name}: expected the method full, lora or qlora, got {method.name}")
    return {"model": candidate.model_name_or_path, "method": method.name, **asdict(method)}


def _scores(given: Any, folder: Path) -> tuple[list[str], dict[str, Score]]:
    """What a configuration calls scores, and those that are objects."""
    names, objects = list[str](), dict[str, Score]()
    several: Iterable[Any] = [given] if isinstance(given, str | Score) or not isinstance(given, Sequence) else given
    for one in several:
        if isinstance(one, str):
            names.append(one)
            continue
        if any(type(one) is type(ours) for ours in SCORES):
            names.append(one.name)
            continue
        made = one if isinstance(one, UserFunction) else own_score(one)
        if isinstance(made, UserFunction):
            made = replace(made, path=str((folder / FOLDER / f"{made.function}.py").absolute()))
        name = f"{made.path}:{made.function}" if isinstance(made, UserFunction) else made.name
        if name in objects or name in {ours.name for ours in SCORES}:
            raise InputError(f"two scores are named {made.name}: give yours another name")
        names.append(name)
        objects[name] = made
    return names, objects
