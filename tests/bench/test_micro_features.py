"""What single steps of the gateway's features add to a request. As tests they run once; else as test_micro.py."""

import asyncio
import random
import time
from types import SimpleNamespace

import jwt
import pytest

from gateway_proxy.config import RequestId, Trace
from gateway_proxy.config import routes as config
from gateway_proxy.exchange import Exchange
from gateway_proxy.features.accesslog import AccessLog
from gateway_proxy.features.ask import AskAuth
from gateway_proxy.features.cors import Cors
from gateway_proxy.features.faults import InjectedFault
from gateway_proxy.features.ids import RequestIds, TraceContext
from gateway_proxy.features.metrics import Metrics
from gateway_proxy.features.ratelimit import RateLimit
from gateway_proxy.features.tokens import JwtCheck
from gateway_proxy.http1 import RequestReader
from gateway_proxy.inquiry import Reply

SECRET = "a secret of thirty-two bytes or more"
EXPIRES = int(time.time()) + 3600
TOKEN = jwt.encode({"sub": "learner-0042", "role": "learner", "exp": EXPIRES}, SECRET, "HS256").encode()
HEAD = (
    b"GET /api/v1/courses/lessons/42?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n"
    b"Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n"
    b"Origin: https://app.example\r\nAuthorization: Bearer " + TOKEN + b"\r\nCookie: session=0123456789abcdef\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
)
CLAIMS = {"sub": "X-User-Id", "role": "X-Role"}


def exchange_of(head=HEAD):
    reader = RequestReader("127.0.0.1")
    reader.read(head)
    exchange = Exchange(reader, head, b"127.0.0.1", "courses", 1_000_000)
    exchange.answered_ns = exchange.sent_ns = 1_200_000
    exchange.ended_ns, exchange.upstream_ns = 3_000_000, 1_500_000
    exchange.status, exchange.attempts, exchange.body_bytes = 200, 1, 512
    exchange.upstream, exchange.outcome = "courses", "ok"
    exchange.request_id = b"4bf92f3577b34da6a3ce929d0e0e4736"
    return exchange


def timed(benchmark, step, *more, head=HEAD):
    """Time the step on one exchange, whose lists are emptied each time: that costs 0.1 us, which is in the figures."""
    exchange = exchange_of(head)

    def once():
        exchange.request_lines.clear()
        exchange.answer_lines.clear()
        return step(exchange, *more)

    return benchmark(once), exchange


def test_nothing_but_the_emptied_lists(benchmark):
    assert timed(benchmark, lambda _exchange: None)[0] is None


def test_a_request_id_is_made(benchmark):
    _, exchange = timed(benchmark, RequestIds(RequestId(), random.Random(1)))
    assert exchange.answer_lines


def test_a_trace_is_continued(benchmark):
    _, exchange = timed(benchmark, TraceContext(Trace(), random.Random(1)))
    assert b"4bf92f3577b34da6a3ce929d0e0e4736" in exchange.request_lines[0]


def test_a_trace_is_begun(benchmark):
    _, exchange = timed(benchmark, TraceContext(Trace(), random.Random(1)), head=HEAD.replace(b"traceparent", b"x"))
    assert b"4bf92f3577b34da6a3ce929d0e0e4736" not in exchange.request_lines[0]


def test_cors_passes_a_request(benchmark):
    assert timed(benchmark, Cors(config.Cors(origins=("https://app.example",))))[0] is None


def test_cors_marks_an_answer(benchmark):
    _, exchange = timed(benchmark, Cors(config.Cors(origins=("https://app.example",))).answer, None)
    assert exchange.answer_lines


@pytest.mark.parametrize("key", ["client", "route", "field:Accept-Language", "claim:sub"])
def test_a_rate_limit_takes_a_token(benchmark, key):
    limit = RateLimit(config.RateLimit(requests=10**9, key=key), time.monotonic_ns, "courses")
    assert timed(benchmark, limit)[0] is None


def test_a_rate_limit_refuses(benchmark):
    limit = RateLimit(config.RateLimit(requests=1, window_s=3600), time.monotonic_ns, "courses")
    limit(exchange_of())
    assert timed(benchmark, limit)[0].status == 429


def test_a_token_is_known(benchmark):
    check = JwtCheck(config.Jwt(algorithms=("HS256",), secret=SECRET), CLAIMS, time.time)
    _, exchange = timed(benchmark, check)
    assert exchange.claims["sub"] == "learner-0042"


def test_a_token_is_new(benchmark):
    check = JwtCheck(config.Jwt(algorithms=("HS256",), secret=SECRET, cached_tokens=0), CLAIMS, time.time)
    assert timed(benchmark, check)[0] is None


def test_an_asked_verdict_is_known(benchmark):
    def ask(_method, _target, _headers, _timeout_s, done):
        done(Reply(200, [], b""))

    step = AskAuth(config.Ask(upstream="auth", path="/check", cache_s=3600), ask, time.monotonic)
    step(exchange_of()).start(lambda _verdict: None)
    assert timed(benchmark, step)[0] is None


def test_a_fault_is_drawn(benchmark):
    loop = SimpleNamespace(call_later=asyncio.AbstractEventLoop.call_later)
    step = InjectedFault(config.Fault(delay_s=1, delay_share=1e-9, abort_share=1e-9), random.Random(1), loop)
    assert timed(benchmark, step)[0] is None


def test_a_line_is_logged_and_its_share_of_a_batch_written(benchmark, tmp_path):
    log = AccessLog(str(tmp_path / "access.log"), 1.0)
    timed(benchmark, log)
    log.close()
    assert (tmp_path / "access.log").stat().st_size > 200


def test_an_exchange_is_counted(benchmark):
    metrics = Metrics()
    timed(benchmark, metrics)
    assert metrics.snapshot()["attempts"]["courses"] > 0
