"""What a moved service lost: which requests count, what a gap is, and that nothing else of the run is touched."""

import dataclasses
import json

import pytest

from results.build import build
from results.record import RecordReader
from tests.results.synthetic import World, write_record

LOGIN = [("login", due_ms, "ok") for due_ms in range(0, 1000, 100)]
Quiet = World(faults=False, claims=[], searches=False, steady_blocks=1, open_requests=20, saturation_requests=20)


def move(tmp_path, requests):
    world = dataclasses.replace(Quiet, moved={"direct": tuple(requests)})
    (found,) = build(write_record(tmp_path, world)).moves
    return found


def lost(requests, *due_ms):
    return [(flow, due, "error" if due in due_ms else outcome) for flow, due, outcome in requests]


@pytest.mark.parametrize(
    ("due_ms", "gap_ms"),
    [
        ((), 0),
        ((300,), 100),
        ((300, 400, 500), 300),
        ((0, 700, 800), 200),
        ((700, 800, 900), 200),
    ],  # no good one follows
)
def test_a_gap_runs_from_the_first_lost_request_of_a_flow_to_its_next_good_one(tmp_path, due_ms, gap_ms):
    found = move(tmp_path, lost(LOGIN, *due_ms))
    assert (found.lost, found.offered, found.gap_ms) == (len(due_ms), len(LOGIN), gap_ms)


def test_a_good_request_of_another_flow_ends_no_gap(tmp_path):
    other = [("view_profile", due_ms, "ok") for due_ms in range(50, 1000, 100)]
    assert move(tmp_path, [*lost(LOGIN, 300, 400), *other]).gap_ms == 200


def test_what_is_lost_just_after_the_move_counts_and_what_was_lost_before_does_not(tmp_path):
    found = move(tmp_path, [("login", -10, "error"), *LOGIN, ("login", 1010, "timeout")])
    assert (found.lost, found.offered) == (1, len(LOGIN))
    assert found.per_1000 == pytest.approx(100)


def test_what_was_in_flight_when_the_move_began_counts_as_well(tmp_path):
    found = move(tmp_path, [("login", -1, "error"), *LOGIN])  # each ends after a millisecond
    assert (found.lost, found.offered) == (1, len(LOGIN))


def test_a_move_says_who_was_told_how_and_how_long_it_took(tmp_path):
    found = move(tmp_path, LOGIN)
    assert found.steps == ("auth and course restarted",)
    assert found.took_ms == 1000
    assert found.service == "user"


def test_experiments_change_no_figure_of_the_run(tmp_path):
    asked = {"direct": ({"internal_without_key": (200,)}, {"internal_routes": 3.0})}
    plain = build(write_record(tmp_path / "plain", Quiet))
    more = dataclasses.replace(Quiet, tried=asked, moved={"direct": tuple(lost(LOGIN, 300))})
    tried = build(write_record(tmp_path / "tried", more))
    for name in ("estimates", "comparisons", "consistency", "amplifications", "curves", "doubts"):
        assert str(getattr(tried, name)) == str(getattr(plain, name))
    assert tried.design.blocks == plain.design.blocks
    assert tried.design.usable_trials == plain.design.usable_trials + 2


def test_a_record_from_before_there_were_experiments_is_read(tmp_path):
    run = write_record(tmp_path, Quiet)
    for path in [run / "record" / "plan.json", *run.glob("record/trials/*/trial.json")]:
        value = json.loads(path.read_text())
        for trial in [*value.get("trials", []), value.get("trial", {})]:
            trial.pop("experiment", None)
        for name in ("tallies", "used_gateway"):
            value.pop(name, None)
        path.write_text(json.dumps(value))
    assert {trial.trial.experiment for trial in RecordReader(run).trials()} == {""}
    assert build(run).moves == ()
