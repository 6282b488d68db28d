"""The examples in docstrings print what they say."""

import doctest
import importlib

import pytest

MODULES = (
    "lensllm.forecast",
    "lensllm.planning.plan",
    "lensllm.selectors.base",
    "lensllm.selectors.error_paths",
    "lensllm.selectors.growing_slopes_kernel",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
