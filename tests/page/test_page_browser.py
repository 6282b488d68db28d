"""The page in a browser without a window: a live selection, hostile names, keys, widths, dark and light."""

import shutil
import threading

import pytest
from page_cases import HOSTILE, SCRIPT, running, served

from lensllm.cli import main
from lensllm.search.replay import replay_folder
from lensllm.selection import Selection
from lensllm.zoo import model_path

WIDER = """[...document.querySelectorAll('main *, header *')]
    .filter((one) => !one.closest('.skip, .unseen, svg, thead') && one.getBoundingClientRect().right > WIDTH)
    .map((one) => one.outerHTML.slice(0, 90))"""
UNNAMED = """[...document.querySelectorAll('button, input')]
    .filter((one) => !(one.textContent || one.ariaLabel || one.labels?.length)).map((one) => one.id)"""
PATIENCE = 180_000
"""Milliseconds that a slow machine is waited for."""


@pytest.fixture(scope="module")
def running_address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("running")
    with running(folder, jobs=17), served(folder) as address:
        yield address


@pytest.fixture
def opened(browser):
    """`opened(address)`: a page whose requests and errors are kept; none may leave the machine or go wrong."""
    pages, seen = [], []

    def opened(address, width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: seen.append(request.url))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on(
            "console",
            lambda said: (
                seen.append(f"{said.type}: {said.text}") if said.type == "error" and "409" not in said.text else None
            ),
        )
        pages.append((page, address))
        page.goto(address)
        page.wait_for_selector("#table tbody tr")
        return page

    yield opened
    homes = tuple(address for _, address in pages)
    for page, _ in pages:
        page.close()
    assert [url for url in seen if not url.startswith((*homes, "data:", "blob:"))] == []


def test_a_live_selection_is_watched_and_steered_to_its_end(opened, tmp_path, capsys):
    hostile = tmp_path / HOSTILE
    shutil.copytree(model_path("gpt2-0.2m-random"), hostile)
    models = [str(hostile), "gpt2-0.2m-brown-0.3m", "llama-0.2m-austen-1.5m"]
    options = "--budget 0.5 --stop-p-best 1 --stop-regret 0 --num-train-epochs 2 --learning-rate 1e-3 --workers 1"
    limits = ["--max-test-examples", "10", "--price-per-hour", "2", "--output-dir", str(tmp_path / "out"), "--page"]
    arguments = ["select", "define", "--models", *models, *options.split(), *limits]
    ended = []

    def selecting():
        try:
            main(arguments)
        except SystemExit as end:
            ended.append(end.code)

    thread = threading.Thread(target=selecting, daemon=True)
    thread.start()
    page = opened(said_address(capsys, thread))
    page.wait_for_selector("#stop:visible")
    for model in ("nothing-7b", "t5-0.2m-glosses-1.5m"):
        page.click("#add")
        page.fill("#model", model)
        page.select_option("#method", "full")
        page.click("#yes")
        page.locator("#orders li", has_text=model).filter(has_not_text="heard").wait_for()
    assert "you added nothing-7b full (not carried out: no model 'nothing-7b'" in page.inner_text("#orders")
    page.locator("#table th", has_text="t5-0.2m-glosses-1.5m").wait_for()
    page.click("#raise")
    page.fill("#amount", "0.4")
    page.click("#yes")
    page.wait_for_selector("#dialog-error:visible")
    assert page.inner_text("#dialog-error") == "The budget can only be raised: give more than 0.5."
    page.fill("#amount", "0.9")
    page.click("#yes")
    page.click('button[aria-label="Drop gpt2-0.2m-brown-0.3m"]')
    page.click("#yes")
    page.locator("#orders li").nth(3).filter(has_not_text="heard").wait_for()
    assert page.inner_text("#orders").endswith("you raised the budget to 0.9\nyou dropped gpt2-0.2m-brown-0.3m")
    page.click("#stop")
    page.click("#yes")
    page.locator("#status", has_text="done").wait_for()
    assert page.inner_text("#detail").startswith("It ended: you stopped it.")
    page.locator("#lost", has_text="The page is not served any longer").wait_for()
    thread.join(60)
    assert ended == [0]
    found = Selection.load(tmp_path / "out")
    assert page.inner_text("#sentence") == found.sentence
    assert "gpt2-0.2m-brown-0.3m" not in [row.model for row in found.ranking]
    assert "t5-0.2m-glosses-1.5m" in [one.name for one in found.provenance.candidates]
    assert all(made.agrees for made in replay_folder(tmp_path / "out"))


def said_address(capsys, thread):
    """What the command says on standard error, once it does."""
    said = ""
    while "page: http" not in said:
        assert thread.is_alive(), said
        thread.join(0.1)
        said += capsys.readouterr().err
    return said.split("page: ")[1].split("\n")[0]


def test_what_comes_from_the_selection_is_shown_as_text(opened, running_address):
    page = opened(running_address)
    text = page.inner_text("body")
    for part in (HOSTILE, f"OutOfMemoryError: {SCRIPT}", f"a note of {SCRIPT}", f"refused-7b: {SCRIPT}"):
        assert part in text
    page.click(f"summary:has-text('{HOSTILE}')")
    assert f"{SCRIPT} asked" in page.inner_text("#answers")
    page.hover("#plot .nsewdrag")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.scripts.length") == 2


def test_it_is_used_by_keyboard_and_said_by_a_screen_reader(opened, running_address):
    page = opened(running_address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#stop")
    page.keyboard.press("Enter")
    assert page.evaluate("at('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "stop"
    drop = page.get_by_role("button", name="Drop plain-1b")
    drop.focus()
    page.evaluate("show(shown)")
    assert page.evaluate("document.activeElement.ariaLabel") == "Drop plain-1b"
    assert page.locator("#sentence").get_attribute("aria-live") == "polite"
    assert page.get_by_role("progressbar", name="Part of the budget that is spent").get_attribute("aria-valuenow")
    assert page.get_by_role("table").count() == 2
    assert page.get_by_role("row", name="plain-1b").get_by_role("cell").count() > 5
    assert page.evaluate(UNNAMED) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_in_light_and_dark(opened, running_address, width):
    backs = []
    for scheme in ("light", "dark"):
        page = opened(running_address, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        wide = WIDER.replace("WIDTH", str(width))
        assert page.evaluate(wide) == []
        backs.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("#plot .scatterlayer .trace").count() > 6
    assert backs[0] != backs[1]


def test_a_page_that_ends_says_so_and_keeps_what_it_showed(opened, tmp_path):
    with running(tmp_path):
        with served(tmp_path) as address:
            page = opened(address)
        page.locator("#lost", has_text="The page is not served any longer").wait_for()
        assert page.locator("#table tbody tr").count() == 4
