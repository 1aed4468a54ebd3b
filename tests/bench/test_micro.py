"""What single steps of the hot paths cost. As tests they run once; `make figures` times them (pytest-benchmark)."""

import random
from types import SimpleNamespace

from gateway_proxy.balance import RoundRobin
from gateway_proxy.config import Route as RouteConfig
from gateway_proxy.config import Upstream
from gateway_proxy.http1 import ResponseParser, render_request
from gateway_proxy.pool import Pool
from gateway_proxy.routes import Route, Routes, Timeouts
from harness.schedule import draw_schedule
from stub_services import tokens
from stub_services.breaker import Breaker

ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Sun, 22 Nov 2026 22:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"content-length: 16\r\nconnection: keep-alive\r\n\r\n" + b'{"success":true}'
)
SECRET = "a secret of thirty-two bytes or more"


def test_an_answer_is_parsed_by_the_load_engine(benchmark):
    parser = ResponseParser(keep_body=False, keep_headers=False)

    def parse():
        parser.begin()
        parser.feed(ANSWER)
        return parser.complete

    assert benchmark(parse)


def test_an_answer_is_parsed_by_the_services_client(benchmark):
    parser = ResponseParser()

    def parse():
        parser.begin()
        parser.feed(ANSWER)
        return parser.body

    assert benchmark(parse) == b'{"success":true}'


def test_a_request_is_rendered(benchmark):
    headers = [("X-Internal-API-Key", "k" * 32), ("Content-Type", "application/json")]
    request = benchmark(
        render_request, "POST", "/api/v1/user/internal/profile/create", "127.0.0.1:8082", headers, b"{}"
    )
    assert request.startswith(b"POST ")


def test_a_route_is_found(benchmark):
    prefixes = ("/api/v1/auth", "/api/v1/user/profile", "/api/v1/user/internal", "/api/v1/courses", "/api/v1/exercises")
    upstream = Upstream(targets=("127.0.0.1:1",))
    pools = [(Pool("a", upstream, RoundRobin()), 1)]
    waits = Timeouts(connect_s=1, response_head_s=1, idle_s=1)
    configured = [RouteConfig(prefix=prefix, upstream="a") for prefix in prefixes]
    routes = Routes(Route(one.prefix, pools, waits, one, random.Random(1)) for one in configured)
    asked = SimpleNamespace(target=b"/api/v1/courses/lessons/42/complete?x=1")
    assert benchmark(routes.find, asked).name == "/api/v1/courses"


def test_the_breaker_admits_and_records(benchmark):
    breaker = Breaker(clock=lambda: 0.0)

    def call():
        breaker.record(breaker.admit(), success=True)

    benchmark(call)
    assert breaker.state.value == "closed"


def test_a_token_is_checked(benchmark):
    header = f"Bearer {tokens.sign('someone', SECRET)}".encode()
    assert benchmark(tokens.verify, header, SECRET) == "someone"


def test_a_second_of_arrivals_is_drawn(benchmark):
    weights = {f"flow{number}": 1.0 for number in range(8)}
    assert benchmark(lambda: len(draw_schedule(weights, 1000, 1, "poisson", random.Random(1)))) > 800
