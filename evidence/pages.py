"""Sections of the documentation that a command writes: Markdown between two markers, and figures as SVG."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
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


def photographed(figure: go.Figure, picture: Path) -> None:
    """Write a figure as PNG, twice its size for sharp screens; raises as `photograph`."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        figure.write_html(page, include_plotlyjs=True, config={"displayModeBar": False})
        page.write_text(page.read_text().replace("<body>", "<body style='margin: 0'>"))
        photograph(page, picture, figure.layout.width, figure.layout.height, scale=2)


def photograph(page: Path, picture: Path, width: int, height: int, scale: int = 1) -> None:
    """Write what a browser without a window shows of a page as PNG.

    Args:
        page: an HTML file.
        picture: is written.
        width: of the window, in CSS pixels.
        height: likewise.
        scale: pixels a CSS pixel.

    Raises:
        InputError: if there is no Chromium, or it makes no picture.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        raise InputError("a picture needs Chromium: apt-get install chromium")
    picture.parent.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"),
            *("--virtual-time-budget=10000", f"--screenshot={picture.resolve()}", page.resolve().as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if told.returncode or not picture.is_file():
        raise InputError(f"{browser} made no picture of {page}: {told.stderr.strip()[-200:]}")


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
