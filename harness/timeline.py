"""The windows of a trial: planned from the profile, then settled to what really happened. Nanoseconds from t0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.profiles import Profile
from results.record import MOVE_WINDOW, Event, Window

_DRAIN_S = 0.08  # between the open and the closed window
_RAMP_S = 0.1  # of the closed loop, before its window
_BEFORE_MOVE_S = 0.05
_MOST_MOVE_S = 4.0  # a slow gateway's restart and that of every caller


@dataclass(frozen=True)
class Timeline:
    """Windows by name in order, the schedule's end, and when the fault and the closed loop start (-1: never)."""

    windows: list[Window]
    open_end_ns: int
    inject_ns: int = -1
    lift_ns: int = -1
    closed_start_ns: int = -1

    @property
    def end_ns(self) -> int:
        """The end of the last window."""
        return self.windows[-1].end_ns

    @property
    def edges_ns(self) -> list[int]:
        """The moments at which a window starts or ends, in order."""
        return sorted({edge for window in self.windows for edge in (window.start_ns, window.end_ns)})


def steady_timeline(profile: Profile, *, saturation: bool = True) -> Timeline:
    """Return the windows of a trial without a fault: warmup, open and perhaps saturation."""
    open_start = _ns(profile.warmup_s)
    open_end = open_start + _ns(profile.open_s)
    closed_start = open_end + _ns(_DRAIN_S)
    window_start = closed_start + _ns(_RAMP_S)
    windows = [
        Window("warmup", 0, open_start),
        Window("open", open_start, open_end),
    ]
    if not saturation:
        return Timeline(windows, open_end)
    windows.append(Window("saturation", window_start, window_start + _ns(profile.saturation_s)))
    return Timeline(windows, open_end, closed_start_ns=closed_start)


def fault_timeline(profile: Profile) -> Timeline:
    """Return the windows of a trial with a fault: warmup, before, fault, after."""
    start = _ns(profile.fault_warmup_s)
    inject = start + _ns(profile.before_s)
    lift = inject + _ns(profile.fault_s)
    end = lift + _ns(profile.after_s)
    windows = [
        Window("warmup", 0, start),
        Window("before", start, inject),
        Window("fault", inject, lift),
        Window("after", lift, end),
    ]
    return Timeline(windows, end, inject, lift)


def move_timeline(profile: Profile) -> Timeline:
    """Return the windows of a trial that moves a service: warmup, before, move, after.

    How long moving takes is not known beforehand: load is planned for longer than that and ended when it is over.
    """
    start = _ns(profile.fault_warmup_s)
    begin = start + _ns(_BEFORE_MOVE_S)
    end = begin + _ns(_MOST_MOVE_S)
    windows = [
        Window("warmup", 0, start),
        Window("before", start, begin),
        Window(MOVE_WINDOW, begin, end),
        Window("after", end, end),
    ]
    return Timeline(windows, end, begin)


def pilot_timeline(profile: Profile, ramp_s: float = 0.2) -> Timeline:
    """Return the single window of a pilot: saturation from the start."""
    window = Window("saturation", _ns(ramp_s), _ns(ramp_s + profile.pilot_s))
    return Timeline([window], 0, closed_start_ns=0)


def settle(timeline: Timeline, events: Sequence[Event], closed_end_ns: int) -> list[Window]:
    """Return the windows with their real edges: fault and move as observed, the closed loop's end (-1: none ran)."""
    at: dict[str, int] = {}
    for event in events:
        at.setdefault(event.kind, event.at_ns)
    return [_settled(window, at, closed_end_ns) for window in timeline.windows]


def _settled(window: Window, at: dict[str, int], closed_end_ns: int) -> Window:
    if window.name == "fault":
        return replace(window, start_ns=at.get("fault_seen", window.start_ns), end_ns=at.get("lift", window.end_ns))
    if window.name == MOVE_WINDOW:
        return replace(window, end_ns=at.get("move_end", window.end_ns))
    if window.name == "after":
        return replace(window, start_ns=at.get("lift", at.get("move_end", window.start_ns)))
    if window.name == "saturation" and closed_end_ns >= 0:
        return replace(window, end_ns=max(window.start_ns, min(window.end_ns, closed_end_ns)))
    return window


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
