"""Names of runs that say what was trained on how much: `{candidate}-{examples}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lensllm.curve_numbers import size_of
from lensllm.errors import InputError

FIELDS = {
    "*": r".*?",
    "{candidate}": r"(?P<candidate>.+?)",
    "{examples}": r"(?P<examples>\d[\d,_]*[kKmM]?)",
    "{seed}": r"(?P<seed>\w+)",
}
PART = re.compile(r"(\{candidate\}|\{examples\}|\{seed\}|\*)")


@dataclass(frozen=True)
class NameParts:
    """What a name says; None or empty where it does not."""

    candidate: str
    examples: int | None
    seed: str


class RunNames:
    """A pattern of names with `{candidate}`, `{examples}`, `{seed}`, and `*` for anything.

    Args:
        pattern: the same text as the names, but for these.

    Raises:
        InputError: if it has no `{candidate}`, or another field in braces.

    >>> RunNames("{candidate}/n{examples}-*").read("llama/n1k-seed0")
    NameParts(candidate='llama', examples=1000, seed='')
    """

    def __init__(self, pattern: str) -> None:
        rest = PART.sub("", pattern)
        if "{candidate}" not in pattern or "{" in rest or "}" in rest:
            raise InputError(
                f"--run-names is {pattern!r}: expected {{candidate}} in it, and perhaps {{examples}}, {{seed}} and *"
            )
        if any(pattern.count(name) > 1 for name in FIELDS if name != "*"):
            raise InputError(f"--run-names is {pattern!r}: each of its fields may stand there once")
        self._regex = re.compile("".join(_regex_of(one) for one in PART.split(pattern)))

    def read(self, name: str) -> NameParts | None:
        """What a name says; None where it is not of this pattern."""
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        said = match.groupdict()
        size = size_of(said["examples"]) if said.get("examples") else None
        return NameParts(said["candidate"], int(size) if size else None, said.get("seed") or "")


def _regex_of(part: str) -> str:
    return FIELDS.get(part) or re.escape(part)
