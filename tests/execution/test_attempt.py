"""One try at a job: what it leaves behind."""

import gc
import weakref

import pytest

from lensllm.execution.attempt import attempt
from lensllm.testing import ToyJob


class Loop:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self):
        self.me = self


class LeavesLoop(ToyJob):
    """A job that looks for garbage itself, as trainings do, and leaves some."""

    def run(self, context):
        context["before"] = gc.get_freeze_count()
        context["left"] = weakref.ref(Loop())
        if self.action == "raise":
            raise RuntimeError("out of paper")
        return super().run(None)


@pytest.mark.parametrize("action", ["", "raise"])
def test_the_garbage_of_a_job_is_gone_and_what_was_there_before_is_not_looked_through_for_it(action):
    others, seen = Loop(), {}
    kept = weakref.ref(others)
    gc.unfreeze()
    attempt(LeavesLoop("a", action), seen)
    assert seen["before"] > 10_000
    assert seen["left"]() is None
    assert gc.get_freeze_count() == 0
    del others
    gc.collect()
    assert kept() is None
