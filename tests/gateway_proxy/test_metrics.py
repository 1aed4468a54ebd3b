"""Metrics as Prometheus would read them: prometheus_client's own parser is the judge."""

from __future__ import annotations

import json
import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway_proxy.features.metrics import (
    BOUNDS_NS,
    Metrics,
    Source,
    client_connections,
    render_merged,
    upstream_connections,
)
from tests.gateway_proxy.exchanges import MS, ended, exchange_of


def read(rendered):
    """Samples by name and label values (in the order of the labels' names), helps and types by name."""
    body, content_type = rendered
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    samples, about = {}, {}
    for family in text_string_to_metric_families(body.decode()):
        about[family.name] = (family.type, family.documentation)
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in samples
            samples[key] = sample.value
    return samples, about


def filled(*outcomes, sources=(), **request):
    metrics = Metrics(sources)
    for outcome in outcomes:
        metrics(ended(exchange_of(**request), **outcome))
    return metrics


def sent(total_ms, upstream_ms, status=200, attempts=1, **more):
    times = {"began_ns": 5 * MS, "ended_ns": int((5 + total_ms) * MS), "upstream_ns": int(upstream_ms * MS)}
    return {"status": status, "attempts": attempts, "upstream": "user", "outcome": "ok", **times, **more}


def test_exchanges_are_counted_by_method_outcome_route_and_class():
    metrics = filled(sent(2, 1), sent(2, 1, 201), sent(2, 1, 404), sent(2, 1, 502, outcome="upstream_failed"))
    metrics(ended(exchange_of(), outcome="client_gone"))
    samples, about = read(metrics.render())
    counted = {key[1:]: value for key, value in samples.items() if key[0] == "gateway_requests_total"}
    assert counted == {
        ("GET", "ok", "a", "2xx"): 2,
        ("GET", "ok", "a", "4xx"): 1,
        ("GET", "upstream_failed", "a", "5xx"): 1,
        ("GET", "client_gone", "a", "none"): 1,
    }
    assert about["gateway_requests"][0] == "counter"


def test_methods_that_a_client_invents_count_as_other():
    metrics = Metrics()
    for number in range(50):
        exchange = exchange_of()
        exchange.method = b"M%d" % number
        metrics(exchange)
    samples, _ = read(metrics.render())
    assert [key[1] for key in samples if key[0] == "gateway_requests_total"] == ["other"]


def test_histograms_hold_the_total_the_gateways_own_share_and_the_upstreams():
    samples, about = read(filled(sent(10, 9), sent(2, 1.5), sent(100, 0, attempts=0)).render())
    for name, count, total_s in [("request", 3, 0.112), ("own", 3, 0.1015), ("upstream", 2, 0.0105)]:
        family = f"gateway_{name}_duration_seconds"
        assert about[family][0] == "histogram"
        assert samples[f"{family}_count", "a"] == count
        assert math.isclose(samples[f"{family}_sum", "a"], total_s)
    assert samples["gateway_request_duration_seconds_bucket", "0.0025", "a"] == 1
    assert samples["gateway_request_duration_seconds_bucket", "0.01", "a"] == 2
    assert samples["gateway_request_duration_seconds_bucket", "+Inf", "a"] == 3
    assert samples["gateway_own_duration_seconds_bucket", "0.0005", "a"] == 1


@pytest.mark.parametrize("bound_ns", BOUNDS_NS)
def test_a_time_on_a_bound_is_in_its_bucket_and_one_beyond_is_not(bound_ns):
    samples, _ = read(filled({"ended_ns": bound_ns}, {"ended_ns": bound_ns + 1}).render())
    assert samples["gateway_request_duration_seconds_bucket", str(bound_ns / 1e9), "a"] == 1


def test_the_help_texts_are_the_definitions():
    _, about = read(filled(sent(2, 1)).render())
    assert "head being there in full to the last byte" in about["gateway_request_duration_seconds"][1]
    assert "without the upstream's" in about["gateway_own_duration_seconds"][1]
    assert "summed over attempts, dialling included" in about["gateway_upstream_duration_seconds"][1]


def test_attempts_and_retries_are_counted_by_upstream():
    samples, _ = read(filled(sent(2, 1), sent(2, 1, attempts=3), sent(2, 0, attempts=0)).render())
    assert samples["gateway_attempts_total", "user"] == 4
    assert samples["gateway_retries_total", "user"] == 2


def test_refusals_are_counted_by_reason():
    refused = [{"status": status, "outcome": "refused"} for status in (429, 429, 401, 499, 204)]
    samples, _ = read(filled(*refused, sent(2, 1, 404)).render())
    counted = {key[1:]: value for key, value in samples.items() if key[0] == "gateway_refusals_total"}
    assert counted == {("too_many_requests", "a"): 2, ("unauthorized", "a"): 1, ("status_499", "a"): 1}


def test_connections_and_other_numbers_are_read_when_asked_for():
    clients = [3]
    sources = [
        client_connections(lambda: clients[0]),
        upstream_connections(lambda: [("user", 2, 1), ("auth", 0, 4)]),
        Source("gateway_lost_lines_total", "Lines lost.", (), lambda: {(): 7}, "counter"),
    ]
    metrics = filled(sources=sources)
    clients[0] = 5
    samples, about = read(metrics.render())
    assert samples["gateway_client_connections",] == 5
    assert samples["gateway_upstream_connections", "idle", "user"] == 2
    assert samples["gateway_upstream_connections", "active", "auth"] == 4
    assert samples["gateway_lost_lines_total",] == 7
    assert about["gateway_upstream_connections"][0] == "gauge"


def test_label_values_are_escaped():
    samples, _ = read(filled({}, route='r"\\\n').render())
    assert samples["gateway_requests_total", "GET", "", 'r"\\\n', "none"] == 1


def test_workers_are_added_up_through_json():
    one = filled(sent(2, 1), sent(20, 1, attempts=2), sources=[client_connections(lambda: 2)])
    other = filled(sent(2, 1), {"status": 429, "outcome": "refused"}, sources=[client_connections(lambda: 3)])
    third = filled(sent(3, 1), route="b")
    snapshots = [json.loads(json.dumps(metrics.snapshot())) for metrics in (one, other, third)]
    samples, _ = read(render_merged(snapshots))
    assert samples["gateway_requests_total", "GET", "ok", "a", "2xx"] == 3
    assert samples["gateway_request_duration_seconds_count", "a"] == 4
    assert samples["gateway_request_duration_seconds_bucket", "0.0025", "a"] == 3
    assert samples["gateway_request_duration_seconds_count", "b"] == 1
    assert (samples["gateway_attempts_total", "user"], samples["gateway_retries_total", "user"]) == (5, 1)
    assert samples["gateway_client_connections",] == 5
    assert samples["gateway_refusals_total", "too_many_requests", "a"] == 1


def test_one_worker_renders_what_its_snapshot_does_and_nothing_renders_too():
    metrics = filled(sent(2, 1))
    assert metrics.render() == render_merged([metrics.snapshot()])
    samples, about = read(render_merged([]))
    assert samples == {}
    assert "gateway_requests" in about


def test_a_snapshot_does_not_change_with_what_comes_later():
    metrics = filled(sent(2, 1))
    before = metrics.snapshot()
    text = json.dumps(before)
    metrics(ended(exchange_of(), **sent(2, 1)))
    assert json.dumps(before) == text


def test_it_is_a_collector_for_any_registry():
    metrics = filled(sent(2, 1))
    registry = CollectorRegistry()
    registry.register(metrics)
    assert generate_latest(registry) == metrics.render()[0]
