"""Keep the progress and advice of transformers and bitsandbytes to themselves."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence both inside, and give back what was set before."""
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    four_bits = logging.getLogger("bitsandbytes")
    level = four_bits.level
    four_bits.setLevel(logging.ERROR)
    try:
        yield
    finally:
        four_bits.setLevel(level)
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
