"""Sections of the documentation that a command writes: Markdown between two markers, and figures as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go

from lensllm.errors import InputError


def write_section(page: Path, name: str, command: str, body: str, title: str) -> None:
    """Replace the section of a page that a command writes; the page is made, or the section put at its end, if missing.

    Args:
        page: a Markdown file.
        name: of the section, in its markers.
        command: that writes it, named in the first marker.
        body: Markdown.
        title: heading of a new page.
    """
    begin, end = f"<!-- {name}: written by `{command}` -->", f"<!-- {name}: end -->"
    text = page.read_text() if page.is_file() else f"# {title}\n"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    page.write_text(f"{before}{begin}\n\n{body.strip()}\n\n{end}{rest.split(end)[1]}")


def write_figures(folder: Path, figures: Mapping[str, go.Figure]) -> None:
    """Write each figure as `folder`/name.svg.

    Raises:
        InputError: if the package `kaleido` or a Chrome browser is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        try:
            figure.write_image(folder / f"{name}.svg")
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"the figures need `pip install 'lensllm[figures]'` and a Chrome browser: {error}"
            ) from error


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def dressed(figure: go.Figure, height: int = 380) -> go.Figure:
    """The look of every figure in the documentation."""
    return figure.update_layout(
        template="plotly_white",
        width=900,
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "y": -0.22},
        font={"family": "Helvetica, Arial, sans-serif", "size": 12},
    )
