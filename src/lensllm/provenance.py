"""What is needed to repeat a selection: which files, models, settings and versions it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from lensllm.candidates import Full, Lora, Method, Qlora
from lensllm.errors import InputError
from lensllm.text import shortened
from lensllm.tuning.training_config import TrainingConfig

METHODS: tuple[type[Method], ...] = (Full, Lora, Qlora)


@dataclass(frozen=True)
class DataFile:
    """A file that examples were read from: its absolute path and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TaskOrigin:
    """Where the examples came from.

    Attributes:
        name: of the task.
        source: what was given, a path made absolute: a file, a folder, a shipped task or a hub id; empty for examples
            of a Python program.
        files: that were read; none for the hub and a Python program.
        layout: how the rows were read.
        fingerprint: SHA-256 of the examples that were trained and measured on.
        train: number of training examples, of which the largest run would have all.
        validation: number of validation examples.
        test: number of test examples, of which `max_test_examples` are measured.
    """

    name: str
    source: str
    files: tuple[DataFile, ...]
    layout: str
    fingerprint: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Rung:
    """What one run of a candidate came to.

    Attributes:
        learning_rate: its peak, as it was found or given.
        validation: loss on the validation examples, nats a byte; None for the model as it came.
        loss: on the test, nats a byte.
        seconds: that it took, trials of learning rates included.
        flops: of the same.
    """

    learning_rate: float
    validation: float | None
    loss: float
    seconds: float
    flops: float


@dataclass(frozen=True)
class CandidateOrigin:
    """A model, how it was tuned, and what its runs found.

    Attributes:
        name: in tables.
        model: as the user gave it.
        folder: where its files lay, absolute.
        hub_id: of its repository, empty for a local or shipped model.
        revision: the commit of the hub's files, where it is known.
        fingerprint: SHA-256 of weights, configuration, tokenizer and the template given for it.
        licence: as its model card says; empty where that says nothing.
        method: `full`, `lora` or `qlora`.
        settings: of the method.
        variant: the end of the name that says how it is tuned.
        chat_template: given in place of its own; None for its own.
        rungs: number of training examples -> its run; 0 is the model as it came.
    """

    name: str
    model: str
    folder: str
    hub_id: str
    revision: str
    fingerprint: str
    licence: str
    method: str
    settings: dict[str, Any]
    variant: str = ""
    chat_template: str | None = None
    rungs: dict[int, Rung] = field(default_factory=dict)

    @property
    def learning_rate(self) -> float:
        """The peak learning rate found at the largest rung; NaN where nothing was trained.

        >>> rungs = {0: Rung(0.0, None, 2.1, 1, 1e9), 50: Rung(1e-3, 1.5, 1.6, 9, 1e11)}
        >>> CandidateOrigin("a", "a", "/a", "", "", "f0", "", "full", {}, rungs=rungs).learning_rate
        0.001
        """
        return self.rungs[max(self.rungs)].learning_rate if any(self.rungs) else math.nan

    def tuned_by(self) -> Method:
        """The method with its settings.

        Raises:
            InputError: if this version knows no such method, or it has not these settings.
        """
        kind = next((one for one in METHODS if one.name == self.method), None)
        if kind is None:
            raise InputError(f"{self.name} was tuned by {shortened(self.method)!r}, which this version does not know")
        try:
            made: Method = TypeAdapter(kind).validate_python(self.settings)
        except ValidationError as error:
            raise InputError(f"{self.name} has settings that {self.method} has not: {_first(error)}") from error
        return made


@dataclass(frozen=True)
class Provenance:
    """Everything that a selection came from.

    Attributes:
        command: as it was typed, quoted for a shell; None where a Python program called `select`.
        created: date and time, ISO 8601, UTC.
        versions: package -> version.
        device: what it was computed on.
        task: where the examples came from.
        candidates: that were measured, in the order given.
        training: how every run was trained, seeds, dtype and batch included.
        sizes: numbers of training examples that were measured, ascending.
        settings: all that `select` was told, by the names of its options, paths made absolute.
        store: the absolute path of the folder with the records.
        objects: option -> name of the object that a Python program gave for it, which no command line can name.
    """

    command: str | None
    created: str
    versions: dict[str, str]
    device: str
    task: TaskOrigin
    candidates: tuple[CandidateOrigin, ...]
    training: TrainingConfig
    sizes: tuple[int, ...]
    settings: dict[str, Any]
    store: str
    objects: dict[str, str] = field(default_factory=dict)

    def candidate(self, name: str) -> CandidateOrigin:
        """That of this name.

        Raises:
            InputError: naming those that there are.
        """
        known = {one.name: one for one in self.candidates}
        if name not in known:
            raise InputError(f"no candidate {shortened(name)!r} was measured: those that were are {', '.join(known)}")
        return known[name]

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows, the learning rate found last beside each candidate."""
        made = asdict(self)
        made["candidates"] = [
            {**asdict(one), "learning_rate": None if math.isnan(one.learning_rate) else one.learning_rate}
            for one in self.candidates
        ]
        plain: dict[str, Any] = json.loads(json.dumps(made))
        return plain

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            InputError: naming the first field that is missing or has a value of another type.
        """
        try:
            made: Self = TypeAdapter(cls).validate_python(dict(fields))
        except ValidationError as error:
            raise InputError(_first(error)) from error
        return made


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{shortened('.'.join(map(str, first['loc'])))}: {first['msg'].lower()}"
