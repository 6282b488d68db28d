"""Which of this machine's accelerators each worker sees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from lensllm.errors import InputError

SEEN_BY = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK"}
"""Kind of accelerator -> the variable that says which ones a process sees. ROCm's are of the kind cuda and heed it."""


def shares(workers: int, gpus_per_run: int) -> list[Mapping[str, str]]:
    """What each worker's environment says, so that no two workers share a GPU that they need not.

    Args:
        workers: how many; 0 for as many as there are GPUs for. More than that share them in turn.
        gpus_per_run: how many one run is spread over.

    Returns:
        An entry a worker; none where there is no accelerator, or only one that needs no sharing out.

    Raises:
        InputError: if a run is to have more GPUs than there are.
    """
    import torch

    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if gpus_per_run > max(there, 1):
        gpus = "1 GPU" if there == 1 else f"{there} GPUs"
        raise InputError(f"--gpus-per-run {gpus_per_run} is asked for, and this process sees {gpus}")
    accelerator = torch.accelerator.current_accelerator() if there else None
    name = SEEN_BY.get(accelerator.type) if accelerator is not None else None
    if name is None:
        return [{}] * (workers or 1) if there else []
    given = os.environ.get(name, "")
    seen = [one.strip() for one in given.split(",")] if given else [str(i) for i in range(there)]
    return _shared_out(name, seen[:there], workers, gpus_per_run)


def _shared_out(name: str, seen: Sequence[str], workers: int, each: int) -> list[Mapping[str, str]]:
    groups = [seen[i * each : (i + 1) * each] for i in range(len(seen) // each)]
    return [{name: ",".join(groups[i % len(groups)])} for i in range(workers or len(groups))]
