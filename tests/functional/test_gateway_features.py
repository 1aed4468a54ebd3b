"""What a route can do beyond forwarding, seen from both ends of the running gateway."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import jwt
import pytest

from tests.bench.rig import free_port
from tests.functional.certificates import self_signed
from tests.functional.gateway_rig import (
    OK,
    GatewayProcess,
    Upstream,
    Wire,
    answering,
    wait_until,
)

pytestmark = pytest.mark.functional
SECRET = "s" * 32
HEAD = b"GET /a/1?q=%%2f HTTP/1.1\r\nHost: h\r\n%b\r\n"


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def second():
    server = Upstream()
    yield server
    server.stop()


@contextlib.contextmanager
def gateway(directory, *upstreams, route="", routes=None, pool="", top="", listen=""):
    """Run a gateway with the upstreams a, b ... each with one target, or `pool` for what a has."""
    port = free_port()
    names = "abcd"[: len(upstreams)]
    targets = "".join(
        f'  {name}: {{targets: ["127.0.0.1:{server.port}"]{pool if name == "a" else ""}}}\n'
        for name, server in zip(names, upstreams, strict=True)
    )
    lines = routes or [f"{{prefix: /a, upstream: a{route}}}"]
    text = (
        f"listen: {{port: {port}{listen}}}\nupstreams:\n{targets}routes:\n"
        + "".join(f"  - {line}\n" for line in lines)
        + f"{top}\n"
    )
    process = GatewayProcess(directory, text, port)
    try:
        yield process
    finally:
        wrote = process.stop()
    assert "Traceback" not in wrote, wrote


def get(gateway, path=b"/a", fields=b"", method=b"GET", body=b""):
    return gateway.ask(b"%b %b HTTP/1.1\r\nHost: h\r\n%b\r\n%b" % (method, path, fields, body))


def seen(upstream):
    return upstream.script.requests


# -- matching and rewriting --------------------------------------------------------------------------------------------


def test_host_method_and_fields_decide_among_routes_of_one_prefix_the_most_particular_first(tmp_path, upstream, second):
    routes = [
        "{prefix: /a, upstream: a}",
        "{prefix: /a, methods: [POST], upstream: b}",
        '{prefix: /a, fields: {X-Version: "2"}, upstream: b}',
        "{prefix: /a, host: other.example, upstream: b}",
        "{prefix: /a, host: '*.wild.example', upstream: b}",
        "{prefix: /only, methods: [PUT], upstream: b}",
    ]
    first, other = upstream.play(answering()), second.play(answering(OK.replace(b"ok", b"xx")))
    with gateway(tmp_path, upstream, second, routes=routes) as gw:

        def body(host=b"h", fields=b"", method=b"GET", path=b"/a"):
            return gw.ask(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, path, host, fields))

        assert body().body == b"ok"
        assert body(method=b"POST", fields=b"Content-Length: 0\r\n").body == b"xx"
        assert body(fields=b"x-version: 2\r\n").body == b"xx"
        assert body(fields=b"X-Version: 22\r\n").body == b"ok"
        assert body(host=b"OTHER.example:80").body == b"xx"
        assert body(host=b"deep.wild.example").body == b"xx"
        assert body(host=b"wild.example").body == b"ok"
        assert body(path=b"/only", method=b"PUT", fields=b"Content-Length: 0\r\n").body == b"xx"
        assert body(path=b"/only").status == 404
    assert (len(first.requests), len(other.requests)) == (3, 5)


@pytest.mark.parametrize(
    ("how", "path", "expected"),
    [
        ("strip_prefix: true", b"/a/b//c?x=%2f", b"/b//c?x=%2f"),
        ("strip_prefix: true", b"/a", b"/"),
        ("strip_prefix: true", b"/a?x", b"/?x"),
        ("rewrite_prefix: /new/x", b"/a/b?c", b"/new/x/b?c"),
        ("rewrite_prefix: /new/", b"/a", b"/new"),
    ],
)
def test_the_prefix_is_stripped_or_rewritten_and_the_rest_is_raw(tmp_path, upstream, how, path, expected):
    with gateway(tmp_path, upstream, route=f", {how}") as gw:
        assert get(gw, path).status == 200
    assert seen(upstream)[0].first == f"GET {expected.decode()} HTTP/1.1"


def test_a_split_sends_shares_by_weight(tmp_path, upstream, second):
    split = "{prefix: /a, split: [{upstream: a, weight: 9}, {upstream: b, weight: 1}]}"
    with gateway(tmp_path, upstream, second, routes=[split], top="seed: 1") as gw, gw.connect() as wire:
        for _ in range(300):
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            wire.message()
    assert len(seen(upstream)) + len(seen(second)) == 300
    assert 10 <= len(seen(second)) <= 60  # 30 expected; the seed makes it the same number every time


# -- timeouts ----------------------------------------------------------------------------------------------------------


def silent(wire):
    wire.message()
    wire.gone(20)


def dripping(wire):
    wire.message()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(100):
            wire.send(b"x", pause_s=0.1)


def test_a_routes_own_timeouts_replace_the_upstreams(tmp_path, upstream):
    upstream.play(silent)
    with gateway(tmp_path, upstream, route=", timeouts: {response_head_s: 0.2}") as gw:
        began = time.monotonic()
        assert get(gw).status == 504
        assert time.monotonic() - began < 5  # the upstream's own is 10 s


def test_a_whole_exchange_may_be_bounded_even_while_bytes_come(tmp_path, upstream):
    upstream.play(dripping)
    with gateway(tmp_path, upstream, route=", timeouts: {exchange_s: 0.5}") as gw, gw.connect() as wire:
        wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            wire.to_close()
        assert wire.seen.startswith(b"HTTP/1.1 200")
    upstream.play(silent)
    with gateway(tmp_path, upstream, route=", timeouts: {exchange_s: 0.3}") as gw:
        assert get(gw).status == 504


# -- retries, breakers, health -----------------------------------------------------------------------------------------


def failing_first(times, status=b"503 No"):
    """Return a script that answers so many requests badly, over all connections, and then well."""
    left = [times]

    def script(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                script.requests.append(wire.message())
                bad = left[0] > 0
                left[0] -= 1
                wire.send(b"HTTP/1.1 %b\r\nContent-Length: 3\r\n\r\nbad" % status if bad else OK)

    script.requests = []
    return script


RETRY = ", retry: {attempts: 3, backoff_s: 0.001}"


def test_a_safe_request_is_sent_again_by_status_and_the_client_sees_the_good_answer_only(tmp_path, upstream):
    script = upstream.play(failing_first(2))
    with gateway(tmp_path, upstream, route=RETRY) as gw:
        answer = get(gw)
        assert (answer.status, answer.body) == (200, b"ok")
    assert len(script.requests) == 3


def test_attempts_end_and_the_last_answer_is_passed_on(tmp_path, upstream):
    script = upstream.play(failing_first(9))
    with gateway(tmp_path, upstream, route=RETRY) as gw:
        answer = get(gw)
        assert (answer.status, answer.body) == (503, b"bad")
    assert len(script.requests) == 3


def test_a_post_is_sent_once_unless_the_route_says_otherwise_and_then_with_its_body(tmp_path, upstream):
    post = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    script = upstream.play(failing_first(1))
    with gateway(tmp_path, upstream, route=RETRY) as gw:
        assert gw.ask(post).status == 503
    assert len(script.requests) == 1
    script = upstream.play(failing_first(1))
    with gateway(tmp_path, upstream, route=", retry: {methods: [POST], backoff_s: 0.001}") as gw:
        assert gw.ask(post).status == 200
    assert [request.body for request in script.requests] == [b"hello", b"hello"]


def test_a_body_that_was_not_held_whole_is_not_sent_again(tmp_path, upstream):
    script = upstream.play(failing_first(1))
    post = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n" + b"x" * 500
    with gateway(tmp_path, upstream, route=", retry: {methods: [POST], max_body_bytes: 100}") as gw:
        assert gw.ask(post).status == 503
    assert len(script.requests) == 1


def test_what_came_of_a_body_while_nobody_accepted_is_sent_once(tmp_path):
    """The first dial waits in vain, and more of the body comes meanwhile; the second attempt is taken."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        listener.settimeout(10)
        queued = []
        for _ in range(2):  # fill the queue, so that the kernel drops who comes next
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
            queued.append(sock)
        time.sleep(0.1)
        port = free_port()
        text = (
            f"listen: {{port: {port}}}\nupstreams:\n"
            f'  a: {{targets: ["127.0.0.1:{address[1]}"], connect_timeout_s: 0.4}}\n'
            "routes:\n  - {prefix: /a, upstream: a, retry: {attempts: 2, methods: [POST], backoff_s: 0.001}}\n"
        )
        gw = GatewayProcess(tmp_path, text, port)
        stack.callback(gw.stop)
        client = stack.enter_context(gw.connect())
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe")
        time.sleep(0.1)
        client.send(b"llo")
        time.sleep(0.1)
        bodies = []
        while not bodies:  # those that filled the queue are silent
            sock, _ = listener.accept()
            wire = stack.enter_context(Wire(sock))
            sock.settimeout(0.05)
            with contextlib.suppress(TimeoutError, EOFError):
                if sock.recv(1, socket.MSG_PEEK):
                    sock.settimeout(10)
                    bodies.append(wire.message().body)
                    assert wire.quiet(0.2)
                    wire.send(OK)
        assert bodies == [b"hello"]
        assert client.message().status == 200


