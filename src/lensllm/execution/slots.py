"""How many jobs run at once where nothing is said."""

from __future__ import annotations

import os

from lensllm.execution.devices import shares


def default_workers(gpus_per_run: int = 1) -> int:
    """One a GPU, or group of them; one a core without.

    Raises:
        InputError: if a run is to have more GPUs than there are.

    >>> default_workers() >= 1
    True
    """
    return len(shares(0, gpus_per_run)) or len(os.sched_getaffinity(0))
