"""What a person asks of a search that runs: to stop, drop or add a candidate, spend more. Each is part of its log."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from lensllm.errors import InputError
from lensllm.files import append_text

FILE_NAME = "orders.jsonl"
Kind = Literal["stop", "drop", "budget", "add"]
STOPPED = "you stopped it"


@dataclass(frozen=True)
class Order:
    """One thing asked for.

    Attributes:
        kind: "stop" once the running jobs have ended, "drop" a candidate, raise the "budget", or "add" a candidate.
        candidate: to be dropped: it is run no further and is no longer one of those to choose from. Of one that was
            added its name.
        budget: what may be spent in all, in the unit that the budget was given in.
        model: to be added: a folder, a zoo name or a hub id.
        method: that it is tuned by; empty for the default.
        refused: why it was not carried out; empty where it was.
        key: of its own.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Order("drop", "gpt2").ask(folder)
    >>> [(one.kind, one.candidate) for one in asked(folder)]
    [('drop', 'gpt2')]
    """

    kind: Kind
    candidate: str = ""
    budget: float = 0.0
    refused: str = ""
    key: str = ""
    model: str = ""
    method: str = ""

    def ask(self, folder: Path) -> None:
        """Leave it in the folder of the search, which finds it before its next decision.

        Raises:
            InputError: if it cannot be written.
        """
        told = {**asdict(self), "key": uuid.uuid4().hex}
        append_text(folder / FILE_NAME, json.dumps(told) + "\n")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What a line of the file or of the log says.

        Raises:
            ValueError: if it is no order.
        """
        made: Self = TypeAdapter(cls).validate_python(dict(fields))
        return made

    @property
    def told(self) -> str:
        """The order in words.

        >>> Order("budget", budget=0.2).told
        'you raised the budget to 0.2'
        """
        added = self.candidate or f"{self.model} {self.method}".strip()
        said = {"stop": STOPPED, "drop": f"you dropped {self.candidate}", "add": f"you added {added}"}
        made = said.get(self.kind) or f"you raised the budget to {self.budget:g}"
        return f"{made} (not carried out: {self.refused})" if self.refused else made

    def judged(self, candidates: Collection[str], budget: float) -> Self:
        """The same, refused where it cannot be carried out; what is added was judged where it was let in.

        Args:
            candidates: those that are left.
            budget: that there is, in the unit that it was given in.
        """
        return self if self.kind == "add" else replace(self, refused=self._refusal(candidates, budget))

    def _refusal(self, candidates: Collection[str], budget: float) -> str:
        if self.kind == "drop" and self.candidate not in candidates:
            return "no such candidate is left"
        if self.kind == "drop" and len(candidates) == 1:
            return "it is the last candidate: stop the search instead"
        if self.kind == "budget" and not budget < self.budget < math.inf:
            return f"the budget can only be raised, and it is {budget:g}"
        return ""


def forget(folder: Path) -> None:
    """Take away what was asked of an earlier search.

    Raises:
        InputError: if that cannot be done.
    """
    try:
        (folder / FILE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder / FILE_NAME} cannot be removed ({error.strerror}): remove it") from error


def asked(folder: Path, known: Collection[str] = ()) -> list[Order]:
    """The orders in a folder in the order they came, but for those whose keys are known.

    Raises:
        InputError: if the file is damaged; a last line that is not whole yet is left for the next time.
    """
    path = folder / FILE_NAME
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        orders = [Order.from_dict(json.loads(line)) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())[:200]}): delete it") from error
    return [order for order in orders if order.key not in known]
