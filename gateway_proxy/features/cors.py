"""Cross-origin requests (the CORS protocol of the Fetch standard): preflights are answered here, answers are marked.

Order: after ids, before rate limits and authentication. A preflight never carries credentials, and a refusal by a later
step is an answer that a page of an allowed origin may read as well, as the answer step marks every answer.
"""

from __future__ import annotations

from gateway_proxy.config.routes import Cors as Config
from gateway_proxy.exchange import Exchange, Refusal
from gateway_proxy.http1 import ResponseReader

_NOT_BY_WILDCARD = frozenset({b"authorization"})  # Fetch: `*` does not stand for it


class Cors:
    """The step of preflights; `answer` is the step of answers.

    `answer_dropped` names the fields that must not travel from the upstream's answer: with two values of
    Access-Control-Allow-Origin a browser refuses the answer, and whoever configures CORS here wants it decided here.
    """

    answer_dropped = frozenset(
        {
            b"access-control-allow-origin",
            b"access-control-allow-credentials",
            b"access-control-expose-headers",
            b"access-control-allow-methods",
            b"access-control-allow-headers",
            b"access-control-max-age",
        }
    )

    def __init__(self, config: Config) -> None:
        self._any = "*" in config.origins
        self._origins = frozenset(origin.encode("ascii") for origin in config.origins)
        self._methods = frozenset(method.encode("ascii") for method in config.methods)
        self._headers = frozenset(name.lower().encode("ascii") for name in config.headers)
        self._any_header = "*" in config.headers and not config.credentials
        self._preflight_tail = _preflight_lines(config)
        self._answer_tail = _answer_lines(config)
        self._vary = b"" if self._any else b"Vary: Origin\r\n"

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Answer a preflight: 204 if what it asks is allowed, 403 without any CORS field if not; pass the rest."""
        if exchange.method != b"OPTIONS" or not _is_preflight(exchange):
            return None
        allowed = self._allowed_origin(exchange.field(b"Origin"))
        if allowed is None or not self._allows(exchange):
            return Refusal(403, "cross-origin request not allowed")
        return Refusal(204, "preflight", allowed + self._preflight_tail + self._vary)

    def answer(self, exchange: Exchange, answer: ResponseReader | None) -> None:  # noqa: ARG002 - an AnswerStep
        """Let the origin read the answer, if it is allowed to; the answer to a preflight says it all already."""
        if exchange.method == b"OPTIONS" and _is_preflight(exchange):
            return
        allowed = self._allowed_origin(exchange.field(b"Origin"))
        if allowed is not None:
            exchange.answer_lines.append(allowed + self._answer_tail + self._vary)
        elif self._vary:
            exchange.answer_lines.append(self._vary)  # a cache must not serve this answer to an origin that may read it

    def _allowed_origin(self, origin: bytes | None) -> bytes | None:
        if origin is None:
            return None
        if self._any:
            return b"Access-Control-Allow-Origin: *\r\n"
        return b"Access-Control-Allow-Origin: %b\r\n" % origin if origin in self._origins else None

    def _allows(self, exchange: Exchange) -> bool:
        """Say whether the method and every field that a preflight asks for is allowed."""
        if exchange.field(b"Access-Control-Request-Method") not in self._methods:
            return False
        listed = (exchange.field(b"Access-Control-Request-Headers") or b"").lower().split(b",")
        names = {name.strip(b" \t") for name in listed} - {b""} - self._headers
        return not names or (self._any_header and not names & _NOT_BY_WILDCARD)


def _is_preflight(exchange: Exchange) -> bool:
    return exchange.field(b"Access-Control-Request-Method") is not None and exchange.field(b"Origin") is not None


def _preflight_lines(config: Config) -> bytes:
    lines = [
        "Access-Control-Allow-Credentials: true" if config.credentials else "",
        f"Access-Control-Allow-Methods: {', '.join(config.methods)}" if config.methods else "",
        f"Access-Control-Allow-Headers: {', '.join(config.headers)}" if config.headers else "",
        f"Access-Control-Max-Age: {config.max_age_s}",
    ]
    return _joined(lines)


def _answer_lines(config: Config) -> bytes:
    lines = [
        "Access-Control-Allow-Credentials: true" if config.credentials else "",
        f"Access-Control-Expose-Headers: {', '.join(config.expose)}" if config.expose else "",
    ]
    return _joined(lines)


def _joined(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines if line).encode("ascii")
