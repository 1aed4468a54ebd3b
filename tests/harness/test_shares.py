"""Dealing a job to workers and putting their reports together: nothing twice, nothing lost, nothing out of place."""

import dataclasses
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, FailingOver, Job, Request, Rows, Schedule
from harness.engines.shares import HISTOGRAMS, Merged, Report, RequestTable, Share, deal, histograms_of, portion
from harness.errors import HarnessError
from harness.histogram import Histogram
from harness.samples import Observation
from harness.schedule import Arrival

TIMEOUT_NS = 1_000_000_000


def _request(number):
    return Request(number % 3, b"request %d" % number, frozenset({200, 200 + number % 2}))


def _job(rows, connections=0, shots=0, repeat=False, cap=100):
    requests = [_request(number) for number in range(max(rows, 1))]
    which = array("I", [(number * 7) % len(requests) for number in range(rows)])
    schedule = Schedule(array("q", [number * 1000 for number in range(rows)]), which, requests)
    closed = ClosedLoop([_request(n) for n in range(shots)], connections, 5, 9, repeat) if connections else None
    return Job([("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)], schedule, 77, TIMEOUT_NS, cap, closed)


@given(st.integers(0, 200), st.integers(1, 7))
def test_the_shares_are_disjoint_and_complete_and_hold_the_right_requests(rows, of):
    job = _job(rows)
    seen = {}
    for place in range(of):
        share = deal(job, 1, place, of, 77)
        for row, (due, which) in enumerate(zip(share.at_ns, share.which, strict=True)):
            seen[place + row * of] = (due, share.requests[which])
    whole = zip(job.schedule.at_ns, job.schedule.which, strict=True)
    assert seen == {row: (due, job.schedule.requests[which]) for row, (due, which) in enumerate(whole)}


@given(st.integers(0, 1000), st.integers(1, 9))
def test_portions_add_up(total, of):
    portions = [portion(total, place, of) for place in range(of)]
    assert sum(portions) == total
    assert max(portions) - min(portions) <= 1


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 40))
def test_connections_and_requests_of_a_closed_loop_are_shared_out(connections, of, shots):
    job = _job(0, connections, shots)
    shares = [deal(job, 1, place, of, 0).closed for place in range(of)]
    assert sum(share.connections for share in shares if share) == connections
    tables = [share.requests for share in shares if share]
    dealt = [table[index] for table in tables for index in range(len(table))]
    assert sorted(dealt, key=str) == sorted(job.closed.requests, key=str)


def test_a_repeating_loop_goes_through_the_requests_in_turn():
    shares = [deal(_job(0, 4, 3, repeat=True), 1, place, 2, 0).closed for place in range(2)]
    turns = [shares[row % 2].request_at(row // 2) for row in range(9)]
    assert turns == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_with_fewer_connections_than_workers_some_have_none():
    shares = [deal(_job(0, 2, 10), 1, place, 3, 0).closed for place in range(3)]
    assert [share and share.connections for share in shares] == [1, 1, None]


def test_every_worker_may_have_at_least_one_request_in_flight():
    assert [deal(_job(9, cap=2), 1, place, 3, 0).max_in_flight for place in range(3)] == [1, 1, 1]


def test_shares_and_reports_come_off_the_wire_as_they_went_on_it():
    share = deal(_job(10, 3, 7), 5, 1, 2, 99)
    assert Share.unpack(share.pack()) == share
    report = _report(share, [OK] * 5, [OK, ERROR])
    assert Report.unpack(report.pack()) == report


def test_what_it_took_to_fail_over_travels_and_is_put_in_order():
    job = dataclasses.replace(_job(4), alternatives=[[("127.0.0.1", 4)], [], []])
    merged, shares = _merged(job, 2)
    assert Share.unpack(shares[0].pack()).alternatives == job.alternatives
    for share, moments in zip(shares, ([30, 10], [20]), strict=True):
        took = FailingOver(array("q", moments), array("q", moments[:1]))
        report = dataclasses.replace(_report(share, [OK, OK]), failing_over=took)
        merged.add(Report.unpack(report.pack()))
    found = merged.result([], []).failing_over
    assert (list(found.connects_ns), list(found.failed_ns), list(found.again_ns)) == ([10, 20, 30], [20, 30], [])


def test_requests_in_a_table_are_the_same_ones():
    requests = [_request(number) for number in range(20)]
    table = RequestTable.of(requests)
    assert [table[index] for index in range(len(table))] == requests


def _rows(outcomes, at_ns):
    rows = Rows.blank(len(outcomes))
    for row, outcome in enumerate(outcomes):
        rows.outcome[row] = outcome
        rows.sent_ns[row] = -1 if outcome == DROPPED else at_ns[row] + 10_000
        rows.done_ns[row] = at_ns[row] + 510_000 if outcome in {OK, ERROR} else -1
    return rows


def _report(share, outcomes, closed=(), **counts):
    rows, closed_rows = _rows(outcomes, share.at_ns), _rows(closed, [0] * len(closed))
    known = {
        "planned": len(outcomes),
        "sent": len(outcomes) - outcomes.count(DROPPED),
        "ok": outcomes.count(OK),
        "error": outcomes.count(ERROR),
        "timeout": outcomes.count(TIMEOUT),
        "dropped": outcomes.count(DROPPED),
        "closed": len(closed),
        "capped": outcomes.count(DROPPED),
    }
    found = histograms_of(rows, share.at_ns, closed_rows, share.timeout_ns)
    histograms = {name: histogram.encode() for name, histogram in found.items()}
    return Report(
        share.job, share.place, rows, closed_rows, known | counts, histograms, 0.1 * (share.place + 1), 0, -1, 2
    )


def _merged(job, of):
    merged = Merged(job, of)
    shares = [deal(job, 1, place, of, 0) for place in range(of)]
    return merged, shares


def test_rows_go_back_to_where_they_were_dealt_from():
    job = _job(7)
    merged, shares = _merged(job, 3)
    for share, outcomes in zip(shares, ([OK, ERROR, OK], [TIMEOUT, OK], [DROPPED, OK]), strict=True):
        merged.add(_report(share, outcomes))
    result = merged.result([], [])
    assert list(result.open.outcome) == [OK, TIMEOUT, DROPPED, ERROR, OK, OK, OK]
    sent = [due + 10_000 for due in job.schedule.at_ns]
    assert list(result.open.sent_ns) == [-1 if row == 2 else value for row, value in enumerate(sent)]
    assert (result.capped, result.busy_share, result.connections_opened) == (1, pytest.approx(0.3), 6)


def test_histograms_are_added_and_a_timeout_enters_as_the_timeout():
    merged, shares = _merged(_job(6), 2)
    merged.add(_report(shares[0], [OK, OK, TIMEOUT], [OK]))
    merged.add(_report(shares[1], [OK, DROPPED, ERROR]))
    found = {name: Histogram.decode(text) for name, text in merged.result([], []).histograms.items()}
    assert {name: len(histogram) for name, histogram in found.items()} == {
        "latency": 5,
        "service": 5,
        "slip": 5,
        "closed_service": 1,
    }
    assert found["service"].percentiles_ms([50, 100]) == [pytest.approx(0.5, rel=2e-3), pytest.approx(1000, rel=2e-3)]
    assert found["latency"].percentile_ms(50) == pytest.approx(0.51, rel=2e-3)


def test_closed_rows_say_which_request_they_are_when_one_worker_came_further():
    job = _job(0, 2, 10)
    merged, shares = _merged(job, 2)
    merged.add(_report(shares[0], [], [OK, OK, OK]))
    merged.add(_report(shares[1], [], [ERROR]))
    result = merged.result([], [])
    assert list(result.closed.outcome) == [OK, ERROR, OK, OK]
    assert list(result.closed_which) == [0, 1, 2, 4]


def test_samples_are_of_the_requests_that_were_sent():
    arrivals = [Arrival(0, f"flow{number}", number) for number in range(5)]
    merged, shares = _merged(_job(0, 2, 5), 2)
    merged.add(_report(shares[0], [], [OK, OK, OK]))
    merged.add(_report(shares[1], [], [ERROR]))
    observed = Observation.of([], arrivals, merged.result([], []), {}, {}, 0)
    assert [arrival.flow for arrival in observed.arrivals] == ["flow0", "flow1", "flow2", "flow4"]
    assert [fate.outcome for fate in observed.fates] == ["ok", "error", "ok", "ok"]


def test_rows_of_a_repeating_loop_say_which_request_they_are():
    merged, shares = _merged(_job(0, 2, 3, repeat=True), 2)
    merged.add(_report(shares[0], [], [OK] * 3))
    merged.add(_report(shares[1], [], [OK] * 2))
    assert list(merged.result([], []).closed_which) == [0, 1, 2, 0, 1]


def test_what_a_lost_worker_had_stays_dropped_and_the_loss_is_told():
    merged, shares = _merged(_job(5), 2)
    merged.add(_report(shares[1], [OK, OK]))
    result = merged.result([], ["worker 1 of 2 (here, pid 1)"])
    assert list(result.open.outcome) == [DROPPED, OK, DROPPED, OK, DROPPED]
    assert result.lost == ["worker 1 of 2 (here, pid 1)"]


def test_a_report_that_is_missing_without_a_loss_is_refused():
    merged, shares = _merged(_job(5), 2)
    merged.add(_report(shares[1], [OK, OK]))
    with pytest.raises(HarnessError, match="only 1 of 2 load workers reported"):
        merged.result([], [])


@pytest.mark.parametrize("name", ["planned", "sent", "ok", "error", "timeout", "dropped", "closed"])
def test_a_count_that_is_off_by_one_is_refused(name):
    merged, shares = _merged(_job(4), 2)
    good = _report(shares[0], [OK, TIMEOUT])
    bad = dataclasses.replace(good, counts={**good.counts, name: good.counts[name] + 1})
    with pytest.raises(HarnessError, match="the counts of load worker 1 do not reconcile"):
        merged.add(bad)
    merged.add(good)


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_histogram_that_misses_a_request_is_refused(name):
    merged, shares = _merged(_job(4), 2)
    good = _report(shares[0], [OK, TIMEOUT], [OK])
    bad = dataclasses.replace(good, histograms={**good.histograms, name: Histogram().encode()})
    with pytest.raises(HarnessError, match="do not reconcile"):
        merged.add(bad)


def test_a_row_that_is_missing_is_refused():
    merged, shares = _merged(_job(4), 2)
    with pytest.raises(HarnessError, match="2 planned for it"):
        merged.add(_report(dataclasses.replace(shares[0], at_ns=shares[0].at_ns[:1]), [OK]))
