"""What of the supervisor can be said without processes; the rest is in tests/functional/test_gateway_workers.py."""

from __future__ import annotations

import asyncio
import http.client
import signal

from gateway_proxy import listening
from gateway_proxy.admin import AdminServer
from gateway_proxy.workers.supervisor import pause_s
from tests.bench.rig import free_port
from tests.gateway_proxy.test_admin import Gateway


def test_a_worker_that_served_for_a_while_is_replaced_at_once_and_a_hasty_one_ever_later():
    assert [pause_s(hasty) for hasty in range(9)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10]
    assert pause_s(5000) == 10


def test_the_admin_port_leaves_the_signals_of_the_process_alone_and_ends_when_told():
    """In the loop of a gateway, whose signals are its own; uvicorn would take SIGINT and SIGTERM."""
    port = free_port()

    def get():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        fields = dict(answer.getheaders())
        connection.close()
        return answer.status, fields

    async def run():
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        server = AdminServer(Gateway(), listening.listen("127.0.0.1", port, 8))
        server.start()
        status, fields = await asyncio.to_thread(get)
        assert status == 200
        assert fields["date"].endswith("GMT")
        assert "server" not in fields
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        begun = asyncio.get_running_loop().time()
        await server.stop()
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(run()) < 2
    with_again = listening.listen("127.0.0.1", port, 8)
    listening.close([with_again])
