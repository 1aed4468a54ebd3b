"""What Locust does when it is left as it is: python -m tests.functional.locust_traps TRAP [PORT]; prints JSON.

Locust replaces half of the standard library when it is imported, so each trap is a process of its own.
"""

import json
import os
import resource
import socket
import sys

import gevent
import gevent.socket
import locust.stats
from geventhttpclient.client import HTTPClient
from locust import FastHttpUser
from locust.contrib.fasthttp import FastHttpSession
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.runners import WorkerNode

from harness.engines import locust_process
from harness.engines.locust_client import Client, Clients
from harness.engines.locust_members import OneEach


def default_user(port):
    """Thirty requests at once through a FastHttpUser as it comes."""

    class User(FastHttpUser):
        host = f"http://127.0.0.1:{port}"

    _all_at_once(User(Environment()).client, 30, "/delay/0.5")


def default_session(port):
    """A few through a FastHttpSession as it comes, without a user."""
    _all_at_once(FastHttpSession(f"http://127.0.0.1:{port}", Environment().events.request, None), 4, "/delay/0.2")


def our_session(port):
    """Thirty through a FastHttpSession over connections of ours."""
    request_event = Environment().events.request
    session = FastHttpSession(f"http://127.0.0.1:{port}", request_event, None, client_pool=Clients())
    _all_at_once(session, 30, "/delay/2")


def _all_at_once(session, count, path):
    gevent.joinall([gevent.spawn(session.get, path) for _ in range(count)], raise_error=True)


def default_retries(port):
    """One request, to a target that hangs up."""
    client = HTTPClient("127.0.0.1", int(port), concurrency=10)
    return _hung_up(client)


def our_retries(port):
    return _hung_up(Client("127.0.0.1", int(port)))


def _hung_up(client):
    try:
        client.request("GET", "/hangup")
    except Exception as broken:  # noqa: BLE001 - which one it is, is the answer
        return type(broken).__name__
    return "answered"


def rounding(_):
    """Before and after."""
    before = [locust.stats.bucket_response_time(value) for value in (7.3, 0.4, 147.26)]
    locust_process.tune_locust()
    return before, [locust.stats.bucket_response_time(value) for value in (7.3, 0.4, 147.26, 12345.0)]


def users_of_workers(_):
    """How many users three workers get: from Locust with fixed_count 1, and from us."""

    class Dispatcher(FastHttpUser):
        fixed_count = 1

    counts = []
    for kind in (UsersDispatcher, OneEach):
        nodes = [WorkerNode(str(number)) for number in range(3)]
        dispatcher = kind(worker_nodes=nodes, user_classes=[Dispatcher])
        dispatcher.new_dispatch(target_user_count=3, spawn_rate=3)
        *_, last = dispatcher
        counts.append([last[node.id]["Dispatcher"] for node in nodes])
    return counts


def high_descriptor(port):
    """Is an idle connection alive whose descriptor is above 1023? HTTPClient's word, ours, and ours once data came."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with socket.create_connection(("127.0.0.1", int(port))) as low:
        os.dup2(low.fileno(), 1500)
        idle = socket.socket(fileno=1500)
        pools = HTTPClient("127.0.0.1", int(port))._connection_pool, Client("127.0.0.1", int(port)).connections
        said = [pool._is_socket_alive(idle) for pool in pools]
        low.sendall(b"GET /status/200 HTTP/1.1\r\n\r\n")
        gevent.socket.wait_read(low.fileno())
        return [*said, pools[1]._is_socket_alive(idle)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else None)))
