"""One self-contained HTML page that works offline and escapes everything that came from data."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lensllm.report.figures import cost_figure, curves_figure, ranking_figure
from lensllm.selection import Selection

UNIT = "nats a byte"


def write_report(selection: Selection, path: str | Path) -> None:
    """Write the report of a selection to one HTML file."""
    figures = {
        "curves": curves_figure(selection.curves, selection.path, UNIT),
        "ranking": ranking_figure(selection),
        "cost": cost_figure(selection),
    }
    Path(path).write_text(page("selection.html.j2", figures, selection=selection), encoding="utf-8")


def page(template: str, figures: dict[str, go.Figure], **context: object) -> str:
    """Render a template of this folder with its figures and the drawing library inside."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    drawn = {
        name: Markup(figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False}))
        for name, figure in figures.items()
    }
    source = files("lensllm.report").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(figures=drawn, plotly=Markup(get_plotlyjs()), **context)
