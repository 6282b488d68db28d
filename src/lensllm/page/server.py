"""The page over HTTP: to this machine alone, under an address that nobody can guess."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lensllm.errors import InputError
from lensllm.page.watcher import Watcher

LARGEST = 10_000
"""Bytes of an order."""
NAMES = ("127.0.0.1", "localhost")
"""Under which a browser of this machine comes; another one is a page elsewhere that had its name point here."""
KINDS = {"page.css": "text/css", "page.js": "text/javascript", "plotly.min.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Styles may be set from scripts, as the drawing library does; nothing is loaded from elsewhere or sent there."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Guard:
    """Answers those alone who know the token, call this machine by its own name, and come from this page.

    Args:
        app: what is guarded.
        token: first part of every path.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (why := self._refusal(Request(scope))):
            refusal = PlainTextResponse(why, 403, HEADERS)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> str:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host.rpartition(":")[0] not in NAMES and host not in NAMES:
            return "This page is for this machine alone."
        token = str(request.scope["path"]).removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return "The address lacks its token: open the whole address that was printed."
        if origin != f"http://{host}" and (origin is not None or request.method not in ("GET", "HEAD")):
            return "This comes from another page."
        return ""


def application(watcher: Watcher, token: str) -> Guard:
    """The page of a folder.

    Args:
        watcher: of the folder.
        token: first part of every path.
    """

    async def page(request: Request) -> Response:
        return _file("page.html", "text/html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in KINDS:
            return PlainTextResponse("There is no such file.", 404, HEADERS)
        return _file(name, KINDS[name])

    async def events(request: Request) -> Response:
        return StreamingResponse(_stream(watcher), media_type="text/event-stream", headers=HEADERS)

    async def orders(request: Request) -> Response:
        try:
            told = json.loads(await _body(request))
            if not isinstance(told, dict):
                raise ValueError
            await asyncio.to_thread(watcher.ask, told)
        except InputError as error:
            return PlainTextResponse(str(error), 409, HEADERS)
        except ValueError:
            return PlainTextResponse("This is no order.", 400, HEADERS)
        return PlainTextResponse("", 200, HEADERS)

    routes = [
        Route("/{token}/", page),
        Route("/{token}/events", events),
        Route("/{token}/orders", orders, methods=["POST"]),
        Route("/{token}/{name}", static),
    ]

    @asynccontextmanager
    async def watched(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(watcher.watch())
        yield
        watching.cancel()

    return Guard(Starlette(routes=routes, lifespan=watched), token)


async def _body(request: Request) -> bytes:
    """What was sent, if it is not more than any order is.

    Raises:
        ValueError: if it is.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise ValueError
    return body


async def _stream(watcher: Watcher) -> AsyncIterator[str]:
    async for text in watcher.states():
        yield f"event: state\ndata: {text}\n\n"
    yield "event: end\ndata: {}\n\n"


def _file(name: str, kind: str) -> Response:
    if name == "plotly.min.js":
        path: Any = files("plotly").joinpath("package_data", name)
    else:
        path = files("lensllm.page").joinpath("static", name)
    return Response(Path(str(path)).read_bytes(), media_type=f"{kind}; charset=utf-8", headers=HEADERS)
