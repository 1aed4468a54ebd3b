"""The admin application without a socket: what each path answers, and what no web page can make a browser do."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from gateway_proxy import admin, admin_pages
from gateway_proxy.config import FileProblem, parse
from gateway_proxy.controls import ReloadOutcome
from gateway_proxy.schema import json_schema
from tests.gateway_proxy.test_shown import SECRETS

STATUS = {
    "version": "1", "pid": 7, "uptime_s": 1.5, "config_file": "gateway.yaml", "generation": 3, "connections": 2,
    "draining": False, "workers": [],
}  # fmt: skip
POOLS = {"a": {"balance": "round_robin", "targets": []}}
BREAKERS = {"a": {"state": "open", "failures_in_a_row": 0, "opened": 1, "refused": 9}}


class Gateway:
    """Controls with set answers, which note what they are told to do."""

    def __init__(self):
        self.outcome = ReloadOutcome(4)
        self.draining = False
        self.told = []

    def config(self):
        return parse(SECRETS, "f")

    async def status(self):
        return STATUS | {"draining": self.draining}

    async def pools(self):
        return POOLS

    async def breakers(self):
        return BREAKERS

    async def metrics(self):
        return b"# TYPE a counter\na 1\n", "text/plain; version=0.0.4"

    async def reload(self):
        self.told.append("reload")
        return self.outcome

    async def drain(self):
        self.told.append("drain")


class Answer:
    def __init__(self, messages):
        self.status = messages[0]["status"]
        self.fields = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def json(self):
        return json.loads(self.body)


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def ask(gateway):
    app = admin.application(gateway)

    def asking(path, method="GET", host="127.0.0.1:9901", **fields):
        headers = [(b"host", host.encode())] if host is not None else []
        headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
                 "headers": headers, "root_path": "", "scheme": "http", "http_version": "1.1", "client": None,
                 "server": ("127.0.0.1", 9901), "state": {}}  # fmt: skip
        messages = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            messages.append(message)

        asyncio.run(app(scope, receive, send))
        return Answer(messages)

    return asking


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/status", STATUS), ("/pools", POOLS), ("/breakers", BREAKERS), ("/health", {"status": "ok"})],
)
def test_views_are_what_the_gateway_says_as_json(ask, path, expected):
    answer = ask(path)
    assert (answer.status, answer.json, answer.fields["content-type"]) == (200, expected, "application/json")


def test_routes_and_configuration_are_shown_without_secrets(ask):
    assert ask("/routes").json[0]["prefix"] == "/a"
    assert ask("/config").json["listen"]["port"] == 8080
    for path in ("/routes", "/config"):
        assert b"hush" not in ask(path).body
        assert b"[redacted]" in ask(path).body


def test_the_schema_is_the_published_one(ask):
    assert ask("/config/schema").json == json_schema()


def test_metrics_come_with_the_type_they_were_made_with(ask):
    answer = ask("/metrics")
    assert answer.body == b"# TYPE a counter\na 1\n"
    assert answer.fields["content-type"] == "text/plain; version=0.0.4"


def test_a_draining_gateway_is_not_healthy(ask, gateway):
    gateway.draining = True
    assert (ask("/health").status, ask("/health").json) == (503, {"status": "draining"})


def test_an_unknown_path_or_method_is_said_in_json(ask):
    assert (ask("/nowhere").status, ask("/nowhere").json) == (404, {"error": "Not Found"})
    assert ask("/status", "POST", x_gateway_admin="1").status == 405
    assert ask("/reload").status == 405


# -- reload and drain ---------------------------------------------------------------------------------------------


def test_a_reload_says_the_generation_that_is_in_force(ask, gateway):
    answer = ask("/reload", "POST", x_gateway_admin="1")
    assert (answer.status, answer.json, gateway.told) == (200, {"generation": 4}, ["reload"])


def test_a_file_that_is_refused_is_said_with_its_line(ask, gateway):
    gateway.outcome = ReloadOutcome(3, FileProblem("gateway.yaml", 12, "unknown key"))
    answer = ask("/reload", "POST", x_gateway_admin="1")
    assert answer.status == 422
    assert answer.json == {"generation": 3, "file": "gateway.yaml", "line": 12, "message": "unknown key"}


def test_a_worker_that_could_not_take_it_is_named(ask, gateway):
    gateway.outcome = ReloadOutcome(4, failed=("worker 2: no answer",))
    answer = ask("/reload", "POST", x_gateway_admin="1")
    assert (answer.status, answer.json) == (500, {"generation": 4, "error": "worker 2: no answer"})


def test_a_drain_is_begun_and_not_waited_for(ask, gateway):
    assert ask("/drain", "POST", content_type="application/json").status == 202
    assert gateway.told == ["drain"]


# -- what a web page elsewhere could try ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9901", "127.0.0.1", "127.8.8.8:1", "[::1]", "[::1]:9901"])
def test_names_of_loopback_are_answered(ask, host):
    assert ask("/status", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", None],
)
def test_any_other_host_is_refused_as_dns_rebinding_needs_one(ask, gateway, host):
    for path, method in (("/status", "GET"), ("/", "GET"), ("/reload", "POST")):
        answer = ask(path, method, host=host, x_gateway_admin="1")
        assert (answer.status, list(answer.json)) == (403, ["error"])
    assert gateway.told == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain; charset=application/json"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"x_gateway_admin": "1", "sec_fetch_site": "cross-site"},
        {"content_type": "application/json", "sec_fetch_site": "same-site"},
    ],
)
def test_a_post_that_a_page_can_send_without_asking_is_refused(ask, gateway, fields):
    for path in ("/reload", "/drain"):
        assert ask(path, "POST", **fields).status == 403
    assert gateway.told == []


def test_a_preflight_is_never_allowed(ask):
    answer = ask("/reload", "OPTIONS", origin="http://evil.example", access_control_request_method="POST")
    assert answer.status == 403
    assert not any(name.startswith("access-control") for name in answer.fields)


def test_our_own_page_and_a_script_may_post(ask):
    assert ask("/reload", "POST", x_gateway_admin="1", sec_fetch_site="same-origin").status == 200
    assert ask("/reload", "POST", content_type="Application/JSON; charset=utf-8").status == 200


@pytest.mark.parametrize("path", ["/", "/status", "/nowhere"])
def test_every_answer_keeps_browsers_from_doing_more_than_the_page_needs(ask, path):
    fields = ask(path).fields
    assert fields["x-frame-options"] == "DENY"
    assert fields["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in fields["content-security-policy"]
    assert fields["cache-control"] == "no-store"


# -- the page -----------------------------------------------------------------------------------------------------


def test_the_page_and_what_it_loads_are_there(ask):
    page = ask("/")
    assert (page.status, page.fields["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {"page.js", "page.css", "status", "config/schema"} <= set(loaded)
    assert {ask(f"/{path}").status for path in loaded} == {200}


def test_the_page_works_under_its_own_policy():
    """No inline script or style and no markup from data: the policy would block the former, and nothing the latter."""
    folder = Path(admin_pages.__path__[0])
    page, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.js"))
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.style\b", script)


def test_every_key_that_the_page_reads_is_in_the_shapes_it_is_given():
    """The page is not run here; a key renamed on one side only would leave it empty."""
    from gateway_proxy import controls

    script = (Path(admin_pages.__path__[0]) / "page.js").read_text(encoding="utf-8")
    shapes = {"status": "Status", "worker": "WorkerStatus", "pool": "PoolStatus", "target": "TargetStatus",
              "one": "BreakerStatus"}  # fmt: skip
    for variable, shape in shapes.items():
        read = set(re.findall(rf"\b{variable}\.(\w+)", script)) - {"map"}
        assert read, variable
        assert read <= set(getattr(controls, shape).__annotations__), variable
