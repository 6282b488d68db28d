"""What a notebook shows: how far a selection is, and tables and pictures of its answer."""

import re
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import lensllm
from lensllm import progress
from lensllm.curves import Curves
from lensllm.picture import COLOURS, QUIET
from lensllm.planning import plan_sizes
from lensllm.selection import Selection, rank
from lensllm.selectors import GrowingSlopes, forecast_path

FEW = {"sizes": [25], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}


@pytest.fixture
def cell(monkeypatch):
    """What is shown below a cell: a list for each display, what it showed in turn."""
    shown = []

    def display(html, display_id):
        assert display_id
        shown.append([html])
        return SimpleNamespace(update=shown[-1].append)

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display, HTML=str))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


def test_a_notebook_shows_one_bar_that_grows(cell, tmp_path):
    lensllm.select("define", ["gpt2-0.2m-random"], output_dir=tmp_path, **FEW)
    [shown] = cell
    for html in shown[1:]:
        ElementTree.fromstring(html)
    assert "reading models and data" in shown[1]
    assert any('value="1" max="2"' in html and "gpt2-0.2m-random on 0 examples: " in html for html in shown)
    assert re.search(r'value="2" max="2"></progress> 2 runs in \d+ s', shown[-1])


def test_it_can_be_left_out(cell, tmp_path):
    lensllm.select("define", ["gpt2-0.2m-random"], output_dir=tmp_path, progress=False, **FEW)
    assert cell == []


def test_a_script_whose_output_nobody_watches_shows_nothing_unless_asked(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    for wanted, lines in ((None, False), (False, False), (True, True)):
        with progress.progress(wanted) as told:
            for one in told:
                one.step("reading", 1, 2)
        assert bool(capsys.readouterr().err) == lines


def some(count):
    names = tuple(f"<m{k}>" for k in range(count))
    sizes = [0, 50, 100, 200, 400]
    losses = 2 + np.arange(count)[:, None] / 10 - np.log(np.maximum(sizes, 20)) / 10
    losses[-1, 3] = np.nan
    return Curves(names, sizes, losses, notes=("a <note>",))


def selected(curves):
    path = forecast_path(GrowingSlopes(), curves, 1600, plan_sizes(curves, 1600))
    ranking, joint = rank(curves, path, [])
    return Selection("t", 1600, ranking, curves, joint, 1.0, 2.0, 3.0, "sure", notes=("a <note>",))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_curves_forecast_and_selection_show_a_picture_and_a_table(count):
    curves = some(count)
    found = selected(curves)
    for one in (curves, found.forecast, found):
        html = one._repr_html_()
        page = ElementTree.fromstring(f"<div>{html}</div>")
        rows = page.findall("table/tr")[1:]
        assert len(rows) == count + (one is not curves)
        named = {"".join(row[0].itertext()).strip("■ ") for row in rows}
        assert set(curves.candidates) <= named
        drawn = page.find("{*}svg")
        assert len(drawn.findall("{*}g")) == len(rows) - (one is found)
        assert {title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")} <= named
        assert not re.search(r"<script|<img|href|src=|url\(", html)
        assert html.count("http") == 1
        assert "nan" not in html


def test_the_picture_has_what_was_measured_and_what_is_forecast():
    found = selected(some(2))
    page = ElementTree.fromstring(f"<div>{found._repr_html_()}</div>")
    first, last = page.find("{*}svg").findall("{*}g")
    for group, dots in ((first, 3), (last, 4)):
        assert len(group.findall("{*}circle")) == dots
        assert sum("stroke-dasharray" in path.attrib for path in group.findall("{*}path")) == 1
    texts = [one.text for one in page.iter("{http://www.w3.org/2000/svg}text")]
    assert "1,600" in texts
    heights = [float(dot.get("cy")) for dot in last.findall("{*}circle")]
    assert heights == sorted(heights)
    colour = last.get("stroke")
    assert colour == COLOURS[0]
    assert f'<span style="color:{colour}">&#9632;</span> {"&lt;m0&gt;"}' in found._repr_html_()


def test_of_many_only_the_first_have_a_colour():
    html = selected(some(40))._repr_html_()
    assert sum(colour in html for colour in COLOURS) == 5
    assert QUIET in html


def test_nothing_to_draw_is_no_picture():
    html = Curves(("a",), [0], [[2.0]])._repr_html_()
    assert "<svg" not in html
    assert "2.000" in html
