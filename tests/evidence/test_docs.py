"""What the documentation and the docstrings name is there: commands, their options, files."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from evidence.commands import app as evidence
from lensllm.cli import app as lensllm

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build"
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if SITE not in p.parents)]
SCRIPTS = sorted(p for folder in ("evidence", "src/lensllm") for p in (ROOT / folder).rglob("*.py"))
GONE = ["lensllm" + " bench", "bench" + "marks/", "lensllm" + ".benchmark", "lensllm/" + "benchmark"]
GROUPS = {"lensllm": typer.main.get_command(lensllm), "python -m evidence": typer.main.get_command(evidence)}
PATH = re.compile(r"(?<![\w/.~<*-])(?:[\w-]+/)+[\w.*-]+\.(?:json|py|csv|yaml|md|svg|j2)\b")


def text_of(file):
    """A page as it is, the docstrings of a script."""
    if file.suffix == ".md":
        return file.read_text()
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds))
    return "\n\n".join(ast.get_docstring(node) or "" for node in nodes)


def snippets(text):
    """Lines of code blocks and code within the text, without comments."""
    text = text.replace("\\\n", " ")
    fences = re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE)
    for fence in fences:
        text = text.replace(fence, "")
    lines = [line for fence in fences for line in fence.splitlines()]
    lines += [line for line in text.splitlines() if line.startswith("    ")]
    spans = re.findall(r"`([^`]+)`", text)
    return [" ".join(line.split(" #")[0].split()) for line in [*lines, *spans]]


def commands(text):
    """(group, what follows) of every command of ours that is named."""
    for snippet in snippets(text):
        for name in GROUPS:
            if found := re.match(rf"(?:.*[|;] )?{re.escape(name)}(?: (.*))?$", snippet):
                yield name, shlex.split(found[1] or "")
        first, *rest = snippet.split() or [""]
        if first in GROUPS["lensllm"].commands and rest and rest[0].startswith("--"):
            yield "lensllm", [first, *rest]


def wrong(group, words):
    """What a command names that is not there; empty if all is."""
    command = GROUPS[group]
    while hasattr(command, "commands") and words and re.match(r"[a-z]", words[0]):
        if words[0] not in command.commands:
            return f"{group}: no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
    return ", ".join(f"{group} {command.name}: no option {w}" for w in words if w.startswith("--") and w not in known)


def missing(file):
    """The paths that a page or script names and that are not there."""
    homes = [ROOT, ROOT / "src" / "lensllm", file.parent]
    paths = [path for path in PATH.findall(text_of(file)) if not path.startswith("out/")]
    return [path for path in paths if not any(any(home.glob(path)) for home in homes)]


@pytest.mark.parametrize("file", PAGES + SCRIPTS, ids=lambda f: str(f.relative_to(ROOT)))
def test_commands_and_files_that_are_named_are_there(file):
    assert [fault for group, words in commands(text_of(file)) if (fault := wrong(group, words))] == []
    assert missing(file) == []


def test_the_commands_are_found_where_they_stand():
    text = "Run `python -m evidence\nown --report`.\n\n    lensllm zoo list\n\n"
    text += "```\nlensllm plan out/mine --gain 0.05   # why\n```\n"
    assert list(commands(text)) == [
        ("lensllm", ["plan", "out/mine", "--gain", "0.05"]),
        ("lensllm", ["zoo", "list"]),
        ("python -m evidence", ["own", "--report"]),
    ]
    assert wrong("lensllm", ["zoo", "feed"]) == "lensllm: no command feed"
    assert wrong("python -m evidence", ["own", "--fast"]) == "python -m evidence own: no option --fast"
    named = {name for page in PAGES for name, _ in commands(page.read_text())}
    assert named == set(GROUPS)


def test_names_of_before_are_gone():
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "README.md"]
    files += [f for folder in ("docs", "evidence", "src", "tests") for f in (ROOT / folder).rglob("*.*")]
    files = [f for f in files if f.is_file() and SITE not in f.parents]
    texts = {f: f.read_text() for f in files if f.suffix in ("", ".py", ".md", ".toml", ".yaml", ".j2")}
    assert [(str(f), name) for f, text in texts.items() for name in GONE if name in text] == []


def test_the_makefile_names_subjects():
    [line] = re.findall(r"^EVIDENCE := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(line.split()) <= set(GROUPS["python -m evidence"].commands)


def test_every_result_names_a_command_that_exists():
    results = (ROOT / "evidence").rglob("*.json")
    named = [name for file in results for name in re.findall(r'"command": "([^"]+)"', file.read_text())]
    assert len(named) >= 10
    for name in named:
        assert name.startswith("python -m evidence ")
        assert wrong("python -m evidence", shlex.split(name)[3:]) == ""
