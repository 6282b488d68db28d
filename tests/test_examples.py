"""Every public name has an example, and the examples print what they say."""

import doctest
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import lensllm

ROOT = Path(__file__).parents[1]
SKIPPED = ("lensllm.cli", "lensllm.zoo.build", "lensllm.__main__")
MODULES = [
    import_module(name)
    for name in ("lensllm", *(found.name for found in pkgutil.walk_packages(lensllm.__path__, "lensllm.")))
    if not name.startswith(SKIPPED)
]
EXAMPLES = {module.__name__: doctest.DocTestFinder(exclude_empty=True).find(module) for module in MODULES}
PUBLIC = sorted(
    {
        f"{thing.__module__}.{thing.__qualname__}": thing
        for module in MODULES
        for thing in (getattr(module, name) for name in getattr(module, "__all__", ()))
        if inspect.isclass(thing) or inspect.isfunction(thing)
    }.items()
)


def shows_an_example(thing):
    """Whether the docstring of a function, of a class or of one of the class's own methods has an example."""
    parts = vars(thing).values() if inspect.isclass(thing) else ()
    methods = [part for part in parts if inspect.isroutine(part) or isinstance(part, property)]
    return any(">>>" in (of.__doc__ or "") for of in (thing, *methods))


@pytest.mark.parametrize("name", [name for name, tests in EXAMPLES.items() if any(test.examples for test in tests)])
def test_examples_run(name):
    runner = doctest.DocTestRunner()
    told = []
    for test in EXAMPLES[name]:
        runner.run(test, out=told.append)
    assert not runner.summarize(verbose=False).failed, "".join(told)


def test_every_public_name_has_an_example():
    assert len(PUBLIC) > 50
    assert [name for name, thing in PUBLIC if not shows_an_example(thing)] == []


def test_the_package_shows_its_public_names_alone():
    assert dir(lensllm) == lensllm.__all__


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lensllm.__version__ == project["version"]


def test_importing_the_package_does_not_wait_for_torch():
    told = subprocess.run(
        [sys.executable, "-c", "import sys, lensllm; print('lensllm' in sys.modules, 'torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["True", "False"]
