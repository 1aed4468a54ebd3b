"""The endpoints' side of the wire: raw ASGI endpoints for Starlette's routes.

Request and Response objects of a framework cost more than the handlers behind them, and communication is what is
measured here; so an endpoint reads the body, calls its handler and sends the answer, and that is all.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from stub_services import tokens

MAX_BODY_BYTES = 1 << 20
MAX_TEXT = 4096

_NO_PARAMETERS: dict[str, str] = {}

logger = logging.getLogger("stub_services")

_JSON = (b"content-type", b"application/json")


class Refusal(Exception):  # noqa: N818 - not an error of ours: the answer to a request that cannot be served
    """An answer other than the wanted one, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps({"success": False, "message": message}).encode()


class Request:
    """What a handler may look at. `path` holds the parameters of the route."""

    __slots__ = ("body", "headers", "path")

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.path: dict[str, str] = scope.get("path_params", _NO_PARAMETERS)
        self.body = body

    def header(self, wanted: bytes) -> bytes | None:
        """Return the first value of a header, given in lower case."""
        for name, value in self.headers:
            if name == wanted:
                return value
        return None

    def fields(self) -> dict[str, Any]:
        """Return the body's JSON object. Raises Refusal 400 when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise Refusal(400, "the body is not a JSON object")
        return value

    def learner(self, secret: str) -> str:
        """Return the id of the learner whose token this is. Raises Refusal 401."""
        try:
            return tokens.verify(self.header(b"authorization"), secret)
        except tokens.BadTokenError:
            raise Refusal(401, "a valid bearer token is required") from None


Handler = Callable[[Request], Awaitable[tuple[int, bytes]]]


def text(fields: dict[str, Any], name: str) -> str:
    """Return a required text of the body. Raises Refusal 422 when it is missing, empty, too long or not text."""
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise Refusal(422, f"{name} must be a text of 1 to {MAX_TEXT} characters")
    return value


class Endpoint:
    """A public endpoint: an ASGI application around a handler."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, body = await self._answer(scope, receive)
        await _send(send, status, body)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        try:
            return await self._handler(Request(scope, await _read_body(receive)))
        except Refusal as refusal:
            return refusal.status, refusal.body
        except UnicodeEncodeError:
            return 422, _NOT_UNICODE  # a lone surrogate: no store takes it
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return 500, b'{"success": false, "message": "internal error"}'


class InternalEndpoint(Endpoint):
    """An endpoint for services with the key only; its answers say how many connections the request passed."""

    __slots__ = ("_key",)

    def __init__(self, handler: Handler, key: str) -> None:
        super().__init__(handler)
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with 403."""
        given = b""
        hops = 1
        for name, value in scope["headers"]:
            if name == b"x-internal-api-key":
                given = value
            elif name == b"via":
                hops += 1 + value.count(b",")
        if hmac.compare_digest(given, self._key):
            status, body = await self._answer(scope, receive)
        else:
            status, body = 403, _FORBIDDEN
        await _send(send, status, body, (b"x-hops", b"%d" % hops))


_NOT_UNICODE = Refusal(422, "the body holds text that is not Unicode").body
_FORBIDDEN = Refusal(403, "a valid X-Internal-API-Key is required").body


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404 in the services' own words."""
    del scope, receive
    body = Refusal(404, "no such endpoint").body
    await _send(send, 404, body)


def health(service: str) -> Route:
    """Return the route that says the service is up."""
    body = json.dumps({"status": "ok", "service": service}).encode()

    async def answer(request: Request) -> tuple[int, bytes]:
        del request
        return 200, body

    return Route("/health", Endpoint(answer), methods=["GET"])


class Application:
    """Starlette's router, with a short cut for paths without parameters.

    The router tries one regular expression after the other, for a tenth of what a whole request costs; most paths here
    are constant and a dictionary finds them. Everything else, 404 and 405 included, is the router's.
    """

    def __init__(self, routes: list[Route]) -> None:
        self._router = Router(routes, redirect_slashes=False, default=not_found)
        self._constant = {
            (method, route.path): route.app
            for route in routes
            if not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._constant.get((scope["method"], scope["path"]), self._router)
        await app(scope, receive, send)


async def _send(send: Send, status: int, body: bytes, *fields: tuple[bytes, bytes]) -> None:
    headers = [*fields] if status == 204 else [_JSON, (b"content-length", b"%d" % len(body)), *fields]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        return message.get("body", b"")  # type: ignore[no-any-return]
    parts = bytearray(message["body"])
    while message.get("more_body"):
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > MAX_BODY_BYTES:
            raise Refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(parts)
