import pytest

from lensllm.candidates import find_candidate
from lensllm.tasks import read_task
from search.cases import NAMES


@pytest.fixture(scope="module")
def task():
    return read_task("define")


@pytest.fixture(scope="module")
def candidates():
    return [find_candidate(name) for name in NAMES]
