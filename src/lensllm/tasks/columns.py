"""Which columns are read: those of a layout, or those that the user names; none is passed over in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lensllm.errors import InputError
from lensllm.tasks.formats import KNOWN_COLUMNS, LAYOUTS, TITLES
from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Row, is_missing
from lensllm.text import listed, shortened

ASIDE = frozenset(
    {"", "unnamed: 0", "__index_level_0__", "id", "idx", "index", "no", "nr", "row", "uid", "uuid", "guid", "hash"}
    | {"source", "src", "url", "uri", "link", "file", "filename", "path", "page", "metadata", "meta", "info", "dataset"}
    | {"date", "time", "timestamp", "created", "created_at", "updated_at", "author", "version", "license", "licence"}
    | {"parallel_tool_calls", "conversation_id", "chat_id", "session_id"}
)
"""Columns, in small letters, that say where a row comes from and nothing that a model should learn."""


@dataclass(frozen=True)
class ColumnNames:
    """The columns that the user names; empty for those of the layouts.

    Attributes:
        prompt: column of the prompts.
        completion: column of the completions.
        text: column of plain texts.
        messages: column of conversations.
        system: column of the system's words beside prompts or conversations.
        tools: column of the tools that may be called.
    """

    prompt: str = ""
    completion: str = ""
    text: str = ""
    messages: str = ""
    system: str = ""
    tools: str = ""

    def __post_init__(self) -> None:
        kinds = {
            "a text column": self.text,
            "a messages column": self.messages,
            "a prompt or completion column": self.prompt or self.completion,
        }
        given = [kind for kind, name in kinds.items() if name]
        if len(given) > 1:
            raise InputError(f"{given[0]} and {given[1]} exclude each other: name one kind")
        if (self.system or self.tools) and not (self.messages or self.prompt or self.completion):
            raise InputError("a system or tools column stands beside others: name --messages-column or --prompt-column")

    @property
    def given(self) -> dict[str, str]:
        """Column of a layout -> column of the file, in small letters, of those that make the layout."""
        if self.text or self.messages:
            return {"text": _plain(self.text)} if self.text else {"messages": _plain(self.messages)}
        if not (self.prompt or self.completion):
            return {}
        return {"prompt": _plain(self.prompt or "prompt"), "completion": _plain(self.completion or "completion")}

    @property
    def beside(self) -> dict[str, str]:
        """The same for those that a layout may have."""
        return {key: _plain(name) for key, name in (("system", self.system), ("tools", self.tools)) if name}


def _plain(name: str) -> str:
    return name.strip().casefold()


@dataclass(frozen=True)
class Columns:
    """How the rows of a file are read.

    Attributes:
        layout: makes an example of a row.
        renamed: column of the file -> column of the layout, for those that are read.
        aside: columns that are not read.
    """

    layout: Layout
    renamed: dict[str, str]
    aside: tuple[str, ...]

    def read(self, row: Row) -> Row:
        """The row with the columns of the layout alone."""
        return Row({self.renamed[c]: v for c, v in row.values.items() if c in self.renamed}, row.number, row.short)


def columns_of(rows: Sequence[Row], name: str, unit: str, wanted: ColumnNames) -> Columns:
    """The layout of a file.

    Args:
        rows: all of its rows.
        name: of the file, for messages.
        unit: what rows are counted in.
        wanted: columns that the user names.

    Raises:
        InputError: if there is no such layout, a named column is missing, or a column would not be read that may be
            meant to be: its name and the first row where something stands in it are told.
    """
    filled = _first_filled(rows)
    known = {column.strip().casefold(): column for column in filled}
    if len(known) < len(filled):
        raise InputError(f"{name} has two columns of one name among {listed([repr(c) for c in filled], 20)}")
    if wanted.given:
        layout, renamed = _named(wanted, known, name)
    else:
        layout = _layout(known, filled, name)
        renamed = {known[column]: column for column in layout.columns if column in known}
    aside = [column for column, row in filled.items() if column not in renamed and row is not None]
    unread = [column for column in aside if not _is_aside(column)]
    if unread and not wanted.given:
        first = filled[unread[0]]
        raise InputError(
            f"{name} would be read as {layout.title}, without the column{'s' * (len(unread) > 1)} "
            f"{listed([repr(c) for c in unread])} (from {unit} {first} on): name what is meant with --messages-column, "
            "--prompt-column and --completion-column, or --text-column, or take out what is not"
        )
    return Columns(layout, renamed, tuple(aside))


def _first_filled(rows: Sequence[Row]) -> dict[str, int | None]:
    """Every column and the number of the first row where something stands in it."""
    filled: dict[str, int | None] = {}
    for row in rows:
        for column, value in row.values.items():
            if filled.get(column) is None:
                filled[column] = None if is_missing(value) or value in ([], {}) else row.number
    return filled


def _layout(known: dict[str, str], filled: dict[str, int | None], name: str) -> Layout:
    """The layout that reads most of the columns."""
    fitting = [layout for layout in LAYOUTS if all(column in known for column in layout.needs)]
    if not fitting:
        columns = listed([repr(column) for column in filled], 10) or "(none)"
        raise InputError(
            f"{name} has the columns {columns}: expected {TITLES}; or name yours with --messages-column, "
            "--prompt-column and --completion-column, or --text-column"
        )
    return max(fitting, key=lambda layout: sum(filled.get(known.get(c, "")) is not None for c in layout.columns))


def _named(wanted: ColumnNames, known: dict[str, str], name: str) -> tuple[Layout, dict[str, str]]:
    """The layout of the named columns, and how these and those it may have are called."""
    given = wanted.given
    layout = next(layout for layout in LAYOUTS if set(layout.needs) == set(given))
    may = {column: column for column in layout.may if column in known and column not in given.values()}
    read = may | given | wanted.beside
    for column in (*given.values(), *wanted.beside.values()):
        if column not in known:
            raise InputError(f"{name} has no column {column!r}: it has {listed([repr(c) for c in known.values()], 10)}")
    if len(set(read.values())) < len(read):
        twice = next(c for i, c in enumerate(read.values()) if c in list(read.values())[:i])
        roles = " and the ".join(target for target, column in read.items() if column == twice)
        raise InputError(f"{twice!r} cannot be both the {roles}")
    return layout, {known[column]: target for target, column in read.items()}


def _is_aside(column: str) -> bool:
    name = column.strip().casefold()
    return name not in KNOWN_COLUMNS and (name in ASIDE or name.endswith(("_id", "_idx", "_url", "_hash", " id")))


def said_aside(columns: Sequence[str]) -> str:
    """The sentence about columns that are not read."""
    return f"not read: {listed([shortened(column, 30) or '(a column without a name)' for column in columns], 10)}"
