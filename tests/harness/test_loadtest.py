"""`archbench load` without a network: what is due when, what is counted, and when figures are believed."""

import io
import itertools
import tracemalloc
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.engines.board import Progress
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, LoadResult, Mark, Rows
from harness.errors import BadInputError
from harness.floor import Ceiling, Floor
from harness.histogram import Histogram
from harness.loadtest.observer import LoadPlan
from harness.loadtest.plan import build_job, due_times
from harness.loadtest.request import LoadRequest, Prepared, parse_header, parse_statuses, read_body, require_writable
from harness.loadtest.summary import summarise
from harness.loadtest.validity import Evidence, reasons, warnings
from harness.loadview import LoadProgress, bar, buckets, milliseconds, progress_line, summary_lines

URL = "http://127.0.0.1:1/"
PREPARED = Prepared(("127.0.0.1", 1), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
MS = 1_000_000


# -- what is due when ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20_000), st.integers(1, 20))
def test_constant_arrivals_are_as_many_as_asked_and_evenly_spaced(rate, seconds):
    due = due_times(LoadRequest(URL, rate, seconds))
    assert len(due) == rate * seconds
    assert due[0] == 0
    assert due[-1] < seconds * 1e9
    gaps = np.diff(np.asarray(due))
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_poisson_arrivals_have_the_rate_and_come_from_the_seed():
    request = LoadRequest(URL, 5000, 60, arrivals="poisson", seed=3)
    due = due_times(request)
    assert due == due_times(request)
    assert due != due_times(replace(request, seed=4))
    gaps = np.diff(np.asarray(due))
    assert (gaps >= 0).all()
    assert len(due) == pytest.approx(300_000, abs=5 * 300_000**0.5)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)  # the mark of the exponential


def test_a_planned_request_costs_the_parent_its_columns_and_nothing_else():
    count = 400_000
    tracemalloc.start()
    try:
        job = build_job(LoadRequest(URL, count, 1, arrivals="poisson"), PREPARED, 0, "")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(job.schedule) == pytest.approx(count, rel=0.02)
    assert held <= 13 * len(job.schedule)
    assert peak <= 40 * len(job.schedule)


# -- what is counted -------------------------------------------------------------------------------------------


def _result(rows, closed=None, marks=(), capped=0, closed_end_ns=-1, **fields):
    return LoadResult(
        open=rows,
        closed=closed or Rows.blank(0),
        marks=[Mark(at_ns, {"generator": cpu_ns}) for at_ns, cpu_ns in marks],
        busy_share=fields.get("busy_share", 0.1),
        late_start_ns=fields.get("late_start_ns", 0),
        capped=capped,
        closed_end_ns=closed_end_ns,
        connections_opened=fields.get("opened", 1),
    )


def _rows(*rows):
    """Rows of (sent, done, status, outcome), times in ms."""
    sent, done, status, outcome = zip(*rows, strict=True)
    in_ns = [[-1 if at < 0 else int(at * MS) for at in column] for column in (sent, done)]
    return Rows(array("q", in_ns[0]), array("q", in_ns[1]), array("h", status), array("b", outcome))


def _floor(p50_ms=0.0001, rate=10.0, in_time=None):
    histogram = Histogram()
    histogram.record(np.full(100, int(p50_ms * MS)))
    return Floor(rate, 100, rate if in_time is None else in_time, histogram, Histogram())


def _summary(request, result, floor=None, interrupted=False):
    job = build_job(request, PREPARED, 0, "")
    return summarise(request, job, result, floor or _floor(), own_core=True, interrupted=interrupted)


TEN = LoadRequest(URL, 10, 0.5, timeout_s=1.0)  # due at 0, 100, 200, 300, 400 ms


