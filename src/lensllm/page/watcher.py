"""Looks at an output folder and tells whoever listens what changed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from lensllm.page.controls import order_of
from lensllm.page.reasons import Reasons
from lensllm.page.so_far import read_so_far
from lensllm.page.state import state
from lensllm.saved import ANSWER
from lensllm.search.journal import FILE_NAME as PROGRESS
from lensllm.search.journal import alive
from lensllm.search.log import FILE_NAME as DECISIONS
from lensllm.search.orders import FILE_NAME as ORDERS
from lensllm.store import FILE_NAME as RECORDS
from lensllm.text import visible

LOOK_EVERY = 0.5
"""Seconds between two looks at the files' dates, and at whether the selection lives, which no file says."""
TRIES = 6
"""Looks in a row that may meet a file which is just being written, before it is called damaged."""

NOTHING = "{}"
"""Before the first look."""

Signature = tuple[object, ...]


class Watcher:
    """The state of a folder as JSON, made anew whenever a file of it changes.

    Args:
        folder: of a selection.

    Attributes:
        text: the state now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = NOTHING
        self.closed = False
        self._reasons = Reasons()
        self._signature: Signature = ()
        self._failed = 0
        self._news = asyncio.Event()
        self._looking = threading.Lock()

    async def watch(self) -> None:
        """Look until `close`."""
        while not self.closed:
            await asyncio.to_thread(self.look)
            self._tell()
            await asyncio.sleep(LOOK_EVERY)

    async def close(self) -> None:
        """Tell what there is at the end, and end the streams."""
        await asyncio.to_thread(self.look)
        self.closed = True
        self._tell()

    async def states(self) -> AsyncIterator[str]:
        """The state now, and every other one that follows."""
        told = NOTHING
        while True:
            if self.text != told:
                told = self.text
                yield told
            elif self.closed:
                return
            else:
                await self._news.wait()

    def ask(self, told: Mapping[str, Any]) -> None:
        """Leave an order for the search.

        Raises:
            InputError: if it cannot be carried out.
        """
        order_of(told, read_so_far(self.folder)).ask(self.folder)

    def look(self) -> None:
        """Make the state anew if a file changed, or the selection lives no more."""
        with self._looking:
            try:
                signature = self._signature_now()
                if signature != self._signature:
                    self.text = json.dumps(state(read_so_far(self.folder), self._reasons), allow_nan=False)
                    self._failed, self._signature = 0, signature
            except Exception as error:  # whatever it is, the page says it and looks again
                self._failed += 1
                if self._failed >= TRIES:
                    self.text = json.dumps({"status": "damaged", "sentence": visible(error)})

    def _signature_now(self) -> Signature:
        files = [self.folder / name for name in (PROGRESS, RECORDS, DECISIONS, ANSWER, ORDERS)]
        dates = [(one.stat().st_mtime_ns, one.stat().st_size) if one.exists() else None for one in files]
        return *dates, alive(self.folder)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
