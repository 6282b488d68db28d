"""What a selection has begun and ended, a line each, for whoever watches it from another process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.files import append_text, write_whole
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.callbacks import Callback, Progress
from lensllm.store.locks import Locks

FILE_NAME = "progress.jsonl"
LOCKS = "progress.locks"


@dataclass(frozen=True)
class Entrant:
    """A candidate as it was planned.

    Attributes:
        name: in tables.
        model: that it tunes; several candidates may tune one.
        family: of the model's architecture, as its configuration says.
        method: how it is tuned.
        parameters: of the model; 0 where that is not known.
        memory: bytes that training it was planned to need at the most; 0 likewise.
    """

    name: str
    model: str
    family: str
    method: str
    parameters: int = 0
    memory: int = 0

    @classmethod
    def of(cls, candidate: Candidate, parameters: int = 0, memory: int = 0) -> Self:
        """A candidate with what was planned of it."""
        family = str(candidate.config.get("model_type", ""))
        return cls(candidate.name, candidate.untuned_name, family, candidate.method.name, parameters, memory)


@dataclass(frozen=True)
class AskedScores:
    """The scores that a selection measures.

    Attributes:
        objectives: of the scores, in the order asked for, each as its `to_dict` gives it.
        examples: test examples that are scored.
        kept_name: of the second task; empty if there is none.
        keep_drop: what may be lost there.
        rank_by: what the ranking goes by: "loss", or the name of a score.
        decided_by: what decides which runs are made; empty where nothing does.
    """

    objectives: tuple[dict[str, Any], ...]
    examples: int
    kept_name: str
    keep_drop: float
    rank_by: str
    decided_by: str


@dataclass(frozen=True)
class Beginning:
    """What was known when a selection began.

    Attributes:
        task: its name.
        target_size: number of training examples forecast for.
        workers: processes at once.
        entrants: the candidates.
        sizes: numbers of examples that were asked for; empty in a search within a budget.
        refused: models that do not take part, each with its reason.
        notes: what was chosen, left out or is doubtful.
        price_per_hour: of the machine; None where none was given.
        started: seconds since 1970.
        token: of the lock that the selection holds as long as it lives.
        scores: that are measured; None where there are none.
        selector: what forecasts the losses, by name; empty for the default.
        own_selector: whether that is an object of a Python program, which no other process has.
    """

    task: str
    target_size: int
    workers: int
    entrants: tuple[Entrant, ...]
    sizes: tuple[int, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    price_per_hour: float | None = None
    started: float = 0.0
    token: str = ""
    scores: AskedScores | None = None
    selector: str = ""
    own_selector: bool = False


class Journal(Callback):
    """Writes `progress.jsonl`: the beginning, every job as it begins and ends, and how it all ended.

    Args:
        folder: of the selection.
        beginning: the first line.

    >>> import tempfile
    >>> from lensllm.testing import ToyJob
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Journal(folder, Beginning("mine", 800, 1, ())) as journal:
    ...     journal.on_run_begin(ToyJob("a"), Progress(0, 1))
    ...     [one.label for one in JournalRead.of(folder).running], alive(folder)
    (['a'], True)
    >>> alive(folder)
    False
    """

    def __init__(self, folder: Path, beginning: Beginning) -> None:
        self._path = folder / FILE_NAME
        self._locks = Locks(folder / LOCKS)
        self._told = asdict(beginning) | {"started": time.time(), "token": self._locks.token}

    def __enter__(self) -> Self:
        self._locks.hold()
        write_whole(self._path, json.dumps(self._told) + "\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if isinstance(error, Exception):
                self._write({"failed": str(error)})
        finally:
            self._locks.release()

    def on_run_begin(self, job: Job, progress: Progress) -> None:
        """Say what runs."""
        self._write({"begin": job.key, **_named(job), **asdict(progress)})

    def on_run_end(self, job: Job, record: Record, progress: Progress) -> None:
        """Say that it ended; what came of it is in the store."""
        self._write({"end": job.key, **_named(job), **asdict(progress)})

    def ended(self) -> None:
        """Say that the answer is written."""
        self._write({"ended": True})

    def _write(self, line: Mapping[str, Any]) -> None:
        append_text(self._path, json.dumps({**line, "at": time.time()}) + "\n")


def _named(job: Job) -> dict[str, Any]:
    """Name, candidate and number of examples of a job; a job of another kind has the first alone."""
    candidate = getattr(getattr(job, "candidate", None), "name", "")
    return {"label": job.label, "candidate": candidate, "examples": getattr(job, "examples", 0),
            "kind": job.record_type.kind}  # fmt: skip


@dataclass(frozen=True)
class Begun:
    """A job that runs.

    Attributes:
        key: of the job.
        label: its name.
        candidate: of it.
        examples: number of training examples.
        kind: of its record.
        at: when it began, seconds since 1970.
    """

    key: str
    label: str
    candidate: str
    examples: int
    kind: str
    at: float


@dataclass(frozen=True)
class JournalRead:
    """What a journal says.

    Attributes:
        beginning: the first line.
        running: jobs that began and have not ended.
        told: key and candidate of those that ended, in order.
        done: jobs that ended.
        expected: jobs known of.
        ended: whether the answer is written.
        failed: why there is none; empty otherwise.
    """

    beginning: Beginning
    running: tuple[Begun, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    done: int = 0
    expected: int = 0
    ended: bool = False
    failed: str = ""

    @classmethod
    def of(cls, folder: str | Path) -> Self | None:
        """The journal of a folder; None if it has none.

        Raises:
            InputError: if it is damaged; a last line that the machine's end has torn is left out.
        """
        path = Path(folder) / FILE_NAME
        try:
            first, *rest = path.read_text(encoding="utf-8").split("\n")
            beginning = TypeAdapter(Beginning).validate_json(first)
            return cls(beginning, **_read([json.loads(line) for line in rest[:-1]]))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError, TypeError, LookupError) as error:
            raise _damaged(path, error) from error


def alive(folder: str | Path) -> bool:
    """Whether the process that writes the journal of a folder lives, from its first line; not where there is none.

    Raises:
        InputError: if that line is damaged.
    """
    path = Path(folder) / FILE_NAME
    try:
        with path.open(encoding="utf-8") as file:
            beginning = TypeAdapter(Beginning).validate_json(file.readline())
    except FileNotFoundError:
        return False
    except (OSError, ValidationError, ValueError) as error:
        raise _damaged(path, error) from error
    return Locks(Path(folder) / LOCKS).alive(beginning.token)


def _read(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    running: dict[str, Begun] = {}
    told: dict[str, str] = {}
    found: dict[str, Any] = {}
    for line in lines:
        if "begin" in line:
            named = {name: line[name] for name in ("label", "candidate", "examples", "kind", "at")}
            running[line["begin"]] = Begun(line["begin"], **named)
        elif "end" in line:
            running.pop(line["end"], None)
            told[line["end"]] = line["candidate"]
        found |= {name: line[name] for name in ("done", "expected", "ended", "failed") if name in line}
    return {"running": tuple(running.values()), "told": tuple(told.items()), **found}


def _damaged(path: Path, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200]
    return InputError(f"{path} is damaged ({why}): run the same command again, which repeats no run")
