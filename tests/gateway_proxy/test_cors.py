"""CORS as the Fetch standard has it: what a browser would conclude from the gateway's answers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway_proxy.config.routes import Cors as Config
from gateway_proxy.features.cors import Cors
from tests.gateway_proxy.exchanges import exchange_of, lines_of

ORIGIN = "https://app.example"
OPEN = Config(origins=(ORIGIN, "null"), methods=("GET", "PUT"), headers=("X-A", "Content-Type"), expose=("X-B", "X-C"))


def preflight(config=OPEN, origin=ORIGIN, method="PUT", headers=None):
    asked = [f"Origin: {origin}", f"Access-Control-Request-Method: {method}"]
    if headers is not None:
        asked.append(f"Access-Control-Request-Headers: {headers}")
    exchange = exchange_of(*asked, method="OPTIONS")
    cors = Cors(config)
    refusal = cors(exchange)
    cors.answer(exchange, None)
    assert exchange.answer_lines == [], "the answer to a preflight says it all itself"
    return refusal.status, lines_of([refusal.lines])


def answered(*fields, config=OPEN, method="GET"):
    exchange = exchange_of(*fields, method=method)
    cors = Cors(config)
    assert cors(exchange) is None
    cors.answer(exchange, None)
    return lines_of(exchange.answer_lines)


def test_a_preflight_is_answered_with_what_is_allowed():
    assert preflight(headers="content-type,x-a") == (
        204,
        {
            "Access-Control-Allow-Origin": ORIGIN,
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Headers": "X-A, Content-Type",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        },
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://app.example.evil.example"},
        {"origin": "http://app.example"},
        {"origin": "https://app.example:444"},
        {"method": "DELETE"},
        {"method": "put"},
        {"headers": "x-a, x-b"},
        {"headers": "authorization"},
    ],
)
def test_a_preflight_for_more_than_is_allowed_is_refused_without_any_cors_field(asked):
    assert preflight(**asked) == (403, {})


@pytest.mark.parametrize("headers", [None, "", "x-a", "X-A , content-type", "x-a,,"])
def test_the_fields_asked_for_are_a_list_in_any_case(headers):
    assert preflight(headers=headers)[0] == 204


def test_a_wildcard_for_fields_does_not_stand_for_authorization_nor_for_itself_with_credentials():
    star = Config(origins=("*",), headers=("*",), methods=("PUT",))
    assert preflight(star, headers="x-any,x-other")[0] == 204
    assert preflight(star, headers="x-any,authorization")[0] == 403
    both = Config(origins=("*",), headers=("*", "Authorization"), methods=("PUT",))
    assert preflight(both, headers="x-any,authorization")[0] == 204
    with pytest.raises(ValidationError, match="name the headers"):
        Config(origins=(ORIGIN,), headers=("*",), methods=("PUT",), credentials=True)


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ((f"Origin: {ORIGIN}",), "OPTIONS"),
        (("Access-Control-Request-Method: PUT",), "OPTIONS"),
        ((f"Origin: {ORIGIN}", "Access-Control-Request-Method: PUT"), "GET"),
    ],
)
def test_only_a_preflight_is_answered_here(fields, method):
    exchange = exchange_of(*fields, method=method)
    assert Cors(OPEN)(exchange) is None


def test_an_allowed_origin_may_read_the_answer_and_the_fields_named():
    expected = {"Access-Control-Allow-Origin": ORIGIN, "Access-Control-Expose-Headers": "X-B, X-C", "Vary": "Origin"}
    assert answered(f"Origin: {ORIGIN}") == expected
    assert answered(f"Origin: {ORIGIN}", method="OPTIONS") == expected
    assert answered("Origin: null")["Access-Control-Allow-Origin"] == "null"


def test_other_origins_and_none_get_only_vary_so_that_a_cache_keeps_answers_apart():
    assert answered("Origin: https://evil.example") == {"Vary": "Origin"}
    assert answered() == {"Vary": "Origin"}


def test_an_open_route_does_not_depend_on_the_origin():
    star = Config(origins=("*",))
    assert answered("Origin: https://any.example", config=star) == {"Access-Control-Allow-Origin": "*"}
    assert answered(config=star) == {}
    assert "Vary" not in preflight(star, method="GET")[1]


def test_credentials_are_allowed_by_preflight_and_answer():
    config = Config(origins=(ORIGIN,), credentials=True)
    assert preflight(config, method="GET")[1]["Access-Control-Allow-Credentials"] == "true"
    assert answered(f"Origin: {ORIGIN}", config=config)["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Allow-Credentials" not in answered("Origin: https://evil.example", config=config)


def test_every_field_that_it_may_add_is_dropped_from_the_upstreams_answer():
    told = {*preflight(headers="x-a")[1], *answered(f"Origin: {ORIGIN}"), "Access-Control-Allow-Credentials"} - {"Vary"}
    assert {name.lower().encode() for name in told} == Cors.answer_dropped
