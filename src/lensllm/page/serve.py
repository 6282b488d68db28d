"""Serve the page of a folder until it is ended."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from lensllm.errors import InputError

HOST = "127.0.0.1"
PATIENCE = 2
"""Seconds for open streams to end by themselves."""


def check_installed() -> None:
    """Check that what the page needs is there.

    Raises:
        InputError: if it is not, with the command that gets it.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(f"the page needs {' and '.join(missing)}: pip install 'lensllm[page]'")


def serve(
    folder: Path, say: Callable[[str], None], *, port: int = 0, until: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve the page of a folder to this machine.

    Args:
        folder: of a selection, which need not have begun.
        say: gets the address once the page can be opened.
        port: of 127.0.0.1; 0 for any that is free.
        until: returns when it is to end, having told the last of it; without it goes on until it is interrupted.

    Raises:
        InputError: if something that it needs is not installed, or the port is taken.
    """
    check_installed()
    import uvicorn

    from lensllm.page.server import application
    from lensllm.page.watcher import Watcher

    opened = _bound(port)
    token = secrets.token_urlsafe(24)

    async def run() -> None:
        watcher = Watcher(folder)
        config = uvicorn.Config(
            application(watcher, token), log_level="critical", lifespan="on", timeout_graceful_shutdown=PATIENCE
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([opened]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        say(f"http://{HOST}:{opened.getsockname()[1]}/{token}/")
        if until is not None:
            await until()
            await watcher.close()
            server.should_exit = True
        await serving

    asyncio.run(run())


def _bound(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
    except OSError as error:
        opened.close()
        raise InputError(f"port {port} cannot be used ({error.strerror}): give another one, or none") from error
    return opened
