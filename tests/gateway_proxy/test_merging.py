"""One answer out of several workers' answers."""

from __future__ import annotations

import math

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from gateway_proxy.workers import merging


def target(address="h:1", weight=1, active=0, idle=0, opened=0, held_out=()):
    return {
        "address": address, "weight": weight, "active": active, "idle": idle, "opened": opened,
        "held_out": list(held_out),
    }  # fmt: skip


def pool(*targets):
    return {"balance": "round_robin", "targets": list(targets)}


def test_figures_of_a_target_are_summed_and_reasons_joined():
    merged = merging.pools(
        [
            {"a": pool(target(active=1, idle=2, opened=3), target("h:2", held_out=["passive_health"]))},
            {"a": pool(target(active=10, idle=20, opened=30), target("h:2", held_out=["outlier_ejection"]))},
        ]
    )
    assert merged == {
        "a": pool(target(active=11, idle=22, opened=33), target("h:2", held_out=["outlier_ejection", "passive_health"]))
    }


def test_a_worker_that_knows_another_configuration_adds_what_it_knows():
    merged = merging.pools([{"a": pool(target())}, {"a": pool(target("h:2")), "b": pool(target())}])
    assert merged == {"a": pool(target(), target("h:2")), "b": pool(target())}


def test_nobody_answers_nothing():
    assert merging.pools([]) == merging.breakers([]) == {}
    assert merging.metrics({}) == ""


def breaker(state, failures_in_a_row=0, opened=0, refused=0):
    return {"state": state, "failures_in_a_row": failures_in_a_row, "opened": opened, "refused": refused}


def test_a_breaker_is_as_bad_as_its_worst_worker_says():
    closed, half, opened = breaker("closed", 2), breaker("half_open", 0, 1, 5), breaker("open", 0, 2, 7)
    assert merging.breakers([{"a": closed}, {"a": half}])["a"] == breaker("half_open", 2, 1, 5)
    assert merging.breakers([{"a": half}, {"a": opened}, {"a": closed}])["a"] == breaker("open", 2, 3, 12)


def worker_text(requests, active, took_s):
    """What a worker with the real client library says."""
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("requests", 'With "quotes", {braces} and \\.', ["route"], registry=registry)
    counter.labels('a "b" {c} \\ d').inc(requests)
    counter.labels("plain").inc(1)
    prometheus_client.Gauge("active", "In flight.", registry=registry).set(active)
    histogram = prometheus_client.Histogram("took_s", "Seconds.", buckets=(0.1, 1), registry=registry)
    for value in took_s:
        histogram.observe(value)
    return prometheus_client.generate_latest(registry).decode()


def read(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_merge_into_text_that_a_parser_reads_with_counters_summed_and_gauges_apart():
    merged = read(merging.metrics({0: worker_text(5, 3, [0.05, 0.5]), 2: worker_text(7, 4, [2.0])}))
    assert merged["requests_total", (("route", 'a "b" {c} \\ d'),)] == 12
    assert merged["requests_total", (("route", "plain"),)] == 2
    assert merged["active", (("worker", "0"),)] == 3
    assert merged["active", (("worker", "2"),)] == 4
    assert [merged["took_s_bucket", (("le", le),)] for le in ("0.1", "1.0", "+Inf")] == [1, 2, 3]
    assert (merged["took_s_count", ()], merged["took_s_sum", ()]) == (3, 2.55)
    assert all("worker" in dict(labels) for name, labels in merged if name.endswith("_created"))


def test_comments_stand_once_and_before_their_samples():
    lines = merging.metrics({0: worker_text(1, 1, []), 1: worker_text(1, 1, [])}).splitlines()
    assert lines.count("# TYPE active gauge") == 1
    assert lines.index("# TYPE active gauge") + 1 == lines.index('active{worker="0"} 1.0')


def test_values_that_are_no_plain_numbers_come_through():
    merged = merging.metrics({0: "# TYPE a gauge\na +Inf\nb NaN\n", 1: "# TYPE a gauge\na -Inf\n"})
    values = read(merged)
    assert values["a", (("worker", "0"),)] == math.inf
    assert values["a", (("worker", "1"),)] == -math.inf
    assert math.isnan(values["b", (("worker", "0"),)])


def test_quantiles_of_a_summary_are_not_added_up_but_its_sum_and_count_are():
    text = '# TYPE s summary\ns{quantile="0.5"} 4\ns_sum 10\ns_count 2\n'
    values = read(merging.metrics({0: text, 1: text}))
    assert values["s", (("quantile", "0.5"), ("worker", "1"))] == 4
    assert (values["s_sum", ()], values["s_count", ()]) == (20, 4)
