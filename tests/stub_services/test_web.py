"""Endpoints and the transport below them, without a server."""

import asyncio
import logging

import pytest
from starlette.routing import Route

from stub_services.web import Application, Endpoint, InternalEndpoint
from stub_services.wire import OneWrite


def ask(app, method="GET", path="/it", headers=(), body=b""):
    """Ask an ASGI application; return status, headers, body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def application(endpoint):
    return Application([Route("/it", endpoint, methods=["GET"]), Route("/of/{name}", endpoint, methods=["GET"])])


async def fine(request):
    return 200, request.path.get("name", "-").encode()


async def broken(_request):
    raise ZeroDivisionError


def test_constant_and_other_paths_reach_their_endpoint():
    app = application(Endpoint(fine))
    assert ask(app)[::2] == (200, b"-")
    assert ask(app, path="/of/me")[::2] == (200, b"me")
    assert [ask(app, path=path)[0] for path in ("/it/", "/of", "/of/me/too")] == [404] * 3
    assert ask(app, "POST")[0] == 405


def test_a_broken_handler_is_500_and_is_logged(caplog):
    with caplog.at_level(logging.ERROR):
        status, _, body = ask(application(Endpoint(broken)))
    assert (status, b"ZeroDivision" in body) == (500, False)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("via", "hops"), [([], b"1"), ([b"1.1 a"], b"2"), ([b"1.1 a, 1.1 b"], b"3"), ([b"1.1 a", b"1.1 b"], b"3")]
)
def test_hops_are_one_more_than_the_entries_of_via(via, hops):
    headers = [(b"x-internal-api-key", b"k"), *((b"via", value) for value in via)]
    assert ask(application(InternalEndpoint(fine, "k")), headers=headers)[1][b"x-hops"] == hops


class Transport:
    """Notes what is written and whether it is closed."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")

    is_closing = get_extra_info = pause_reading = resume_reading = None


def writes(*steps):
    """Take steps on a transport in one turn of the loop and return what came out, `|` being the end of the turn."""
    transport = Transport()

    async def scenario():
        joined = OneWrite(transport, asyncio.get_running_loop())
        for step in steps:
            if step == "close":
                joined.close()
            else:
                joined.write(step)
        transport.written.append("|")
        await asyncio.sleep(0)

    asyncio.run(scenario())
    return transport.written


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def test_what_is_written_in_one_turn_goes_out_at_once():
    assert writes(HEAD, b"body") == ["|", HEAD + b"body"]
    assert writes(HEAD, b"one", HEAD, b"two") == ["|", HEAD + b"one" + HEAD + b"two"]


def test_nothing_is_written_for_nothing():
    assert writes() == ["|"]


def test_closing_writes_what_is_held_back():
    assert writes(HEAD, "close") == [HEAD, "closed", "|"]