def test_every_outcome_is_counted_and_timed_by_its_rule():
    result = _result(
        _rows(
            (0, 10, 200, OK), (101, 121, 503, ERROR), (202, -1, 0, TIMEOUT), (303, 304, 0, ERROR), (-1, -1, 0, DROPPED)
        ),
        marks=[(0, 5 * MS), (500 * MS, 25 * MS)],
        capped=1,
    )
    found = _summary(TEN, result)
    assert (found.planned, found.sent, found.completed, found.errors, found.timeouts, found.dropped) == (
        5,
        4,
        1,
        2,
        1,
        1,
    )
    assert found.unanswered == 1
    assert found.statuses == {200: 1, 503: 1}
    assert found.generator_cpu_s == pytest.approx(0.02)
    assert [count for _, count in found.latency.counts()] == [1, 1, 1, 1]
    assert [round(value) for value, _ in found.latency.counts()] == [4, 10, 21, 1002]
    assert [round(value) for value, _ in found.service.counts()] == [1, 10, 20, 1000]
    assert [round(value) for value, _ in found.slip.counts()] == [0, 1, 2, 3]
    assert found.achieved_rate == 2.0
    assert found.offered_rate == 10.0


def test_the_warm_up_is_left_out():
    request = replace(TEN, duration_s=0.3, warmup_s=0.2)
    rows = _rows(*[(at, at + 5, 200, OK) for at in (0, 100, 200, 300, 400)])
    found = _summary(request, _result(rows, marks=[(200 * MS, 0), (500 * MS, 0)]))
    assert (found.planned, found.completed) == (3, 3)
    assert found.achieved_rate == pytest.approx(10)


def test_an_interrupted_load_counts_what_was_due_until_then():
    rows = _rows((0, 5, 200, OK), (-1, -1, 0, DROPPED), (200, 205, 200, OK), (-1, -1, 0, DROPPED), (-1, -1, 0, DROPPED))
    found = _summary(TEN, _result(rows, marks=[(0, 0), (250 * MS, 0)], capped=1), interrupted=True)
    assert (found.planned, found.sent, found.dropped) == (3, 2, 1)
    assert found.seconds == pytest.approx(0.25)
    assert found.achieved_rate == pytest.approx(8)


def test_a_closed_loops_throughput_is_what_was_answered_inside_its_window():
    request = LoadRequest(URL, duration_s=0.5, warmup_s=0.1, closed=True, connections=2)
    closed = _rows((0, 90, 200, OK), (90, 150, 200, OK), (150, 400, 200, OK), (400, 900, 200, OK))
    ceiling = Ceiling(2, 1000.0, 0.9, Histogram())
    found = _summary(request, _result(Rows.blank(0), closed, [(100 * MS, 0)], closed_end_ns=600 * MS), ceiling)
    assert found.completed == 2  # sent after the warm-up
    assert found.achieved_rate == pytest.approx(2 / 0.5)  # answered between 100 and 600 ms
    assert found.valid


def test_a_load_that_was_stopped_before_anything_was_due_has_no_figures():
    found = _summary(TEN, _result(Rows.blank(5), marks=[(0, 0)]), interrupted=True)
    assert (found.planned, found.seconds, found.achieved_rate) == (0, 0.0, 0.0)
    assert not found.valid
    assert found.as_dict()["latency_ms"]["max"] == 0


# -- when figures are believed ---------------------------------------------------------------------------------


FINE = Evidence(
    closed=False,
    connections=100,
    planned=1000,
    sent=1000,
    completed=1000,
    failed=0,
    capped=0,
    opened=1,
    late_start_ms=0.0,
    busy_share=0.2,
    achieved_per_s=1000.0,
    latency_p50=5.0,
    judged_at=99.0,
    latency_tail=10.0,
    slip_tail=0.5,
    floor_p50=0.1,
    floor_per_s=1000.0,
    floor_kept_up=True,
    offered_per_s=1000.0,
    own_core=True,
)
CLOSED = replace(FINE, closed=True, floor_per_s=50_000.0)


