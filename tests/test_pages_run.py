"""Every block of the README and the tutorials runs, or the line above it says why not."""

from pathlib import Path

import pytest
from commands import run
from fences import Block, blocks, loosely, run_blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("start.md", "extend.md"))]
PAGES += sorted((ROOT / "docs" / "tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all pages run, as a reader's would: what one of them trained the next one finds."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.xdist_group("pages")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, capsys, folder, monkeypatch):
    """In one process: results are the same to the bit, and nobody waits for workers to start."""
    monkeypatch.chdir(folder)
    alone = ("--workers", "1")
    run_blocks(page.read_text(), lambda *words: run(capsys, *words, *(alone if words[0] == "select" else ())))


def test_a_block_that_does_not_do_what_its_page_says_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "```python\nprint('loss 1.5')\n```\n\n```text\nloss 1.7\n```\n"
    run_blocks(page, str)
    for old, new in (("loss 1.7", "less 1.7"), ("print(", "prin("), ("```python", "```sh")):
        with pytest.raises((AssertionError, NameError)):
            run_blocks(page.replace(old, new), str)
    run_blocks("*Not run by the tests: it cannot.*\n\n" + page.replace("```python", "```sh"), str)
    assert list(blocks("```text a/b.csv\n1\n\n2\n```")) == [Block("text", "a/b.csv", "1\n\n2\n", "")]
    assert loosely("a-1.5e-3  b 1,000\n\n") == ["a# b #"]
