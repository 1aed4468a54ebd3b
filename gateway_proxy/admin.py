"""The admin application, on a port of its own: status, routes, pools, breakers, metrics, configuration, reload.

Importing this imports Starlette and uvicorn, so it is imported only where the configuration has `admin`. It serves in
the loop of whoever starts it and sees the gateway through `Controls` alone.

Nobody is asked who they are, so requests that a web page elsewhere could make a browser send are refused: the Host must
be a name of loopback (DNS rebinding), and a POST must carry a field that a page cannot send without asking first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_proxy import shown
from gateway_proxy.controls import Controls, ReloadOutcome
from gateway_proxy.schema import json_schema

OWN_FIELD = "X-Gateway-Admin"
_PAGES = Path(__file__).parent / "admin_pages"
_MOST_CONNECTIONS = 100
_GRACE_S = 1
_TICK_S = 1.0
_PAGE_MAY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDED = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _PAGE_MAY),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

Endpoint = Callable[[Request], Awaitable[Response]]


def application(controls: Controls) -> ASGIApp:
    """Return the application for one gateway."""
    return _Guard(
        Starlette(
            routes=[*_page_routes(), *_view_routes(controls), *_action_routes(controls)],
            exception_handlers={HTTPException: _say_in_json},
        )
    )


def _page_routes() -> list[Route]:
    kinds = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
    paths = {"page.html": "/"}
    return [
        Route(paths.get(name, f"/{name}"), _fixed((_PAGES / name).read_bytes(), kind)) for name, kind in kinds.items()
    ]


def _view_routes(controls: Controls) -> list[Route]:
    async def routes() -> Any:
        return shown.routes(controls.config())

    async def config() -> Any:
        return shown.redacted(controls.config())

    schema = _fixed(json.dumps(json_schema()).encode(), "application/schema+json")
    return [
        Route("/status", _view(controls.status)),
        Route("/routes", _view(routes)),
        Route("/pools", _view(controls.pools)),
        Route("/breakers", _view(controls.breakers)),
        Route("/config", _view(config)),
        Route("/config/schema", schema),
        Route("/metrics", functools.partial(_metrics, controls)),
        Route("/health", functools.partial(_health, controls)),
    ]


def _action_routes(controls: Controls) -> list[Route]:
    return [
        Route("/reload", functools.partial(_reload, controls), methods=["POST"]),
        Route("/drain", functools.partial(_drain, controls), methods=["POST"]),
    ]


def _fixed(body: bytes, kind: str) -> Endpoint:
    async def endpoint(_request: Request) -> Response:
        return Response(body, media_type=kind)

    return endpoint


def _view(ask: Callable[[], Awaitable[Any]]) -> Endpoint:
    async def endpoint(_request: Request) -> Response:
        return JSONResponse(await ask())

    return endpoint


async def _metrics(controls: Controls, _request: Request) -> Response:
    body, kind = await controls.metrics()
    return Response(body, headers={"content-type": kind})


async def _health(controls: Controls, _request: Request) -> Response:
    if (await controls.status())["draining"]:
        return JSONResponse({"status": "draining"}, 503)
    return JSONResponse({"status": "ok"})


async def _reload(controls: Controls, _request: Request) -> Response:
    outcome = await controls.reload()
    return JSONResponse(_reload_said(outcome), _reload_status(outcome))


def _reload_status(outcome: ReloadOutcome) -> int:
    if outcome.problem is not None:
        return 422
    return 500 if outcome.failed else 200


def _reload_said(outcome: ReloadOutcome) -> dict[str, Any]:
    said: dict[str, Any] = {"generation": outcome.generation}
    if outcome.problem is not None:
        said |= {"file": outcome.problem.path, "line": outcome.problem.line, "message": outcome.problem.message}
    elif outcome.failed:
        said |= {"error": "; ".join(outcome.failed)}
    return said


async def _drain(controls: Controls, _request: Request) -> Response:
    await controls.drain()
    return JSONResponse({"status": "draining"}, 202)


async def _say_in_json(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class _Guard:
    """Refuses what a browser may have been talked into, and tells browsers to do no more than the page needs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_GUARDED]
            await send(message)

        why = _refusal(scope["method"], scope["headers"])
        app = self._app if why is None else JSONResponse({"error": why}, 403)
        await app(scope, receive, guarded)


def _refusal(method: str, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Say why a request is refused; None when it is not."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        return "Host must be localhost or an address of loopback"
    if method in ("GET", "HEAD"):
        return None
    fields = dict(headers)
    if fields.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        return "a page of another site may not ask for this"
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if OWN_FIELD.lower().encode() not in fields and kind != b"application/json":
        return f"needs the field {OWN_FIELD}, or Content-Type: application/json"
    return None


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() == "localhost":
        return True
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(bare).is_loopback
    return False


class AdminServer:
    """Serves the application on listening sockets, in the running loop, until it is stopped."""

    def __init__(self, controls: Controls, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._server = _Server(_config(application(controls)))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(self._listeners))

    async def stop(self) -> None:
        """Finish answers under way, for a second at most, and close."""
        self._server.end()
        if self._task is not None:
            await self._task


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server in a loop that has other things to do: no signal handlers, and one tick a second, not ten."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        """Begin to stop."""
        self.should_exit = True
        self._end.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are the gateway's."""
        yield

    async def main_loop(self) -> None:
        """Tick, which sets the Date of answers, until the end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._end.wait()
