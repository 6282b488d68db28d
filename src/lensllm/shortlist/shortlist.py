"""A shortlist: who has a place and why, who has none and why not."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lensllm.curve_tables import written_name
from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.shortlist.dropped import Dropped
from lensllm.text import counted, visible

FILE, TABLE = "shortlist.txt", "models.csv"
KEPT = "kept"


@dataclass(frozen=True)
class Kept:
    """A model that has a place.

    Attributes:
        name: as the hub lists it.
        commit: that was looked at.
        reasons: why, the first of them the one that gave the place.
        family: architecture and organisation.
        parameters: of the model.
        licence: as its page names it.
        created: day on which it came to the hub; empty where that is not said.
        downloads: of the last month.
        context: tokens that it reads at once.
        memory_bytes: the most at once in training, an estimate.
        download_bytes: of its weights that are still to be fetched.
        nats_per_byte: loss as it came; None where it was not measured.
        standard_error: of it.
    """

    name: str
    commit: str
    reasons: tuple[str, ...]
    family: str
    parameters: int
    licence: str
    created: str
    downloads: int
    context: int
    memory_bytes: int
    download_bytes: int
    nats_per_byte: float | None = None
    standard_error: float | None = None

    @property
    def line(self) -> str:
        """Of the shortlist's file: the model at its commit, and a comment."""
        loss = "" if self.nats_per_byte is None else f"{self.nats_per_byte:.3f} nats/byte; "
        return f"{self.name}@{self.commit}  # {loss}{visible('; '.join(self.reasons))}"


@dataclass(frozen=True)
class Shortlist:
    """What was found on the hub for a task.

    Attributes:
        task: its name.
        listed: how many models the hub listed.
        examples: test examples that losses were measured on.
        kept: in the order in which they got their places.
        dropped: all others, each with a reason.
        notes: what is to be said of task, hub and places.
        folder: where it was written; None where it was not.

    >>> made = Shortlist("support", 2, 50, (), (Dropped("a/b", "gated", "..."), Dropped("c/d", "gated", "...")))
    >>> made.counts, made.sentence
    ({'gated': 2}, 'Kept 0 of 2 models: 2 dropped (gated 2).')
    """

    task: str
    listed: int
    examples: int
    kept: tuple[Kept, ...]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Kind of reason -> how many were dropped for it, the most first."""
        return dict(Counter(one.kind for one in self.dropped).most_common())

    @property
    def sentence(self) -> str:
        """How many are left, and where the others went."""
        why = ", ".join(f"{kind} {count}" for kind, count in self.counts.items())
        gone = f": {len(self.dropped):,} dropped ({why})" if self.dropped else ""
        return f"Kept {len(self.kept):,} of {counted(self.listed, 'model')}{gone}."

    @property
    def table(self) -> Path:
        """Where every model stands with its reason."""
        return (self.folder or Path()) / TABLE

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        told = asdict(self) | {"folder": None if self.folder is None else str(self.folder)}
        return told | {"counts": self.counts, "sentence": self.sentence}

    def save(self, folder: Path) -> None:
        """Write `shortlist.txt`, for `--models @shortlist.txt`, and `models.csv`, every model with its reason.

        Raises:
            InputError: if they cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}): name another output folder") from error
        write_whole(folder / FILE, "".join(f"{one.line}\n" for one in self.kept))
        kept: Sequence[tuple[str, str, str]] = [(one.name, KEPT, "; ".join(one.reasons)) for one in self.kept]
        rows = [*kept, *((one.name, one.kind, one.reason) for one in self.dropped)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("model", "outcome", "reason"))
        writer.writerows([written_name(visible(cell)) for cell in row] for row in rows)
        write_whole(folder / TABLE, text.getvalue())
