"""Serve the page of a folder until standard input ends: `python -m lensllm.page FOLDER`, as `child.py` starts it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lensllm.page.serve import serve


async def _ended() -> None:
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), lambda address: print(address, flush=True), until=_ended)