def test_there_is_no_further_attempt_when_the_time_of_the_exchange_is_over(tmp_path, upstream):
    asked = []

    def script(wire):
        asked.append(wire.message())
        wire.gone(10)

    upstream.play(script)
    route = ", retry: {attempts: 5, backoff_s: 0.001}, timeouts: {exchange_s: 0.3}"
    with gateway(tmp_path, upstream, route=route) as gw:
        assert get(gw).status == 504
        time.sleep(0.3)
    assert len(asked) == 1


def test_a_dead_target_costs_a_retry_and_not_an_answer(tmp_path, upstream):
    script = upstream.play(answering())
    died = []

    def dies_once(wire):
        if not died:
            died.append(wire.message())
            wire.reset()
        else:
            script(wire)

    dies_once.requests = []
    upstream.play(dies_once)
    with gateway(tmp_path, upstream, route=RETRY) as gw:
        assert get(gw).status == 200
    assert len(died) == 1


def test_an_answer_that_breaks_beside_its_head_costs_a_retry_and_leaves_no_line_behind(tmp_path, upstream):
    good = upstream.play(answering())
    broken = []

    def breaks_once(wire):
        if not broken:
            broken.append(wire.message())
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
        else:
            good(wire)

    breaks_once.requests = []
    upstream.play(breaks_once)
    with gateway(tmp_path, upstream, route=RETRY + ", cors: {origins: ['https://app.example']}") as gw:
        got = get(gw, fields=b"Origin: https://app.example\r\n")
    assert (got.status, len(broken), len(good.requests)) == (200, 1, 1)
    assert [name.lower() for name, _ in got.fields].count("access-control-allow-origin") == 1


