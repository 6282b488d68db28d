"""The report in a browser: wide and narrow, light and dark, with few and many candidates."""

import numpy as np
import pytest
from test_report import selection

from lensllm.report import write_report

BEYOND = """[...document.querySelectorAll('body *')]
    .filter((one) => !one.closest('.wide, svg') && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 90))"""
UNSEEN = """[...document.querySelectorAll('svg text')]
    .filter((one) => one.textContent && getComputedStyle(one).fill === getComputedStyle(document.body).backgroundColor)
    .map((one) => one.textContent)"""


@pytest.fixture(scope="module", params=[3, 13, 60])
def report(request, tmp_path_factory):
    many, sizes = request.param, (0, 50, 100, 200, 400, 800)
    names = [f"SmolLM2-{135 + k}M-Instruct lora r16" for k in range(many)]
    losses = [[3.0 + k / 9, *(0.5 + (1 + k / 9) * np.array(sizes[1:]) ** -0.2)] for k in range(many)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(selection(names, losses, sizes), path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_nothing_is_wider_than_the_window_and_all_text_is_seen(browser, report, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_selector(".drawn svg.main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(BEYOND) == []
    assert page.evaluate(UNSEEN) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 29)"
    assert dark == (scheme == "dark")
    axis = page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
    assert axis == page.evaluate("getComputedStyle(document.body).color")
    assert [one for one in seen if one != report.as_uri()] == []
    page.close()
