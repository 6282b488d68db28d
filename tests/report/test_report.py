import dataclasses
import json
import re

import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.planning import Cost, plan_sizes
from lensllm.planning.pareto import offers
from lensllm.planning.phases import phases
from lensllm.report import write_report
from lensllm.report.figures import APART, QUIET, cost_figure, curves_figure, ranking_figure
from lensllm.report.plan_figures import pareto_figure
from lensllm.report.spending import Spending, facts
from lensllm.selection import Selection, rank
from lensllm.selectors import default_selector, forecast_path
from lensllm.tuning.run import Run

HOSTILE = '<img src=x onerror="alert(1)">'


def selection(names, losses, sizes=(0, 50, 100)):
    curves = Curves(tuple(names), np.array(sizes), np.array(losses))
    forecast = forecast_path(default_selector(curves), curves, 1600, plan_sizes(curves, 1600))
    runs = [Run(name, 50, "done", flops=1e9, parameters=10) for name in names]
    ranking, joint = rank(curves, forecast, runs)
    failed = (Run(HOSTILE, 100, "diverged", error=HOSTILE),)
    numbers = (3e9, 3e10, 5.0)
    return Selection(HOSTILE, 1600, ranking, curves, joint, *numbers, "the end", failed, phases=phases(curves))


@pytest.fixture
def hostile():
    return selection([HOSTILE, "b"], [[2.0, 1.0, 0.9], [2.1, np.nan, 1.2]])