def test_the_retry_budget_bounds_what_a_failing_upstream_is_asked(tmp_path, upstream):
    script = upstream.play(failing_first(10_000))
    route = ", retry: {attempts: 5, backoff_s: 0, budget: {share: 0.2, min_per_s: 0}}"
    with gateway(tmp_path, upstream, route=route) as gw, gw.connect() as wire:
        for _ in range(100):
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            assert wire.message().status == 503
    assert 100 < len(script.requests) <= 121


def test_the_breaker_opens_after_failures_and_lets_a_few_try_when_its_time_is_up(tmp_path, upstream):
    script = upstream.play(failing_first(3, b"500 No"))
    pool = ", circuit_breaker: {failures: 3, open_s: 0.4, half_open_requests: 1}"
    with gateway(tmp_path, upstream, pool=pool) as gw:
        assert [get(gw).status for _ in range(4)] == [500, 500, 500, 503]
        assert len(script.requests) == 3
        wait_until(lambda: get(gw).status == 200, within_s=5)
        assert get(gw).status == 200


def two_targets(upstream, second, more):
    return f'{{targets: ["127.0.0.1:{upstream.port}", "127.0.0.1:{second.port}"]{more}}}'


@contextlib.contextmanager
def balanced(directory, upstream, second, more="", route="", top=""):
    port = free_port()
    text = (
        f"listen: {{port: {port}}}\nupstreams:\n  a: {two_targets(upstream, second, more)}\n"
        f"routes:\n  - {{prefix: /a, upstream: a{route}}}\n{top}\n"
    )
    process = GatewayProcess(directory, text, port)
    try:
        yield process
    finally:
        wrote = process.stop()
    assert "Traceback" not in wrote, wrote


