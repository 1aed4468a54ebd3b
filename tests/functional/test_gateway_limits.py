"""What the gateway does when something is late, too much, missing or stopped: a clear answer, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.functional.gateway_rig import (
    GET,
    OK,
    GatewayProcess,
    Upstream,
    answering,
    config_text,
    free_port,
    gateway_for,
    wait_until,
)

pytestmark = pytest.mark.functional

POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
HASTY = (
    "limits: {head_timeout_s: 0.4, body_timeout_s: 0.4, idle_timeout_s: 0.8, head_bytes: 2000, fields: 10, "
    "body_bytes: 5}"
)


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()
    assert server.failures == []


@pytest.fixture(scope="module")
def lasting():
    server = Upstream()
    yield server
    server.stop()
    assert server.failures == []


@pytest.fixture(scope="module")
def hasty(lasting, tmp_path_factory):
    """A gateway with small limits and short timeouts, in front of `lasting`."""
    options = ", response_timeout_s: 0.6, max_idle_per_target: 0"
    with gateway_for(tmp_path_factory.mktemp("hasty"), lasting.port, options, HASTY) as gateway:
        yield gateway


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_slow_head_is_a_408_even_when_it_drips(hasty):
    with hasty.connect() as wire:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for number in GET[:-4]:
                wire.send(bytes([number]), pause_s=0.05)
                wire.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    wire.seen += wire.sock.recv(1000)
                wire.sock.settimeout(5)
                if wire.seen:
                    break
        assert wire.message().status == 408
        assert 0.4 <= time.monotonic() - started < 2
        assert wire.gone()


def test_a_slow_body_is_a_408_and_cancels_the_upstreams_request(hasty, lasting):
    cancelled = threading.Event()

    def script(wire):
        wire.until(b"he")
        assert wire.gone()
        cancelled.set()

    lasting.play(script)
    with hasty.connect() as wire:
        wire.send(POST + b"Content-Length: 5\r\n\r\nhe")
        assert wire.message().status == 408
        assert wire.gone()
    assert cancelled.wait(5)


def test_an_idle_connection_is_closed_without_a_word(hasty):
    with hasty.connect() as wire:
        started = time.monotonic()
        assert wire.to_close() == b""
        assert 0.8 <= time.monotonic() - started < 3


def test_a_stalled_upstream_is_a_504_and_its_connection_is_dropped(hasty, lasting):
    cancelled = threading.Event()

    def script(wire):
        wire.message()
        assert wire.gone()
        cancelled.set()

    lasting.play(script)
    with hasty.connect() as wire:
        started = time.monotonic()
        wire.send(GET)
        assert wire.message().status == 504
        assert 0.6 <= time.monotonic() - started < 3
        assert cancelled.wait(5)
        lasting.play(answering())
        wire.send(GET)
        assert wire.message().status == 200, "the client's connection must survive a 504"


def test_an_answer_that_stalls_half_way_is_aborted(hasty, lasting):
    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert wire.gone()

    lasting.play(script)
    with hasty.connect() as wire:
        wire.send(GET)
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.message()


def test_a_slow_but_moving_answer_is_not_aborted(hasty, lasting):
    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        wire.send(*[b"x"] * 5, pause_s=0.25)

    lasting.play(script)
    assert hasty.ask().body == b"xxxxx"


def test_a_client_that_does_not_read_is_aborted(hasty, lasting):
    cancelled = threading.Event()

    def script(wire):
        wire.message()
        with pytest.raises(ConnectionError):
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n", *[b"x" * 1_000_000] * 500)
        cancelled.set()

    lasting.play(script)
    with hasty.connect() as wire:
        wire.send(GET)
        assert cancelled.wait(8)


def test_an_upstream_that_does_not_accept_is_a_504(tmp_path):
    """A listener whose backlog is full leaves connections half open: the kernel drops their SYNs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        port = listener.getsockname()[1]
        gateway = stack.enter_context(gateway_for(tmp_path, port, ", connect_timeout_s: 0.3"))
        started = time.monotonic()
        assert gateway.ask().status == 504
        assert 0.3 <= time.monotonic() - started < 3


def test_a_dead_upstream_is_a_502_at_once_for_every_method(tmp_path):
    with gateway_for(tmp_path, free_port()) as gateway:
        started = time.monotonic()
        with gateway.connect() as wire:
            for request in (GET, POST + b"Content-Length: 2\r\n\r\nhi", GET):
                wire.send(request)
                answer = wire.message()
                assert answer.status == 502
                assert b"refused" in answer.body
        assert time.monotonic() - started < 1