def test_what_came_from_data_is_shown_as_text(hostile, tmp_path):
    write_report(hostile, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert page.count("&lt;img") >= 4
    text = (tmp_path / "report.md").read_text()
    assert "<img" not in text
    assert text.count("&lt;img") >= 4


def test_every_measured_point_and_the_target_are_drawn(hostile):
    figure = curves_figure(hostile.curves, hostile.forecast, "nats a byte")
    points = {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in figure.data if trace.name}
    assert points["b"] == [(100, 1.2)]
    assert [*points.values()][-1] == [(50, 1.0), (100, 0.9)]
    ends = [trace.x[-1] for trace in figure.data if trace.line.dash == "dot"]
    assert ends == [1600, 1600]
    assert figure.layout.shapes[0].x0 == 1600


def test_a_forecast_begins_at_the_last_measured_point_and_bands_stay_in_the_picture():
    stopped = selection(["a", "b"], [[2.0, 1.2, 1.1, 1.0], [2.1, 1.3, np.nan, np.nan]], (0, 50, 100, 200))
    figure = curves_figure(stopped.curves, stopped.forecast, "nats")
    starts = {(trace.x[0], trace.y[0]) for trace in figure.data if trace.line.dash == "dot"}
    assert starts == {(200, 1.0), (50, 1.3)}
    low, high = 10 ** np.array(figure.layout.yaxis.range)
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(bands) == 2
    assert all(low <= min(band.y) and max(band.y) <= high for band in bands)


def test_what_a_model_has_as_it_came_is_in_the_picture_and_a_triangle_where_it_is_far_above():
    made = selection(["near", "far"], [[1.5, 1.2, 1.1], [9.0, 1.3, 1.2]])
    figure = curves_figure(made.curves, made.forecast, "nats")
    came = [trace for trace in figure.data if trace.mode == "markers"]
    assert {(one.marker.symbol, one.y[0] < 2.1) for one in came} == {("circle-open", True), ("triangle-up", True)}
    assert figure.layout.xaxis.ticktext[0] == "0"
    assert "9.000" in next(one.hovertemplate for one in came if one.marker.symbol == "triangle-up")


@pytest.mark.parametrize(("many", "coloured"), [(3, 3), (9, 9), (13, 5), (60, 5)])
def test_many_candidates_stay_readable(many, coloured):
    made = selection([f"m{k}" for k in range(many)], [[2.0, 1.0 + 0.01 * k, 0.9 + 0.01 * k] for k in range(many)])
    figure = curves_figure(made.curves, made.forecast, "nats")
    lines = [trace.line.color for trace in figure.data if trace.name]
    assert len({colour for colour in lines if colour != QUIET}) == coloured
    numbers = [one for one in figure.layout.annotations if one.text.startswith("<b>")]
    assert sorted(one.text for one in numbers) == sorted(f"<b>{k + 1}</b>" for k in range(coloured))
    low, high = figure.layout.yaxis.range
    heights = np.sort([one.y for one in numbers])
    assert coloured == 1 or np.diff(heights).min() >= 0.99 * APART * (high - low)


def test_what_it_costs_in_time_and_money():
    costs = {name: Cost(1e9, 10, 2e3, 1e3) for name in ("a", "b")}
    made = dataclasses.replace(selection(["a", "b"], [[2.0, 1.0, 0.9], [2.1, 1.3, 1.2]]), costs=costs, seconds=7200.0)
    spent = Spending.of(made)
    assert [(row.flops, row.time) for row in spent.rows] == [(3e9, "2.0 h"), (1e9, "40 min"), (3e10, "20 h")]
    assert not spent.priced
    assert ("to train it on all the data", "40 min") in facts(made, spent)


def test_axes_have_round_ticks_inside_their_range(hostile):
    for axis in (
        curves_figure(hostile.curves, hostile.forecast, "nats").layout.yaxis,
        ranking_figure(hostile).layout.xaxis,
    ):
        low, high = 10 ** np.array(axis.range)
        assert 2 <= len(axis.tickvals) <= 9
        assert all(low <= tick <= high for tick in axis.tickvals)


def test_the_costs_are_the_selections(hostile):
    bars = [bar.x[0] for bar in cost_figure(hostile).data]
    assert sum(bars[:-1]) == pytest.approx(2e9)
    assert bars[-1] == 3e10


@pytest.mark.parametrize("names", [["a"], [f"m{i}" for i in range(40)]])
def test_one_candidate_or_many(names, tmp_path):
    one = selection(names, [[2.0, 1.0, 0.9 + i / 100] for i in range(len(names))])
    one.save(tmp_path)
    write_report(one, tmp_path / "report.html")
    rows = json.loads((tmp_path / "selection.json").read_text())["ranking"]
    page = (tmp_path / "report.html").read_text()
    assert len(re.findall("<tr>|<tr class", page)) == 1 + 2 + 1 + len(rows) + 1 + len(names)


def test_what_doubling_brings_and_the_fronts_are_in_the_report(hostile, tmp_path):
    write_report(hostile, tmp_path / "report.html")
    without = (tmp_path / "report.html").read_text()
    assert "Twice the data (3,200 examples) would bring" in without
    assert "FLOPs a token" not in without
    costs = {name: Cost(1e12, 10, 2e3, 1e3) for name in hostile.curves.candidates}
    write_report(dataclasses.replace(hostile, costs=costs), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "FLOPs a token" in page
    assert "<img" not in page


def test_the_answer_is_highlighted_also_where_it_is_not_the_first(tmp_path):
    """Of two candidates that are alike the smaller is the answer, and the second row."""
    made = selection(["big", "small"], [[2.0, 1.0, 0.9], [2.0, 1.0, 0.901]])
    for small, answer in ((1, "small"), (99, "big")):
        rows = [dataclasses.replace(row, parameters=small) if row.candidate == "small" else row for row in made.ranking]
        alike = dataclasses.replace(made, ranking=tuple(rows))
        assert (alike.best, alike.ranking[0].candidate) == (answer, "big")
        write_report(alike, tmp_path / "report.html")
        marked = re.findall('<tr class="best"><td>([^<]*)', (tmp_path / "report.html").read_text())
        assert marked == [answer, answer]


def test_the_fronts_are_drawn_through_what_is_on_them():
    costs = {"a": Cost(10.0, 100, 1.0, 1.0), "b": Cost(1.0, 10, 1.0, 2.0), "worse": Cost(11.0, 200, 1.0, 3.0)}
    made = offers({"a": 1.0, "b": 2.0, "worse": 3.0}, costs)
    lines = [trace for trace in pareto_figure(made, "nats").data if trace.mode == "lines"]
    assert [list(line.x) for line in lines] == [[1.0, 10.0], [10.0, 100.0], [1.0]]
    assert list(lines[0].y) == [2.0, 1.0]


def test_phases_are_shown_once_there_are_four_sizes(tmp_path):
    sizes = (50, 100, 200, 400, 800, 1600, 3200)
    losses = [1.7 * 200**0.9 / (200**0.9 + size**0.9) + 0.3 for size in sizes]
    write_report(selection(["<b>a", "c"], [losses, losses[:3] + [np.nan] * 4], sizes), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "c: phase unknown: 3 sizes, 4 needed" in page
    assert "<b>a" not in page
    assert page.count('class="plotly-graph-div"') == 4
    write_report(selection(["a"], [[2.0, 1.0, 0.9]]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "all candidates: phase unknown: 2 sizes, 4 needed" in page
    assert page.count('class="plotly-graph-div"') == 3
