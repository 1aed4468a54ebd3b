"""Windows follow one another and are moved to where the fault and the closed loop really were."""

from itertools import pairwise

import pytest

from harness.profiles import PROFILES
from harness.timeline import fault_timeline, settle, steady_timeline
from results.record import Event


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
@pytest.mark.parametrize("timeline", [steady_timeline, fault_timeline])
def test_windows_are_in_order_and_do_not_overlap(profile, timeline):
    windows = timeline(profile).windows
    assert all(window.start_ns < window.end_ns for window in windows)
    assert all(earlier.end_ns <= later.start_ns for earlier, later in pairwise(windows))


def test_steady_blocks_are_multiples_of_four_so_that_arms_balance():
    assert all(profile.steady_blocks % 4 == 0 for profile in PROFILES.values())
    assert all(profile.fault_blocks <= profile.steady_blocks for profile in PROFILES.values())


def test_the_fault_window_is_the_time_in_which_the_fault_was_observed():
    timeline = fault_timeline(PROFILES["quick"])
    seen, lifted = timeline.inject_ns + 3_000_000, timeline.lift_ns + 1_000_000
    events = [Event(timeline.inject_ns, "inject"), Event(seen, "fault_seen"), Event(lifted, "lift")]
    windows = {window.name: window for window in settle(timeline, events, -1)}
    assert (windows["fault"].start_ns, windows["fault"].end_ns) == (seen, lifted)
    assert windows["after"].start_ns == lifted
    assert windows["before"].end_ns == timeline.inject_ns


def test_the_saturation_window_ends_when_the_closed_loop_ran_out_of_requests():
    timeline = steady_timeline(PROFILES["quick"])
    short = timeline.windows[-1].start_ns + 5
    assert settle(timeline, [], short)[-1].end_ns == short
    assert settle(timeline, [], timeline.end_ns + 99)[-1].end_ns == timeline.end_ns
