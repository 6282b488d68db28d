"""How long a hub is waited for that asks to wait, or that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lensllm.errors import HubAway, HubBusy
from lensllm.shortlist.listing import LONGEST_WAIT, Watch

Had = TypeVar("Had")
TRIES = 3
SHORT_WAIT = 10.0
"""Seconds to wait where the hub does not say how many."""


class Patience:
    """Asks again where the hub asks to wait, and gives up once it does not answer: then nothing more is asked of it.

    Args:
        watch: hears of waits.

    Attributes:
        gone: why nothing is asked any more; empty while something is.
    """

    def __init__(self, watch: Watch) -> None:
        self.gone = ""
        self._watch = watch
        self._silent = 0

    def ask(self, what: Callable[[], Had]) -> Had:
        """What the hub gives.

        Raises:
            HubAway: if it does not answer, or has not answered before.
            HubBusy: if it asks to wait longer than `LONGEST_WAIT`, or `TRIES` times.
            InputError: as `what`.
        """
        if self.gone:
            raise HubAway(self.gone)
        for left in reversed(range(TRIES)):
            try:
                had = what()
                self._silent = 0
                return had
            except HubBusy as busy:
                seconds = SHORT_WAIT if busy.seconds is None else busy.seconds
                if not left or seconds > LONGEST_WAIT:
                    self.gone = f"{busy}; it asked to wait {seconds:.0f} seconds"
                    raise
                self._watch(f"the hub asks to wait {seconds:.0f} seconds", 0, 0)
                time.sleep(seconds)
            except HubAway as away:
                self._silent += 1
                if self._silent == TRIES:
                    self.gone = f"the hub went away: {away}"
                raise
        raise AssertionError