def test_a_dead_target_is_passed_over_when_another_lives(tmp_path, upstream):
    port, dead = free_port(), free_port()
    text = config_text(port, upstream.port).replace("targets: [", f'targets: ["127.0.0.1:{dead}", ')
    gateway = GatewayProcess(tmp_path, text, port)
    try:
        assert {gateway.ask().status for _ in range(6)} == {200}
    finally:
        gateway.stop()


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_head_that_is_too_large_is_a_431(hasty):
    assert hasty.ask(GET[:-2] + b"X: " + b"a" * 2000 + b"\r\n\r\n").status == 431
    assert hasty.ask(GET[:-2] + b"X: " + b"a" * 2000).status == 431
    assert hasty.ask(b"GET /" + b"a" * 3000).status == 431


def test_too_many_fields_are_a_431(hasty, lasting):
    lasting.play(answering())
    assert hasty.ask(GET[:-2] + b"X: a\r\n" * 9 + b"\r\n").status == 200
    assert hasty.ask(GET[:-2] + b"X: a\r\n" * 10 + b"\r\n").status == 431


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 6\r\n\r\nhello!",
        b"Content-Length: 600\r\nExpect: 100-continue\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello!",
    ],
)
def test_a_body_over_the_limit_is_a_413(hasty, lasting, rest):
    lasting.play(lambda wire: wire.gone() and None)
    with hasty.connect() as wire:
        wire.send(POST + rest)
        assert wire.message().status == 413
        assert wire.to_close() == b""


def test_a_body_at_the_limit_passes(hasty, lasting):
    lasting.play(answering())
    assert hasty.ask(POST + b"Content-Length: 5\r\n\r\nhello").status == 200
    assert hasty.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").status == 200


def test_a_large_refused_body_does_not_hide_the_answer(hasty):
    """Closing with unread bytes would send a reset that overtakes the 413."""
    with hasty.connect() as wire:
        wire.send(POST + b"Content-Length: 3000000\r\n\r\n")
        time.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            wire.send(*[b"x" * 100_000] * 30)
        assert wire.message().status == 413


def test_one_client_too_many_is_a_503(tmp_path, upstream):
    with gateway_for(tmp_path, upstream.port, top="limits: {connections: 2}") as gateway:
        with gateway.connect() as first, gateway.connect() as second:
            for wire in (first, second):
                wire.send(GET)
                assert wire.message().status == 200
            assert gateway.ask().status == 503
        wait_until(lambda: gateway.ask().status == 200)


def test_one_upstream_connection_too_many_is_a_503(tmp_path, upstream):
    go_on = threading.Event()

    def script(wire):
        wire.message()
        assert go_on.wait(5)
        wire.send(OK)

    upstream.play(script)
    with gateway_for(tmp_path, upstream.port, ", max_connections_per_target: 1") as gateway, gateway.connect() as wire:
        wire.send(GET)
        upstream.wait_for(connections=1)
        assert gateway.ask().status == 503
        go_on.set()
        assert wire.message().status == 200


