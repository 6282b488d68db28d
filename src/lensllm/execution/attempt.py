"""One try at a job: whatever goes wrong is its record."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensllm.errors import InputError
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.tuning.context import Context


def attempt(job: Job, context: Context) -> Record:
    """The job's record, a failed one if it raises anything but the wish to stop."""
    try:
        with _garbage_of_its_own():
            return job.run(context)
    except InputError as error:
        return job.failed(str(error))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a model's own code may raise anything, SystemExit included
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or "no message"
        return job.failed(f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})")


@contextmanager
def _garbage_of_its_own() -> Iterator[None]:
    """Within, garbage is looked for among what was made within alone, and it is looked for once more at the end.

    A training frees its memory after every learning rate, and so do the libraries. Each time the collector went through
    the million objects that torch and transformers are made of, which was more than half the time of a small job.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
