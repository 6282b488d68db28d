"""How configurations and data files are written: YAML under a comment, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lensllm.text import visible


@dataclass(frozen=True)
class Exported:
    """What a tool is given.

    Attributes:
        files: path below the target folder -> text.
        command: that trains, from within that folder.
        notes: what the tool does in another way than what was measured.

    >>> Exported({"train.py": "..."}, "python train.py").notes
    ()
    """

    files: Mapping[str, str]
    command: str
    notes: tuple[str, ...] = ()


def commented_yaml(lines: Iterable[str], settings: Mapping[str, Any]) -> str:
    """Settings in their order, under lines of comment; what is None is left out.

    >>> print(commented_yaml(["On forecast?"], {"learning_rate": 0.0001, "packing": False, "seed": None}), end="")
    # On forecast?
    learning_rate: 0.0001
    packing: false
    """
    kept = {name: value for name, value in settings.items() if value is not None}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)
    return "".join(f"# {visible(line)}\n" for line in lines) + text


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """A row a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