def test_a_sound_measurement_has_neither_reasons_nor_warnings():
    assert reasons(FINE) == warnings(FINE) == []
    assert reasons(CLOSED) == warnings(CLOSED) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"late_start_ms": 12.0}, "came up 12 ms late"),
        ({"capped": 3}, "3 requests were not sent: 100 connections were all in use"),
        ({"busy_share": 0.81}, "busy for 81%"),
        ({"sent": 989}, "only 989 of 1000"),
        ({"slip_tail": 1.01}, "slip p99 is 1.010 ms"),
        ({"completed": 0}, "no request was completed"),
    ],
)
def test_each_fault_of_the_instrument_is_a_reason_by_itself(change, says):
    (reason,) = reasons(replace(FINE, **change))
    assert says in reason


@pytest.mark.parametrize("change", [{"busy_share": 0.8}, {"sent": 990}, {"slip_tail": 1.0}])
def test_the_limits_themselves_are_within(change):
    assert reasons(replace(FINE, **change)) == []


def test_trouble_is_put_down_to_the_generator_only_where_it_fails_without_a_target():
    overloaded = replace(FINE, capped=500)
    assert "own limit" not in " ".join(reasons(overloaded))
    assert "own limit" in reasons(replace(overloaded, floor_kept_up=False, floor_per_s=300.0))[0]
    assert reasons(replace(FINE, floor_kept_up=False)) == []  # the load itself went well


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"achieved_per_s": 40_000.0}, "too close to the 50000/s"),
        ({"achieved_per_s": 60_000.0}, "too close to the 50000/s"),
        ({"busy_share": 0.96}, "busy for 96%"),
    ],
)
def test_a_closed_loop_at_the_generators_ceiling_measured_the_generator(change, says):
    (reason,) = reasons(replace(CLOSED, **change))
    assert says in reason
    assert "its own limit" in reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"latency_p50": 0.19}, "the generator's own floor"),
        ({"failed": 7}, "7 of 1000 requests failed"),
        ({"opened": 300}, "300 connections were opened"),
        ({"own_core": False}, "one core only"),
    ],
)
def test_what_the_figures_hold_beside_the_target_is_a_warning_and_no_reason(change, says):
    found = replace(FINE, **change)
    assert reasons(found) == []
    (warning,) = warnings(found)
    assert says in warning


def test_fewer_than_a_thousand_requests_are_judged_at_a_percentile_that_they_back():
    rows = Rows.blank(300)
    request = LoadRequest(URL, 300, 1)
    for row, due in enumerate(due_times(request)):
        late = 9 * MS if row < 5 else 1000  # the worst 5 of 300 are beyond p95
        rows.sent_ns[row], rows.done_ns[row] = due + late, due + late + 10 * MS
        rows.status[row], rows.outcome[row] = 200, OK
    assert _summary(request, _result(rows)).reasons == []
    assert "p95" in _summary(request, _result(_later(rows, due_times(request)))).reasons[0]


def _later(rows, due):
    for row in range(60):
        rows.sent_ns[row] = due[row] + 9 * MS
        rows.done_ns[row] = rows.sent_ns[row] + 10 * MS
    return rows


# -- what was typed --------------------------------------------------------------------------------------------


def test_statuses_are_read_as_sets():
    assert parse_statuses("200") == {200}
    assert parse_statuses("200-202, 304") == {200, 201, 202, 304}
    for wrong in ("", "2xx", "200-", "600", "99", "300-200", "²00"):
        with pytest.raises(BadInputError):
            parse_statuses(wrong)


def test_headers_are_read_at_their_first_colon():
    assert parse_header("X: a:b ") == ("X", "a:b")
    assert parse_header("X:") == ("X", "")
    for wrong in ("X", ": a", ""):
        with pytest.raises(BadInputError):
            parse_header(wrong)


def test_a_body_is_read_as_it_is(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"\r\n\x00")
    assert read_body(path) == b"\r\n\x00"
    with pytest.raises(BadInputError, match="is not a file"):
        read_body(tmp_path)


