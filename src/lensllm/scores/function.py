"""A function of the user's own, run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lensllm.errors import InputError
from lensllm.scores.asked import Asked
from lensllm.scores.base import Answer, Score, ScoreFailed
from lensllm.text import counted, shortened, visible

SECONDS_TO_LOAD = 60.0
SECONDS_A_CALL = 10.0
MOST_HANGS = 3
"""Calls that took too long after which the rest is not tried."""
HOST = str(Path(__file__).with_name("function_host.py"))
START = """
import ctypes, runpy, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
sys.path[:] = {path!r}
runpy.run_path({host!r}, run_name={host!r})["serve"]({file})
"""
"""What the function's interpreter runs; the death of the program that asks ends it, whatever the function does."""


@dataclass(frozen=True)
class UserFunction(Score):
    """The mean of `function(prompt=..., completion=..., reference=...)` over examples, larger is better.

    It returns a number for each answer; True and False are 1 and 0. Anything else, NaN, infinity, an exception, the
    end of its process, or more than `seconds` is a failure, and with a single one the score of that run
    has no value: the mean of the others would be a mean over other examples for each candidate.

    The file is run in an interpreter of its own, with its text as it was when it was read; what it imports has to be
    installed, files beside it are not seen.

    Attributes:
        path: of the file.
        function: its name there.
        source: text of the file, a part of the key of every run that it scores.
        seconds: that a call may take.

    >>> source = "def short(prompt, completion, reference):\\n    return len(completion) < 4"
    >>> score = UserFunction("my_score.py", "short", source)
    >>> score.name, score.of([Answer("1 plus 1 is", " 2", " 2"), Answer("1 plus 1 is", " two", " 2")]).value
    ('my_score.py:short', 0.5)
    """

    path: str
    function: str
    source: str
    seconds: float = SECONDS_A_CALL

    unit = "mean of a function of your own"
    floor = -float("inf")
    ceiling = float("inf")

    @property
    def name(self) -> str:  # type: ignore[override]
        """The file's name and the function's."""
        return f"{Path(self.path).name}:{self.function}"

    @classmethod
    def read(cls, spelled: str) -> UserFunction:
        """The function that `score.py:function` names.

        Raises:
            InputError: if there is no such file, or it is no UTF-8 text.
        """
        path, _, function = spelled.rpartition(":")
        if not Path(path).is_file():
            raise InputError(f"score {spelled!r}: no such file: {path}")
        try:
            return cls(path, function, Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"score {spelled!r}: {path} cannot be read: {error}") from error

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """What it returns for each answer.

        Raises:
            ScoreFailed: if it fails on one or more of them.
        """
        values, failures = list[float](), list[str]()
        hangs = asked = 0
        with _Host(self) as host:
            for answer in answers:
                asked += 1
                try:
                    values.append(host.call(answer))
                except TimeoutError as late:
                    failures.append(str(late))
                    hangs += 1
                    if hangs == MOST_HANGS:
                        break
                except _Failed as failed:
                    failures.append(str(failed))
        if failures:
            of = f"of {counted(len(answers), 'answer')}"
            rest = f"; the other {len(answers) - asked:,} were not tried" if asked < len(answers) else ""
            raise ScoreFailed(f"{failures[0]} (on {len(failures):,} {of}{rest})", len(failures))
        return values

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """A file that can be run, with such a function of these three arguments: it is loaded once."""
        try:
            with _Host(self):
                return ""
        except _Failed as error:
            return f"score {self.name!r} of {self.path}: {error}"

    def spec(self) -> list[Any]:
        """Name and SHA-256 of the file."""
        return [self.name, hashlib.sha256(self.source.encode()).hexdigest()]


class _Failed(ScoreFailed):
    """The function could not be loaded, or has no value for an answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 1)


class _Host:
    """The process of one function; begun anew after a call that killed it or took too long."""

    def __init__(self, score: UserFunction) -> None:
        self._score = score
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def call(self, answer: Answer) -> float:
        """Its value for an answer.

        Raises:
            TimeoutError: if it takes too long.
            ScoreFailed: if it raises, dies or returns no number.
        """
        if self._process is None:
            self._start()
        asked = {"prompt": answer.prompt, "completion": answer.completion, "reference": answer.reference}
        return float(self._asked(asked, self._score.seconds)["value"])

    def _start(self) -> None:
        self._pipe, far_end = Pipe()
        start = START.format(path=sys.path, host=HOST, file=far_end.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            pass_fds=[far_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        far_end.close()
        score = self._score
        try:
            self._asked({"path": score.path, "source": score.source, "name": score.function}, SECONDS_TO_LOAD)
        except BaseException as error:
            self._stop()
            if isinstance(error, TimeoutError):
                raise _Failed(f"loading it {error}") from error
            raise

    def _asked(self, sent: dict[str, str], seconds: float) -> dict[str, Any]:
        try:
            self._pipe.send_bytes(json.dumps(sent).encode())
            if not self._pipe.poll(seconds):
                self._stop()
                raise TimeoutError(f"took longer than {seconds:g} seconds and was ended")
            said = json.loads(self._pipe.recv_bytes())
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise _Failed(f"ended its process with code {self._stop()}") from error
        if "error" in said:
            raise _Failed(shortened(visible(said["error"]), 300))
        return said

    def _stop(self) -> int | None:
        """End the process, and its exit code; that of the kill if it was still running."""
        process, self._process = self._process, None
        if process is None:
            return None
        self._pipe.close()
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
