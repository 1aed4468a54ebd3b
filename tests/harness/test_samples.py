"""What the engine and the services logged becomes columns, and nothing that was planned is lost on the way."""

from array import array

from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, LoadResult, Rows
from harness.samples import BETWEEN, Observation, call_columns, sample_columns, window_of
from harness.schedule import Arrival
from results.record import CALL_COLUMNS, SAMPLE_COLUMNS, Window
from stub_services.calllog import CallRow
from stub_services.sweeps import SweepRow

WINDOWS = [Window("warmup", 0, 100), Window("open", 100, 200)]


def _rows(*rows):
    sent, done, outcome, status = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Rows(array("q", sent), array("q", done), array("h", status), array("b", outcome))


def _result(opened, closed):
    return LoadResult(opened, closed, [], 0.0, 0, 0, -1, 0)


def test_a_moment_belongs_to_the_window_that_holds_it():
    assert [window_of(at, WINDOWS) for at in (0, 99, 100, 199, 200)] == ["warmup", "warmup", "open", "open", BETWEEN]


def test_every_planned_request_has_a_row_whatever_became_of_it():
    outside = [Arrival(at, "login", number) for number, at in enumerate((10, 110, 120, 130))]
    opened = _rows((11, 15, OK, 200), (111, 118, ERROR, 502), (121, -1, TIMEOUT, 0), (-1, -1, DROPPED, 0))
    observed = Observation.of(outside, [], _result(opened, _rows()), {}, {}, 0)
    columns = sample_columns(Observation(observed.arrivals, observed.fates, [("none", "")] * 4), WINDOWS)
    assert columns["outcome"] == ["ok", "error", "timeout", "dropped"]
    assert columns["window"] == ["warmup", "open", "open", "open"]
    assert columns["done_ns"] == [15, 118, -1, -1]
    assert set(columns) == set(SAMPLE_COLUMNS)


def test_closed_loop_requests_that_were_never_sent_are_not_counted_as_planned():
    closed = [Arrival(0, "login", number) for number in range(5)]
    observed = Observation.of([], closed, _result(_rows(), _rows((7, 9, OK, 200))), {}, {}, 0)
    assert [(fate.intended_ns, fate.outcome) for fate in observed.fates] == [(7, "ok")]


def test_a_sweep_that_never_started_was_dropped_and_one_cut_off_is_an_error():
    due = [Arrival(110, "progress_sync", number) for number in range(3)]
    logged = {
        0: SweepRow(0, 1_000_111, 1_000_150, "ok", 200, 1_000_110, 0),
        1: SweepRow(1, 1_000_112, -1, "", 0, 1_000_110, 1),
    }
    observed = Observation.of([], [], _result(_rows(), _rows()), {"exercise": due}, {"exercise": logged}, 1_000_000)
    assert [(fate.sent_ns, fate.done_ns, fate.outcome) for fate in observed.fates] == [
        (111, 150, "ok"),
        (112, -1, "error"),
        (-1, -1, "dropped"),
    ]


def test_calls_of_the_smoke_pass_are_left_out():
    early = CallRow("auth", "user", "profile/create", 900, 950, 1, "ok", 201, 1)
    kept = CallRow("auth", "user", "profile/create", 1110, 1150, 2, "ok", 201, 1)
    columns = call_columns([early, kept], WINDOWS, 1000)
    assert columns["start_ns"] == [110]
    assert columns["window"] == ["open"]
    assert set(columns) == set(CALL_COLUMNS)
