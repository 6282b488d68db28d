"""The process that a user's score function runs in. It imports nothing of ours, so that it begins at once."""

from __future__ import annotations

import inspect
import json
import math
import numbers
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Function = Callable[..., Any]


def serve(file: int) -> None:
    """Load a function, then call it with what comes through a pipe until that closes; everything is JSON.

    Args:
        file: descriptor of the pipe's end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks, which ends this one
    pipe = Connection(file)
    try:
        function = _loaded(**json.loads(pipe.recv_bytes()))
        _send(pipe, {})
    except BaseException as error:
        _send(pipe, {"error": _said(error)})
        return
    while True:
        try:
            asked = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            _send(pipe, {"value": _number(function(**asked))})
        except BaseException as error:
            _send(pipe, {"error": _said(error)})


def _loaded(path: str, source: str, name: str) -> Function:
    made: dict[str, Any] = {"__name__": "score", "__file__": path}
    exec(compile(source, path, "exec"), made)
    function = made.get(name)
    if not callable(function):
        known = [key for key, value in made.items() if inspect.isfunction(value)]
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise LookupError(f"there is no function {name!r} in it ({has})")
    try:
        inspect.signature(function).bind(prompt="", completion="", reference="")
    except TypeError as error:
        raise LookupError(f"{name} cannot be called with prompt, completion and reference: {error}") from error
    return function


def _number(value: Any) -> float:
    """True and False are 1 and 0; a number of numpy or torch is a number."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, numbers.Real):
        raise LookupError(f"returned {repr(value)[:80]}, which is no number")
    if not math.isfinite(plain):
        raise LookupError(f"returned {plain}")
    return float(plain)


def _said(error: BaseException) -> str:
    """What went wrong: our own words as they are, any other error with its kind and the line of the user's file."""
    text = " ".join(str(error).split())
    if type(error) is LookupError:
        return text
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    where = "" if isinstance(error, SyntaxError) or not lines else f" (line {lines[-1]})"
    return f"raised {type(error).__name__}{f': {text}' if text else ''}{where}"


def _send(pipe: Connection, said: dict[str, Any]) -> None:
    try:
        pipe.send_bytes(json.dumps(said).encode())
    except (BrokenPipeError, OSError):
        sys.exit(0)
