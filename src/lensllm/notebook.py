"""Tables as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lensllm.text import visible


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = ()) -> str:
    """A table of texts, each shown as it is.

    Args:
        columns: what stands above them.
        rows: a text a column.
        colours: of a square before each row, which says whose line of a picture it is; empty for none.

    >>> table(["candidate", "loss"], [["<a>", "1.5"]])
    '<table><tr><th>candidate</th><th>loss</th></tr><tr><td>&lt;a&gt;</td><td>1.5</td></tr></table>'
    """
    head = "".join(f"<th>{escape(visible(one))}</th>" for one in columns)
    squares = [f'<span style="color:{colour}">&#9632;</span> ' for colour in colours] or [""] * len(rows)
    body = (
        f"<tr><td>{square}{'</td><td>'.join(escape(visible(cell)) for cell in row)}</td></tr>"
        for square, row in zip(squares, rows, strict=True)
    )
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"
