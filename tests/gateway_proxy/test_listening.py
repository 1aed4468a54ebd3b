"""The sockets of several workers on one port: who gets a connection, and that none is lost when listening ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter

import pytest

from gateway_proxy import listening
from tests.bench.rig import free_port

linux_only = pytest.mark.skipif(not listening.LINUX, reason="BPF programs on sockets are Linux's")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def shared(port):
    sockets = listening.listen_shared("127.0.0.1", port, 3, backlog=64)
    yield sockets
    listening.close(sockets)


@pytest.fixture
def dial(port):
    """Connect; with a limit in seconds, return None when there is no connection by then."""
    with contextlib.ExitStack() as stack:

        def dialling(within_s=5.0):
            client = stack.enter_context(socket.socket())
            client.settimeout(within_s)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                return None
            return client

        yield dialling


def accepted(sockets):
    """Accept what waits; return how many each worker's socket held."""
    counts = Counter()
    for number, (listener,) in enumerate(sockets):
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                counts[number] += 1
    return counts


def test_every_worker_has_a_socket_on_the_port_and_connections_are_spread(shared, dial):
    for _ in range(60):
        dial()
    counts = accepted(shared)
    assert sum(counts.values()) == 60
    assert set(counts) == {0, 1, 2}


def test_a_port_that_is_taken_is_refused_even_when_it_could_be_shared(shared, port):
    with pytest.raises(OSError) as caught:
        listening.listen_shared("127.0.0.1", port, 2, backlog=1)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_name_with_two_addresses_gets_both(port, monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{end}", port)) for end in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [*found, found[0]])
    sockets = listening.listen_shared("both", port, 2, backlog=1)
    try:
        assert [[one.getsockname()[0] for one in own] for own in sockets] == [["127.0.0.1", "127.0.0.2"]] * 2
        if listening.LINUX:
            assert listening.steer(sockets, [1])
    finally:
        listening.close(sockets)


def test_a_port_that_is_taken_cannot_be_had_alone(shared, port):
    with pytest.raises(OSError) as caught:
        listening.listen("127.0.0.1", port, backlog=1)
    assert caught.value.errno == errno.EADDRINUSE


@linux_only
def test_new_connections_go_to_the_living_only_and_those_that_wait_stay(shared, dial):
    for _ in range(30):
        dial()
    assert listening.steer(shared, [0, 2])
    for _ in range(60):
        dial()
    counts = accepted(shared)
    assert 0 < counts[1] < 30, "its share of the first thirty waits for its next worker"
    assert counts[0] + counts[2] == 90 - counts[1]
    assert min(counts[0], counts[2]) > 15


@linux_only
@pytest.mark.parametrize("alive", [[0], [2], [1, 2], [0, 1, 2]])
def test_any_of_them_can_be_the_living(shared, dial, alive):
    assert listening.steer(shared, alive)
    for _ in range(30):
        dial()
    assert set(accepted(shared)) == set(alive)


def test_with_nobody_alive_everybody_gets_connections(shared, dial):
    assert not listening.steer(shared, [])
    for _ in range(30):
        dial()
    assert set(accepted(shared)) == {0, 1, 2}


@linux_only
def test_a_socket_that_refuses_what_is_new_still_hands_out_what_it_holds(dial, port):
    (listener,) = listening.listen("127.0.0.1", port, backlog=64)
    with listener:
        held = [dial() for _ in range(5)]
        assert listening.refuse_new(listener)
        assert dial(within_s=0.2) is None, "its SYN is dropped: neither connected nor reset"
        for number, client in enumerate(held):
            client.sendall(b"%d" % number)  # bytes of connections that are there still come through
        assert listening.holds_connections(listener)
        for number in range(5):
            with listener.accept()[0] as server:
                server.settimeout(5)
                assert server.recv(1) == b"%d" % number
                server.sendall(b"!")
        assert not listening.holds_connections(listener)
    assert [client.recv(2) for client in held] == [b"!"] * 5


@linux_only
def test_without_that_closing_resets_what_was_not_accepted(dial, port):
    """What is prevented: this test is the reason for the one above."""
    (listener,) = listening.listen("127.0.0.1", port, backlog=64)
    client = dial()
    listener.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@linux_only
def test_emptying_waits_for_whoever_accepts_and_not_for_ever(dial, port):
    (listener,) = listening.listen("127.0.0.1", port, backlog=64)

    async def empty(accept_after_s, hurry=lambda: False):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if accept_after_s is not None:
            loop.call_later(accept_after_s, lambda: accepted([[listener]]))
        assert await listening.refuse_new_and_empty([listener], hurry)
        return loop.time() - begun

    with listener:
        client = dial()
        assert 0.45 < asyncio.run(empty(accept_after_s=0.3)) < 1.5
        assert client.recv(1) == b"", "accepted and closed, not reset"
        assert asyncio.run(empty(None, hurry=lambda: True)) < 0.15
