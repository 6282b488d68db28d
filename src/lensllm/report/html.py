"""One self-contained HTML page that works offline and escapes everything that came from data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from lensllm.files import write_whole
from lensllm.planning import CurveSamples, Plan, doubling_sentence, doublings, offers_of
from lensllm.planning.plan import rounded
from lensllm.report.figures import INK, QUIET, colours_of, cost_figure, curves_figure, ranking_figure, tuned_order
from lensllm.report.plan_figures import need_figure, pareto_figure
from lensllm.report.score_figures import forgotten_figure, score_figure
from lensllm.report.spending import Spending, facts
from lensllm.report.theory_figures import bound_figure, slopes_figure
from lensllm.scored import Scored
from lensllm.selection import Selection
from lensllm.text import memory, short

UNIT = "nats a byte"


def write_report(selection: Selection, path: str | Path) -> None:
    """Write the report of a selection to one HTML file, with the bounds that its folder holds for the same task.

    The same without pictures goes to a file of the same name that ends in `.md`.

    >>> import tempfile
    >>> from lensllm import Curves
    >>> from lensllm.planning import plan_sizes
    >>> from lensllm.selection import rank
    >>> from lensllm.selectors import GrowingSlopes
    >>> curves = Curves(("small", "large"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.65, 1.49, 1.35]])
    >>> ranking, forecast = rank(curves, GrowingSlopes().forecast(curves, 1600, plan_sizes(curves, 1600)), [])
    >>> found = Selection("mine", 1600, ranking, curves, forecast, 2e11, 2e12, seconds=60, stopped="it is sure")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(found, f"{folder}/report.html")
    ...     "Fine-tune large" in Path(folder, "report.html").read_text(encoding="utf-8")
    True
    """
    from lensllm.theory.bound import decays, load_bounds

    bounds = load_bounds(Path(path).parent, selection.task)
    power = decays(bounds)
    order = tuned_order(selection)
    figures = {
        "curves": curves_figure(selection.curves, selection.forecast, UNIT, order),
        "ranking": ranking_figure(selection),
        "cost": cost_figure(selection),
    }
    if known := [phase for phase in selection.phases if phase.phase != "unknown"]:
        figures["slopes"] = slopes_figure(selection.curves, known)
    figures |= {f"bound of {name}": bound_figure(rows, power.get(name)) for name, rows in bounds.items()}
    samples = CurveSamples.of(selection.forecast, selection.curves)
    doubled, offered = doublings(samples, selection.costs), offers_of(samples, selection.costs)
    if offered:
        figures["pareto"] = pareto_figure(offered, UNIT, order, legend=False)
    outlook = {"doublings": doubled, "offers": offered, "doubling": doubling_sentence(doubled[0], samples.size)}
    spent = Spending.of(selection)
    context: dict[str, object] = {"size": samples.size, "bounded": list(bounds), **outlook, "legend": _legend(order)}
    context |= {"facts": facts(selection, spent), "spending": spent.rows, "priced": spent.priced}
    if selection.scored:
        figures |= _score_figures(selection, selection.scored)
        context |= _score_context(selection, selection.scored)
    write_whole(path, page("selection.html.j2", figures, selection=selection, **context))
    write_whole(Path(path).with_suffix(".md"), markdown("selection.md.j2", selection=selection, **context))


def _legend(order: Sequence[str]) -> list[dict[str, object]]:
    """Colour, place and name of the candidates that have a colour; the others together."""
    colours = colours_of(order)
    told: list[dict[str, object]] = [
        {"colour": colours[name], "place": place, "name": name}
        for place, name in enumerate(order, start=1)
        if colours[name] != QUIET
    ]
    if others := len(order) - len(told):
        told.append({"colour": QUIET, "place": None, "name": f"{others} others; point at a line for its name"})
    return told


def _score_figures(selection: Selection, scored: Scored) -> dict[str, go.Figure]:
    names = tuned_order(selection)
    figures = {f"score {one.name}": score_figure(scored, one.name, names) for one in scored.objectives}
    if scored.forgotten:
        figures["forgotten"] = forgotten_figure(scored.forgotten, scored.kept_name)
    return figures


def _score_context(selection: Selection, scored: Scored) -> dict[str, object]:
    """Scores, forgetting, and each candidate's answers to the same prompts by number of training examples."""
    answers = {}
    for row in selection.ranking:
        of = scored.samples(row.model) if row.method != "none" else {}
        rows = [dict(zip(of, one, strict=True)) for one in zip(*of.values(), strict=True)]
        if rows:
            answers[row.candidate] = [
                {
                    "prompt": next(iter(one.values())).prompt,
                    "reference": next(iter(one.values())).reference,
                    "completions": {size: sample.completion for size, sample in one.items()},
                }
                for one in rows
            ]
    return {"scored": scored, "forgotten": scored.forgotten, "samples": answers}


def write_plan(plan: Plan, unit: str, path: str | Path) -> None:
    """Write a plan to one HTML file.

    Args:
        plan: as made by `lensllm.plan`.
        unit: of the losses.
        path: of the file.

    >>> import tempfile
    >>> from lensllm import Curves
    >>> from lensllm.planning import plan
    >>> made = plan(Curves(("a",), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33]]), 1600, gain=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_plan(made, "nats a byte", f"{folder}/plan.html")
    ...     "How much data?" in Path(folder, "plan.html").read_text(encoding="utf-8")
    True
    """
    figures = {"need": need_figure(plan, unit)}
    if plan.offers:
        figures["pareto"] = pareto_figure(plan.offers, unit)
    outlook = {"size": plan.size, "doublings": plan.doublings, "offers": plan.offers}
    write_whole(path, page("plan.html.j2", figures, plan=plan, unit=unit, **outlook))


def markdown(template: str, **context: object) -> str:
    """Render a template of this folder whose text is Markdown; no name is taken for markup."""
    environment = _environment()
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**context)


def _cell(text: object) -> Markup:
    """On one line, and nothing in it ends a cell or begins code."""
    return Markup(escape(" ".join(str(text).split())).replace("|", "&#124;").replace("`", "&#96;"))


def page(template: str, figures: dict[str, go.Figure], **context: object) -> str:
    """Render a template of this folder with its figures and the drawing library inside."""
    environment = _environment()
    plain: dict[str, Any] = {
        "full_html": False,
        "include_plotlyjs": False,
        "config": {"displayModeBar": False, "responsive": True},
    }
    drawn = {
        name: Markup(figure.to_html(div_id=f"figure-{place}", **plain))
        for place, (name, figure) in enumerate(figures.items(), start=1)
    }
    return environment.get_template(template).render(figures=drawn, plotly=Markup(get_plotlyjs()), ink=INK, **context)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lensllm", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"rounded": rounded, "memory": memory, "short": short}
    return environment
