"""One try at a job: whatever goes wrong is its record."""

from __future__ import annotations

import traceback
from pathlib import Path

from lensllm.errors import InputError
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.tuning.context import Context


def attempt(job: Job, context: Context) -> Record:
    """The job's record, a failed one if it raises anything but the wish to stop."""
    try:
        return job.run(context)
    except InputError as error:
        return job.failed(str(error))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a model's own code may raise anything, SystemExit included
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or "no message"
        return job.failed(f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})")