def test_a_place_for_the_figures_is_looked_at_before_the_load(tmp_path):
    require_writable(tmp_path / "new.json")
    with pytest.raises(BadInputError, match="is a folder"):
        require_writable(tmp_path)
    with pytest.raises(BadInputError, match="does not exist"):
        require_writable(tmp_path / "no" / "x.json")


# -- what is shown ---------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=50), st.integers(20, 200))
def test_the_histogram_holds_every_request_on_one_screen(values, width):
    histogram = Histogram()
    histogram.record(np.array(values))
    found = buckets(histogram)
    assert sum(bucket.requests for bucket in found) == len(values)
    assert len(found) <= 16
    assert found[0].requests
    for low, high in itertools.pairwise(found):
        assert low.high_ms == high.low_ms


def test_bars_show_whatever_is_more_than_nothing():
    assert bar(0, plain=False) == bar(0, plain=True) == ""
    assert bar(0.001, plain=False) == "▏"
    assert bar(0.001, plain=True) == "#"
    assert bar(2.5, plain=False) == "██▌"
    assert bar(3, plain=True) == "###"


def test_milliseconds_fit_their_column():
    assert [milliseconds(value) for value in (None, 0.0004, 1.23456, 123.456, 3_600_000.0)] == [
        "-",
        "0.000",
        "1.235",
        "123.5",
        "3600000",
    ]


def _shown(summary, width, plain):
    return [text.plain for text in summary_lines(summary, width, plain=plain)]


def test_percentiles_stand_only_where_enough_requests_back_them():
    request = LoadRequest(URL, 250, 1)
    rows = Rows.blank(250)
    for row, due in enumerate(due_times(request)):
        rows.sent_ns[row], rows.done_ns[row], rows.status[row], rows.outcome[row] = due, due + 2 * MS, 200, OK
    lines = {line.split()[0]: line.split()[1:] for line in _shown(_summary(request, _result(rows)), 80, True) if line}
    assert lines["p95"][:3] == ["2.000", "2.000", "0.000"]
    assert lines["p99"] == ["-", "-", "-", "-"]
    assert lines["p90"][3] == "0.000"  # a hundred requests of the floor
    assert lines["p95"][3] == "-"
    assert lines["n"] == ["250", "250", "250", "100"]
    assert lines["status"] == ["200", "OK:", "250"]


def test_a_result_without_any_answer_is_shown_as_such():
    shown = _shown(_summary(TEN, _result(Rows.blank(5), capped=5)), 40, True)
    assert ["mean", "-", "-", "-", "0.000"] in [line.split() for line in shown]
    assert shown[-1] == "not to be believed: no request was completed: there is nothing to measure"


PLAN = LoadPlan(10.0, 2.0, 100.0, 50)


@pytest.mark.parametrize(
    ("at_s", "stopped", "says"),
    [
        (-0.1, None, "0.0/10 s  100/s asked"),
        (1.0, None, "1.0/10 s warm-up"),
        (5.0, None, "5.0/10 s  100/s asked, 100/s sent  ok 490  error 1  timeout 2  dropped 3  in flight 4"),
        (12.0, None, "10.0/10 s waiting for the last answers"),
        (6.0, Progress(5_000_000_000), "5.0/10 s stopping, waiting for answers"),
    ],
)
def test_the_progress_line_says_how_far_it_is(at_s, stopped, says):
    progress = Progress(int(at_s * 1e9), 500 if at_s > 1 else 0, 490, 1, 2, 3, 4)
    assert progress_line(progress, PLAN, stopped).startswith(says)


def test_progress_into_a_file_is_a_line_a_second_and_only_if_asked_for():
    for shown, lines in ((True, 3), (False, 0)):
        out = io.StringIO()
        with LoadProgress(Console(file=out), shown=shown) as observer:
            observer.begins(PLAN)
            for quarter in range(10):
                observer.progress(Progress(quarter * 250 * MS))
        assert out.getvalue().count("\n") == lines
        assert "\x1b" not in out.getvalue()
