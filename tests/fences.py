"""The fenced blocks of a page of documentation, and running them."""

import contextlib
import io
import linecache
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?P<language>[^\s`]*)(?: (?P<file>\S+))?$")
REASON = re.compile(r"^\*Not run by the tests(?: of this page)?: (.+)\*$")
NUMBER = re.compile(r"-?\d[\d,.]*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that its text is, if it is one, and why it is not run, if it is not."""

    language: str
    file: str
    text: str
    reason: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page in their order, directives of Sphinx left out.

    The line above a block that is not run says why: `*Not run by the tests: it takes an hour.*`
    """
    above, lines = "", iter(page.splitlines())
    for line in lines:
        if found := FENCE.match(line):
            text = "".join(f"{inside}\n" for inside in iter(lambda: next(lines), "```"))
            reason = REASON.match(above)
            if not found["language"].startswith("{"):
                yield Block(found["language"], found["file"] or "", text, reason[1] if reason else "")
        above = line if line.strip() else above


def run_blocks(page: str, command: Callable[..., str]) -> None:
    """Run a page in the working directory, block after block; a block of text behind one that ran is what it printed.

    A block with a file name is written to that file. Numbers may differ from those that are shown, words may not.

    Args:
        page: its Markdown.
        command: runs `lensllm` with the words behind it and returns what it printed.
    """
    names: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "text":
            missing = set(loosely(block.text)) - set(loosely(printed)) - {"..."}
            assert not printed or not missing, f"not printed: {missing}\nprinted:\n{printed}"
        elif block.reason:
            printed = ""
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as told:
                exec(compile(block.text, cell(block.text), "exec"), names)
            printed = told.getvalue()
        else:
            assert block.language == "sh", f"nobody knows how to run this, and no reason is given:\n{block.text}"
            printed = "".join(run_line(line, command) for line in block.text.replace("\\\n", " ").splitlines())


def cell(text: str) -> str:
    """A name under which Python finds these lines again, as those of a notebook's cell."""
    name = f"<block {len(linecache.cache)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    return name


def run_line(line: str, command: Callable[..., str]) -> str:
    """Run a line of a shell that calls `lensllm` or a Python module, and return what it printed."""
    words = shlex.split(line, comments=True)
    if words[0] == "lensllm":
        return command(*words[1:])
    assert words[:2] == ["python", "-m"], f"not a line that can be run here, and no reason is given: {line}"
    before, sys.argv = sys.argv, words[2:]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as told:
            runpy.run_module(words[2], run_name="__main__")
    finally:
        sys.argv = before
    return told.getvalue()


def loosely(text: str) -> list[str]:
    """Lines without their numbers and with single spaces."""
    return [" ".join(NUMBER.sub("#", line).split()) for line in text.splitlines() if line.strip()]