def test_a_target_that_fails_in_a_row_is_left_alone_for_a_while(tmp_path, upstream, second):
    bad, good = upstream.play(failing_first(10_000, b"502 No")), second.play(answering())
    more = ", health: {passive: {unhealthy_after: 2, retry_after_s: 60}}"
    with balanced(tmp_path, upstream, second, more) as gw:
        statuses = [get(gw).status for _ in range(20)]
    assert statuses.count(502) == len(bad.requests) == 2
    assert len(good.requests) == 18


def test_an_active_check_holds_out_a_target_that_fails_it_before_anybody_is_sent_there(tmp_path, upstream, second):
    upstream.play(failing_first(10_000))
    second.play(answering())
    check = ", health: {active: {path: /up, interval_s: 0.05, unhealthy_after: 1, healthy_after: 1}}"
    admin = free_port()
    with balanced(tmp_path, upstream, second, check, top=f"admin: {{port: {admin}}}") as gw:
        wait_until(lambda: admin_json(admin, "/pools")["a"]["targets"][0]["held_out"] != [])
        assert [get(gw).status for _ in range(10)] == [200] * 10
        asked = seen(upstream)[0]
        assert asked.first == "GET /up HTTP/1.1"
        before = upstream.wires
        upstream.play(answering())
        for wire in before:
            wire.sock.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: admin_json(admin, "/pools")["a"]["targets"][0]["held_out"] == [])


@pytest.mark.parametrize("policy", ["round_robin", "least_connections", "two_choices"])
def test_every_policy_uses_both_targets(tmp_path, upstream, second, policy):
    with balanced(tmp_path, upstream, second, f", balance: {policy}", top="seed: 1") as gw, gw.connect() as wire:
        for _ in range(40):
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            wire.message()
    assert min(len(seen(upstream)), len(seen(second))) >= 10


def test_least_connections_avoids_a_target_that_is_busy(tmp_path, upstream, second):
    release = threading.Event()

    def slow(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                slow.requests.append(wire.message())
                release.wait(10)
                wire.send(OK)

    slow.requests = []
    upstream.play(slow)
    with balanced(tmp_path, upstream, second, ", balance: least_connections") as gw, gw.connect() as first:
        first.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: slow.requests)  # of two that are idle, the first in the file has its turn first
        for _ in range(10):
            assert get(gw).status == 200
        assert len(slow.requests) == 1
        release.set()
        assert first.message().status == 200


def test_a_consistent_hash_sends_a_key_to_one_target(tmp_path, upstream, second):
    with balanced(tmp_path, upstream, second, ", balance: consistent_hash, hash_on: X-User") as gw:
        for user in range(20):
            for _ in range(2):
                assert get(gw, fields=b"X-User: %d\r\n" % user).status == 200
    for server in (upstream, second):
        users = [request.get("x-user") for request in seen(server)]
        assert len(users) == 2 * len(set(users)) > 0


# -- who may pass ------------------------------------------------------------------------------------------------------


