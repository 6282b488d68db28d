"""Whether an optimizer can be had on this machine."""

from __future__ import annotations

import importlib.util

from lensllm.errors import InputError
from lensllm.tuning.training_config import Optimizer

OF_BITSANDBYTES: tuple[Optimizer, ...] = ("adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit")


def check_optimizer(name: Optimizer) -> None:
    """Refuse an optimizer that this machine has not got, before anything is read.

    Raises:
        InputError: if bitsandbytes is missing, or there is no device that its optimizers work on.
    """
    if name not in OF_BITSANDBYTES:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f'--optim {name} is one of bitsandbytes, which is missing: pip install "lensllm[quantized]"')
    from lensllm.tuning.device import device

    if (kind := device().type) not in ("cuda", "xpu"):
        raise InputError(
            f"--optim {name} works on a GPU (cuda or xpu), and this machine computes on {kind}: leave it out"
        )