def test_idle_upstream_connections_are_capped_and_expire(tmp_path, upstream):
    barrier = threading.Barrier(3)

    def script(wire):
        wire.message()
        barrier.wait(5)
        wire.send(OK)
        with contextlib.suppress(EOFError):
            wire.message()
        closed.append(time.monotonic())

    closed = []
    upstream.play(script)
    options = ", max_idle_per_target: 1, idle_timeout_s: 0.5"
    with gateway_for(tmp_path, upstream.port, options) as gateway:
        threads = [threading.Thread(target=gateway.ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        done = time.monotonic()
        wait_until(lambda: len(closed) == 2)
        assert closed[1] - done < 0.3
        wait_until(lambda: len(closed) == 3)
        assert 0.3 < closed[2] - done < 3


# -- switches ----------------------------------------------------------------------------------------------------------


def test_forwarding_fields_can_be_switched_off(tmp_path, upstream):
    script = upstream.play(answering())
    top = "forwarding: {x_forwarded: false, via: false}\nhealth_path: /healthz"
    with gateway_for(tmp_path, upstream.port, top=top) as gateway:
        request = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.0.0.1\r\nVia: 1.1 x\r\n\r\n"
        assert gateway.ask(request).head == OK[:-2]
        assert script.requests[0].head == request
        assert gateway.ask(GET.replace(b"/a", b"/healthz")).status == 200
        assert gateway.ask(GET.replace(b"/a", b"/healthz/x")).status == 404


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_the_request_in_flight_and_closes_idle_connections(tmp_path, upstream, number):
    reached, go_on = threading.Event(), threading.Event()

    def script(wire):
        wire.message()
        reached.set()
        assert go_on.wait(5)
        wire.send(OK)

    upstream.play(script)
    with gateway_for(tmp_path, upstream.port) as gateway, gateway.connect() as idle, gateway.connect() as busy:
        busy.send(GET)
        assert reached.wait(5)
        os.kill(gateway.pid, number)
        assert idle.to_close() == b""
        with pytest.raises(ConnectionRefusedError):
            gateway.connect()
        go_on.set()
        answer = busy.message()
        assert (answer.status, answer.get("connection"), answer.body) == (200, "close", b"ok")
        assert busy.to_close() == b""
        assert gateway.wait() == 0


def test_a_stop_waits_no_longer_than_the_grace_period(tmp_path, upstream):
    upstream.play(lambda wire: wire.message() and wire.gone() and None)
    with gateway_for(tmp_path, upstream.port, top="grace_s: 0.3") as gateway, gateway.connect() as wire:
        wire.send(GET)
        upstream.wait_for(connections=1)
        started = time.monotonic()
        gateway.terminate()
        assert gateway.wait() == 0
        assert 0.25 <= time.monotonic() - started < 3
        assert wire.gone()


def test_an_idle_gateway_stops_at_once(tmp_path, upstream):
    with gateway_for(tmp_path, upstream.port) as gateway:
        assert gateway.ask().status == 200
        started = time.monotonic()
        gateway.terminate()
        assert gateway.wait() == 0
        assert time.monotonic() - started < 2


# -- starting ----------------------------------------------------------------------------------------------------------


def run_with(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "gateway_proxy", "--config", str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.replace(str(path), "FILE")


GOOD = config_text(8080, 8081)
BAD = {
    "an unknown key": (GOOD.replace("targets", "tragets"), 3, ["tragets", "'targets'"]),
    "a missing upstream": (GOOD.replace("upstream: a", "upstream: b"), 5, ["'b'", "declared: a"]),
    "no routes": (GOOD.partition("routes")[0], 1, ["'routes'"]),
    "an impossible port": (GOOD.replace("8080", "80800"), 1, ["port", "65535"]),
    "an impossible time": (GOOD.replace("]}", "], response_timeout_s: -1}"), 3, ["response_timeout_s", "-1"]),
    "a target without a port": (GOOD.replace("127.0.0.1:8081", "127.0.0.1"), 3, ["HOST:PORT"]),
    "a prefix without a slash": (GOOD.replace("/a", "a"), 5, ["prefix", "'a'"]),
    "no worker": (GOOD + "workers: 0\n", 7, ["workers", "greater than or equal to 1"]),
    "a key given twice": (GOOD + "listen: {port: 1}\n", 7, ["'listen'", "line 1"]),
    "a prefix given twice": (GOOD.rstrip() + "\n  - {prefix: /a/, upstream: a}\n", 6, ["'/a/'", "routes[0]"]),
    "an empty list": (GOOD.replace('["127.0.0.1:8081"]', "[]"), 3, ["targets", "at least 1"]),
    "no YAML": ("listen: {\n", 2, ["YAML"]),
    "an empty file": ("", 1, ["empty"]),
}


@pytest.mark.parametrize(("text", "line", "hints"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_with_its_line_and_what_would_be_right(tmp_path, text, line, hints):
    code, message = run_with(tmp_path, text)
    assert code == 2
    assert message.startswith(f"FILE:{line}: "), message
    for hint in hints:
        assert hint in message


def test_a_missing_file_and_missing_arguments_are_bad_usage(tmp_path):
    for arguments in ([], ["--config", str(tmp_path / "none.yaml")], ["--config", str(tmp_path)]):
        done = subprocess.run(
            [sys.executable, "-m", "gateway_proxy", *arguments], check=False, capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "config" in done.stderr or "cannot be read" in done.stderr


def test_a_port_in_use_names_its_holder(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        code, message = run_with(tmp_path, config_text(port, 8081))
    assert code == 1
    assert f"127.0.0.1:{port}" in message
    assert f"process {os.getpid()}" in message
