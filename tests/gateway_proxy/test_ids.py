"""Request ids and trace contexts: what is kept, what is made anew, what travels."""

from __future__ import annotations

import random
import re

import pytest

from gateway_proxy.config import RequestId, Trace
from gateway_proxy.features.ids import RequestIds, TraceContext
from tests.gateway_proxy.exchanges import exchange_of, lines_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def named(*fields, **config):
    exchange = exchange_of(*fields)
    assert RequestIds(RequestId(**config), random.Random(1))(exchange) is None
    return exchange


def test_a_request_gets_an_id_that_the_upstream_and_the_client_are_told():
    exchange = named()
    assert re.fullmatch(rb"[0-9a-f]{32}", exchange.request_id)
    assert lines_of(exchange.request_lines) == {"X-Request-Id": exchange.request_id.decode()}
    assert exchange.answer_lines == exchange.request_lines
    assert exchange.dropped == set()


def test_ids_follow_from_the_seed_and_differ_between_requests():
    def ids(seed):
        step = RequestIds(RequestId(), random.Random(seed))
        exchanges = [exchange_of() for _ in range(100)]
        for exchange in exchanges:
            step(exchange)
        return [exchange.request_id for exchange in exchanges]

    assert ids(1) == ids(1)
    assert len({*ids(1), *ids(2)}) == 200


def test_an_id_that_came_is_replaced_unless_it_is_trusted():
    assert named("x-request-ID: mine").dropped == {b"x-request-id"}
    assert named("x-request-ID: mine").request_id != b"mine"
    trusted = named("x-request-ID:   mine ", trust=True)
    assert trusted.request_id == b"mine"
    assert lines_of(trusted.request_lines) == {"X-Request-Id": "mine"}
    assert trusted.dropped == {b"x-request-id"}, "the client's line goes in any case, so that there is one"


@pytest.mark.parametrize("came", ["", "a b", "a\tb", "\xe9", "x" * 129])
def test_a_trusted_id_that_is_not_sane_is_replaced(came):
    assert re.fullmatch(rb"[0-9a-f]{32}", named(f"X-Request-Id: {came}", trust=True).request_id)


def test_the_longest_sane_id_is_kept_and_of_two_none():
    longest = "~" * 128
    assert named(f"X-Request-Id: {longest}", trust=True).request_id == longest.encode()
    assert len(named("X-Request-Id: a", "X-Request-Id: b", trust=True).request_id) == 32


def test_the_field_can_have_another_name():
    exchange = named("X-Request-Id: other", field="Correlation-Id")
    assert [*lines_of(exchange.request_lines)] == ["Correlation-Id"]
    assert exchange.dropped == set()
    step = RequestIds(RequestId(field="Correlation-Id"), random.Random(1))
    assert step.answer_dropped == step.request_owned == {b"correlation-id"}


def traced(*fields, share=1.0, seed=1):
    exchange = exchange_of(*fields)
    assert TraceContext(Trace(sampled_share=share), random.Random(seed))(exchange) is None
    parts = lines_of(exchange.request_lines)["traceparent"].split("-")
    assert [len(part) for part in parts] == [2, 32, 16, 2]
    assert parts[0] == "00"
    return exchange, *parts[1:]


def test_a_valid_trace_is_continued_with_a_parent_of_our_own():
    exchange, trace, parent, flags = traced(f"traceparent: {PARENT}", "tracestate: a=b")
    assert (trace, flags) == ("4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert re.fullmatch("[0-9a-f]{16}", parent)
    assert parent != "00f067aa0ba902b7"
    assert exchange.dropped == {b"traceparent"}, "tracestate travels with it"


@pytest.mark.parametrize(("came", "kept"), [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03")])
def test_the_known_flags_are_kept_whatever_the_share_and_the_others_are_cleared(came, kept):
    assert traced(f"traceparent: {PARENT[:-2]}{came}", share=0.0)[3] == kept


INVALID = [
    PARENT.upper(),
    PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
    PARENT.replace("00f067aa0ba902b7", "0" * 16),
    "01" + PARENT[2:],
    "ff" + PARENT[2:],
    PARENT + "-extra",
    PARENT[:-1],
    PARENT.replace("-", " "),
    "",
    "junk",
]


@pytest.mark.parametrize("came", INVALID)
def test_an_invalid_trace_is_replaced_and_its_state_dropped(came):
    exchange, trace, _, flags = traced(f"traceparent: {came}", "TraceState: a=b")
    assert trace not in PARENT
    assert trace.strip("0")
    assert flags == "01"
    assert exchange.dropped == {b"traceparent", b"tracestate"}


def test_two_traces_are_none_and_a_state_without_a_trace_is_dropped():
    exchange, trace, _, _ = traced(f"traceparent: {PARENT}", f"traceparent: {PARENT}", "tracestate: a=b")
    assert trace not in PARENT
    assert exchange.dropped == {b"traceparent", b"tracestate"}
    assert traced("tracestate: a=b")[0].dropped == {b"tracestate"}
    assert traced()[0].dropped == set()


def test_new_traces_are_sampled_with_the_share():
    step = TraceContext(Trace(sampled_share=0.25), random.Random(7))
    sampled = 0
    for _ in range(2000):
        exchange = exchange_of()
        step(exchange)
        sampled += exchange.request_lines[0].endswith(b"-01\r\n")
    assert 430 < sampled < 570  # mean 500, standard deviation 19
    assert traced(share=0.0)[3] == "00"
