"""One gateway that keeps no upstream connection, and one that does, for all rules; every test gets a clean upstream."""

import pytest

from tests.functional.gateway_rig import Upstream, answering, gateway_for


@pytest.fixture(scope="package")
def _server():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="package")
def _forgetful(_server, tmp_path_factory):
    """A gateway that keeps no idle connection, so that no test sees another's."""
    with gateway_for(tmp_path_factory.mktemp("gateway"), _server.port, ", max_idle_per_target: 0") as gateway:
        yield gateway


@pytest.fixture
def upstream(_server):
    _server.play(answering())
    _server.failures.clear()
    yield _server
    assert _server.failures == []


@pytest.fixture
def gateway(_forgetful, upstream):
    return _forgetful


@pytest.fixture(scope="package")
def _kept_server():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="package")
def _keeping(_kept_server, tmp_path_factory):
    with gateway_for(tmp_path_factory.mktemp("keeping"), _kept_server.port) as gateway:
        yield gateway


@pytest.fixture
def keeping(_keeping, _kept_server):
    """A gateway that keeps idle connections, and its upstream; connections that a test leaves are ended after it."""
    _kept_server.play(answering())
    _kept_server.failures.clear()
    yield _keeping, _kept_server
    for wire in _kept_server.wires:
        wire.hang_up()
    assert _kept_server.failures == []
