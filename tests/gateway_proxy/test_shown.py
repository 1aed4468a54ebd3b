"""What of a configuration may be seen, and which changes a reload refuses."""

from __future__ import annotations

import json

import pytest

from gateway_proxy.config import FileProblem, parse
from gateway_proxy.reloading import read_again
from gateway_proxy.shown import redacted, routes
from tests.gateway_proxy.test_schema import EVERYTHING, SHORTEST

SECRETS = SHORTEST.replace(
    "upstream: a}",
    "upstream: a, fields: {X-Api-Key: hush-1, X-Version: '2'}, auth: {jwt: {algorithms: [HS256], secret: hush-2}}}",
)


def test_no_secret_is_shown_and_everything_else_is():
    shown = redacted(parse(SECRETS, "f"))
    assert "hush" not in json.dumps(shown)
    route = shown["routes"][0]
    assert route["auth"]["jwt"]["secret"] == route["fields"]["X-Api-Key"] == "[redacted]"
    assert route["fields"]["X-Version"] == "2"
    assert shown["limits"]["head_bytes"] == 65536, "defaults are shown too"
    assert "hush" not in json.dumps(routes(parse(SECRETS, "f")))


def test_a_secret_that_is_not_there_is_not_said_to_be():
    text = EVERYTHING.replace("secret: s", "secret_file: keys/s")
    jwt = redacted(parse(text, "f"))["routes"][0]["auth"]["jwt"]
    assert (jwt["secret"], jwt["secret_file"]) == (None, "keys/s")


def test_a_route_in_short_says_what_it_matches_where_it_goes_and_what_it_does():
    assert routes(parse(EVERYTHING, "f")) == [
        {
            "prefix": "/a",
            "host": "*.example.org",
            "methods": ["GET"],
            "fields": {"X-Version": "2"},
            "to": [{"upstream": "a", "weight": 9}, {"upstream": "b", "weight": 1}],
            "features": ["timeouts", "retry", "rate_limit", "auth", "cors", "fault", "upgrade"],
        }
    ]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text(SHORTEST, encoding="utf-8")
    return path


def test_a_changed_route_is_read_with_its_text(file):
    changed = SHORTEST.replace("prefix: /a", "prefix: /b")
    file.write_text(changed, encoding="utf-8")
    fresh, text = read_again(str(file), parse(SHORTEST, "f"))
    assert (fresh.routes[0].prefix, text) == ("/b", changed)


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("# moved\n" + SHORTEST.replace("8080", "8081"), 2, "listen: cannot change without a restart"),
        (SHORTEST + "workers: 2\n", 6, "workers: cannot change without a restart"),
        (SHORTEST + "admin: {port: 1}\n", 6, "admin: cannot change without a restart"),
        (SHORTEST.replace("/a", "a"), 5, "routes[0].prefix"),
    ],
)
def test_what_is_wrong_or_needs_a_restart_is_refused_with_its_line(file, text, line, hint):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FileProblem, match=str(file)) as caught:
        read_again(str(file), parse(SHORTEST, "f"))
    assert caught.value.line == line
    assert hint in caught.value.message


def test_a_key_that_is_gone_from_the_file_is_told_at_its_first_line(file):
    with pytest.raises(FileProblem) as caught:
        read_again(str(file), parse(SHORTEST + "workers: 2\n", "f"))
    assert (caught.value.line, caught.value.message) == (1, "workers: cannot change without a restart")


def test_a_file_that_is_gone_is_a_problem_of_that_file(file):
    file.unlink()
    with pytest.raises(FileProblem, match="cannot be read"):
        read_again(str(file), parse(SHORTEST, "f"))
