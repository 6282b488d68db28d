"""What a model's card says of its licence."""

from __future__ import annotations

import re
from pathlib import Path

from lensllm.candidates.files import regular
from lensllm.errors import InputError
from lensllm.text import shortened, visible

CARD = "README.md"
MOST_READ = 1 << 16
FRONT = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
SAID = re.compile(r"^license(?:_name)?:[ \t]*(?:\n[ \t]*-[ \t]*)?([^\n]+)$", re.MULTILINE)


def licence(folder: Path) -> str:
    r"""The licence that the settings at the head of the card name; empty where there is none.

    `other` gives way to the name beside it (`license_name`).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model")
    ...     licence(Path(folder))
    'apache-2.0'
    """
    try:
        with regular(folder, CARD).open("rb") as opened:
            text = opened.read(MOST_READ).decode("utf-8", "replace").replace("\r\n", "\n")
    except (InputError, OSError):
        return ""
    front = FRONT.match(text)
    found = [one.strip().strip("\"'") for one in SAID.findall(front[1])] if front else []
    named = [one for one in found if one and one != "other"] or found
    return shortened(visible(named[0])) if named else ""