def bearer(**claims):
    token = jwt.encode({"sub": "u1", "exp": int(time.time()) + 60, **claims}, SECRET, algorithm="HS256")
    return b"Authorization: Bearer " + token.encode() + b"\r\n"


def test_a_token_is_checked_here_and_its_claim_told_upstream_and_not_forged(tmp_path, upstream):
    auth = f", auth: {{jwt: {{algorithms: [HS256], secret: {SECRET}}}, claims: {{sub: X-User-Id}}}}"
    with gateway(tmp_path, upstream, route=auth) as gw:
        assert get(gw).status == 401
        assert get(gw).get("www-authenticate").startswith("Bearer")
        assert get(gw, fields=bearer(exp=1)).status == 401
        assert get(gw, fields=bearer() + b"X-User-Id: root\r\n").status == 200
        chunked = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%b\r\n" % bearer()
        assert gw.ask(chunked + b"0\r\nX-User-Id: root\r\nx_user_id: root\r\nX-Sum: 1\r\n\r\n").status == 200
    assert [request.all("x-user-id") for request in seen(upstream)] == [["u1"], ["u1"]]
    assert seen(upstream)[1].trailers == [b"X-Sum: 1\r\n"]  # what an upstream may take for a field is none of theirs


def test_a_token_is_judged_by_asking_and_nobody_passes_while_the_judge_is_down(tmp_path, upstream, second):
    def judge(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                request = wire.message()
                judge.requests.append(request)
                good = request.get("authorization") == "Bearer good"
                wire.send(b"HTTP/1.1 204 No\r\n\r\n" if good else b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    judge.requests = []
    second.play(judge)
    route = "{prefix: /a, upstream: a, auth: {ask: {upstream: b, path: /verify, timeout_s: 0.5}}}"
    with gateway(tmp_path, upstream, second, routes=[route]) as gw:
        assert get(gw, fields=b"Authorization: Bearer good\r\n").status == 200
        assert get(gw, fields=b"Authorization: Bearer bad\r\n").status == 401
        post = b"POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\nContent-Length: 200000\r\n\r\n"
        assert gw.ask(post + b"x" * 200_000).status == 200
        assert len(seen(upstream)[1].body) == 200_000
        second.stop()
        assert get(gw, fields=b"Authorization: Bearer good\r\n").status == 503
    assert len(seen(upstream)) == 2
    assert {request.first for request in judge.requests} == {"GET /verify HTTP/1.1"}


def test_a_rate_limit_answers_429_with_what_is_left_and_when_to_come_back(tmp_path, upstream):
    with gateway(tmp_path, upstream, route=", rate_limit: {requests: 3, window_s: 60}") as gw:
        answers = [get(gw) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].get("ratelimit-policy") is not None
    assert "r=2" in answers[0].get("ratelimit")
    assert int(answers[3].get("retry-after")) >= 1
    assert len(seen(upstream)) == 3


def test_a_preflight_is_answered_here_and_only_allowed_origins_may_read(tmp_path, upstream):
    upstream.play(answering(OK.replace(b"\r\n\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\n\r\n", 1)))
    cors = ", cors: {origins: ['https://app.example'], methods: [GET, PUT], headers: [X-A]}"
    ask = b"Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n"
    with gateway(tmp_path, upstream, route=cors) as gw:
        with gw.connect() as wire:
            wire.send(b"OPTIONS /a HTTP/1.1\r\nHost: h\r\n" + ask + b"\r\n")
            preflight = wire.message(bodiless=True)
            assert wire.quiet(0.1)  # a 204 has no body
        assert (preflight.status, preflight.get("content-length")) == (204, None)
        assert preflight.get("access-control-allow-origin") == "https://app.example"
        assert len(seen(upstream)) == 0
        assert get(gw, fields=b"Origin: https://app.example\r\n").all("access-control-allow-origin") == [
            "https://app.example"
        ]
        assert get(gw, fields=b"Origin: https://evil.example\r\n").all("access-control-allow-origin") == []


def test_a_preflight_finds_the_route_of_the_method_that_it_asks_for(tmp_path, upstream):
    route = "{prefix: /a, methods: [PUT], upstream: a, cors: {origins: ['https://app.example'], methods: [PUT]}}"
    with gateway(tmp_path, upstream, routes=[route]) as gw, gw.connect() as wire:
        for method, status in ((b"PUT", 204), (b"DELETE", 404)):
            asked = b"Origin: https://app.example\r\nAccess-Control-Request-Method: %b\r\n" % method
            wire.send(b"OPTIONS /a HTTP/1.1\r\nHost: h\r\n" + asked + b"\r\n")
            assert wire.message(bodiless=status == 204).status == status


def test_faults_are_injected_by_share(tmp_path, upstream):
    with gateway(tmp_path, upstream, route=", fault: {abort_status: 418, abort_share: 1}") as gw:
        assert get(gw).status == 418
    assert seen(upstream) == []
    with gateway(tmp_path, upstream, route=", fault: {delay_s: 0.3, delay_share: 1}") as gw:
        began = time.monotonic()
        assert get(gw).status == 200
        assert time.monotonic() - began >= 0.3


def test_a_client_that_leaves_while_it_is_held_back_is_not_forwarded(tmp_path, upstream):
    with gateway(tmp_path, upstream, route=", fault: {delay_s: 0.3, delay_share: 1}") as gw:
        with gw.connect() as wire:
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            time.sleep(0.05)
        assert get(gw).status == 200
    assert len(seen(upstream)) == 1


# -- ids, logs, metrics ------------------------------------------------------------------------------------------------


def test_ids_and_traces_are_given_to_the_upstream_and_the_client(tmp_path, upstream):
    with gateway(tmp_path, upstream, top="request_id: {}\ntrace: {}") as gw:
        answer = get(gw, fields=b"X-Request-Id: forged\r\n")
        missed = gw.ask(b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n")
    request = seen(upstream)[0]
    assert request.get("x-request-id") == answer.get("x-request-id") != "forged"
    assert request.get("traceparent").startswith("00-")
    assert missed.status == 404


def admin_json(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"X-Gateway-Admin": "1"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}


def test_every_answer_has_a_line_in_the_log_and_a_count_in_the_metrics(tmp_path, upstream):
    admin, log = free_port(), tmp_path / "access.log"
    top = f"admin: {{port: {admin}}}\nmetrics: true\naccess_log: {{file: {log}, flush_s: 0.05}}"
    with gateway(tmp_path, upstream, top=top) as gw:
        assert get(gw, b"/a/1?secret=1").status == 200
        assert get(gw, b"/none").status == 404
        assert gw.ask(b"GET /a HTTP/1.1\r\n\r\n").status == 400
        upstream.stop()
        assert get(gw, b"/a/2").status == 502
        wait_until(lambda: log.exists() and log.read_text().count("\n") == 4)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
    assert [(line["status"], line["outcome"], line["path"]) for line in lines] == [
        (200, "ok", "/a/1"),
        (404, "refused", "/none"),
        (400, "refused", "/a"),
        (502, "upstream_failed", "/a/2"),
    ]
    assert lines[0]["bytes"] == 2
    assert lines[1]["bytes"] > 2
    assert lines[0]["upstream_ms"] <= lines[0]["duration_ms"]
    assert 'code="2xx"' in metrics or 'status="2xx"' in metrics, metrics[:2000]
    assert "upstream_failed" in metrics


# -- reload, TLS, upgrade ----------------------------------------------------------------------------------------------


def test_a_reload_loses_no_request_in_flight_and_serves_by_the_new_configuration(tmp_path, upstream, second):
    release = threading.Event()

    def slow(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                slow.requests.append(wire.message())
                release.wait(10)
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    slow.requests = []
    upstream.play(slow)
    second.play(answering())
    admin = free_port()
    with gateway(tmp_path, upstream, top=f"admin: {{port: {admin}}}") as gw, gw.connect() as kept:
        path = tmp_path / f"gateway-{gw.port}.yaml"
        kept.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: slow.requests)
        path.write_text(path.read_text().replace(str(upstream.port), str(second.port)))
        os.kill(gw.pid, signal.SIGHUP)
        wait_until(lambda: admin_json(admin, "/status")["generation"] == 2)
        assert get(gw).body == b"ok"
        release.set()
        assert kept.message().body == b"old"
        kept.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        assert kept.message().body == b"ok"
        wait_until(lambda: upstream.wires[0].sock.fileno() == -1)  # the old pool's connection is closed


def test_a_bad_configuration_is_refused_with_its_line_and_the_old_one_goes_on(tmp_path, upstream):
    admin = free_port()
    with gateway(tmp_path, upstream, top=f"admin: {{port: {admin}}}") as gw:
        path = tmp_path / f"gateway-{gw.port}.yaml"
        good = path.read_text()
        for bad, hint in (
            (good + "nonsense: 1\n", "unknown key"),
            (good.replace(f"port: {gw.port}", f"port: {free_port()}"), "restart"),
            (
                good.replace("upstream: a}", "upstream: a, auth: {jwt: {algorithms: [HS256], secret_file: /none}}}"),
                "none",
            ),
        ):
            path.write_text(bad)
            said = admin_json(admin, "/reload", "POST")
            assert (said["status"], said["generation"]) == (422, 1)
            assert hint in said["message"]
            assert get(gw).status == 200
        path.write_text(good)
        assert admin_json(admin, "/reload", "POST") == {"generation": 2}


def test_reloads_under_load_cost_no_request(tmp_path, upstream):
    stop = threading.Event()
    statuses = []

    def client(gw):
        with gw.connect() as wire:
            while not stop.is_set():
                wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
                statuses.append(wire.message().status)

    with gateway(tmp_path, upstream, route=", rate_limit: {requests: 1000000}") as gw:
        threads = [threading.Thread(target=client, args=(gw,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        path = tmp_path / f"gateway-{gw.port}.yaml"
        text = path.read_text()
        for number in range(10):
            path.write_text(text.replace(f':{upstream.port}"]', f':{upstream.port}"], idle_timeout_s: {50 + number}'))
            os.kill(gw.pid, signal.SIGHUP)
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join(10)
    assert set(statuses) == {200}
    assert len(statuses) > 20


def test_tls_is_ended_here_and_told_upstream(tmp_path, upstream):
    certificate, key = self_signed(tmp_path)
    tls = f", tls: {{certificate_file: {certificate}, key_file: {key}}}"
    port = free_port()
    text = (
        f'listen: {{port: {port}{tls}}}\nupstreams:\n  a: {{targets: ["127.0.0.1:{upstream.port}"]}}\n'
        "routes:\n  - {prefix: /a, upstream: a}\n"
    )
    process = TlsGateway(tmp_path, text, port)
    try:
        context = ssl.create_default_context(cafile=certificate)
        raw = socket.create_connection(("127.0.0.1", port), 5)
        with Wire(context.wrap_socket(raw, server_hostname="localhost")) as wire:
            for _ in range(2):
                wire.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert wire.message().status == 200
            wire.send(b"GET /a HTTP/1.1\r\n\r\n")
            assert wire.message().status == 400
        with Wire(socket.create_connection(("127.0.0.1", port), 5)) as plain:
            plain.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"HTTP" not in (plain.gone() and plain.seen)
    finally:
        wrote = process.stop()
    assert "Traceback" not in wrote, wrote
    assert {request.get("x-forwarded-proto") for request in seen(upstream)} == {"https"}


class TlsGateway(GatewayProcess):
    READY = rb"listening on https://"


def echo_after_101(protocol=b"websocket"):
    def script(wire):
        request = wire.message(bodiless=True)
        script.requests.append(request)
        wire.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\nhello" % protocol)
        with contextlib.suppress(OSError):
            while data := wire.sock.recv(65536):
                wire.send(data.upper())

    script.requests = []
    return script


OFFER = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nX-Key: 1\r\n\r\n"


def test_a_tunnel_opens_after_a_101_with_the_protocol_that_was_offered(tmp_path, upstream):
    script = upstream.play(echo_after_101())
    with gateway(tmp_path, upstream, route=", upgrade: [websocket]") as gw, gw.connect() as wire:
        wire.send(OFFER)
        head = wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"Upgrade: websocket\r\n" in head
        assert wire.exactly(5) == b"hello"
        wire.send(b"GET /x HTTP/1.1\r\n\r\n")  # bytes are bytes now
        assert wire.exactly(19) == b"GET /X HTTP/1.1\r\n\r\n"
        wire.send(b"a" * 300_000)
        assert wire.exactly(300_000) == b"A" * 300_000
        upstream.wires[0].sock.shutdown(socket.SHUT_RDWR)
        assert wire.gone()
    request = script.requests[0]
    assert (request.get("upgrade"), request.get("connection")) == ("websocket", "upgrade")


def test_a_101_for_another_protocol_or_a_route_without_upgrade_is_a_bad_answer(tmp_path, upstream):
    upstream.play(echo_after_101(b"other"))
    with gateway(tmp_path, upstream, route=", upgrade: [websocket]") as gw:
        assert gw.ask(OFFER).status == 502
    script = upstream.play(answering())
    with gateway(tmp_path, upstream, route=", upgrade: [h2c]") as gw:
        assert gw.ask(OFFER).status == 200
    assert script.requests[0].get("upgrade") is None


def test_an_upgrade_that_the_upstream_does_not_take_is_an_ordinary_exchange(tmp_path, upstream):
    with gateway(tmp_path, upstream, route=", upgrade: [websocket]") as gw, gw.connect() as wire:
        for _ in range(2):
            wire.send(OFFER)
            assert wire.message().body == b"ok"


def test_forwarded_is_added_where_it_is_wanted(tmp_path, upstream):
    with gateway(tmp_path, upstream, top="forwarding: {forwarded: true}") as gw:
        get(gw)
        get(gw, fields=b"Forwarded: for=10.0.0.1\r\n")
    own = 'for=127.0.0.1;host="h";proto=http'
    assert [request.get("forwarded") for request in seen(upstream)] == [own, f"for=10.0.0.1, {own}"]


# -- several workers ---------------------------------------------------------------------------------------------------


def test_several_workers_share_the_port_the_admin_sums_them_up_and_a_reload_reaches_all(tmp_path, upstream):
    admin = free_port()
    top = f"workers: 2\nadmin: {{port: {admin}}}\nmetrics: true"
    with gateway(tmp_path, upstream, top=top) as gw:
        assert {get(gw).status for _ in range(40)} == {200}
        status = admin_json(admin, "/status")
        assert len({worker["pid"] for worker in status["workers"]} - {gw.pid}) == 2
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
            counted = [
                line for line in answer.read().decode().splitlines() if line.startswith("gateway_requests_total")
            ]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == 40
        path = tmp_path / f"gateway-{gw.port}.yaml"
        path.write_text(path.read_text().replace("prefix: /a", "prefix: /b"))
        assert admin_json(admin, "/reload", "POST") == {"generation": 2}
        assert [get(gw).status for _ in range(20)] == [404] * 20
        assert get(gw, b"/b").status == 200
        gw.terminate()
        assert gw.wait() == 0


def test_what_is_wrong_with_a_key_is_said_once_before_any_worker_is_there(tmp_path, upstream):
    port = free_port()
    path = tmp_path / "bad.yaml"
    route = f"{{prefix: /a, upstream: a, auth: {{jwt: {{algorithms: [HS256], secret_file: {tmp_path}/none}}}}}}"
    path.write_text(
        f'listen: {{port: {port}}}\nworkers: 3\nupstreams:\n  a: {{targets: ["127.0.0.1:{upstream.port}"]}}\n'
        f"routes:\n  - {route}\n"
    )
    command = [sys.executable, "-m", "gateway_proxy", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr.count("none") == 1
