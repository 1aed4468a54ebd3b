"""What a trial itself shows to be wrong with its measurement. A fatal doubt voids the trial, whatever it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.engines.job import LoadResult
from harness.watchdog import Stall
from results.record import Event, RecordedDoubt, Window

CORE_STALLED = "core_stalled"
SEARCH_SPOILED = "search_spoiled"
HOST_DISTURBED = frozenset({CORE_STALLED, SEARCH_SPOILED})
"""Doubts that say nothing about what was measured: such a trial is run again."""
STALL_LIMIT_MS = 20.0
_BUSY_LIMIT = 0.8
_ACHIEVED_LIMIT = 0.99


def load_doubts(
    samples: Mapping[str, Sequence[Any]], sent: int, result: LoadResult, warmup: Window, max_in_flight: int
) -> tuple[dict[str, float], list[RecordedDoubt]]:
    """Return the generator's figures (slip in us, shares) and the doubts that they raise.

    Only the first `sent` rows count, those of the open loop: what a service starts by itself slips with the service,
    and that is a property of the system.
    """
    own = {name: values[:sent] for name, values in samples.items()}
    slips = sorted(
        (sent - intended) / 1e3
        for sent, intended, window, outcome in zip(
            own["sent_ns"], own["intended_ns"], own["window"], own["outcome"], strict=True
        )
        if window in {"open", "before"} and outcome != "dropped"
    )
    figures = {
        "slip_mean_us": sum(slips) / len(slips) if slips else 0.0,
        "slip_p50_us": quantile(slips, 0.5),
        "slip_p99_us": quantile(slips, 0.99),
        "slip_max_us": slips[-1] if slips else 0.0,
        "busy_share": result.busy_share,
        "achieved_share": _achieved_share(own),
        "connections_opened": float(result.connections_opened),
        "late_start_ms": result.late_start_ns / 1e6,
    }
    return figures, _generator_doubts(figures, result, warmup, max_in_flight)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ordered values; 0 without any."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _achieved_share(samples: Mapping[str, Sequence[Any]]) -> float:
    """Of the requests due in no-fault windows, the share that was really started."""
    wanted = [
        outcome
        for outcome, window in zip(samples["outcome"], samples["window"], strict=True)
        if window in {"open", "before"}
    ]
    return 1 - wanted.count("dropped") / len(wanted) if wanted else 1.0


def _generator_doubts(
    figures: Mapping[str, float], result: LoadResult, warmup: Window, max_in_flight: int
) -> list[RecordedDoubt]:
    late_ms = result.late_start_ns / 1e6
    late_limit_ms = (warmup.end_ns - warmup.start_ns) / 2e6  # what it had missed has to be over before the next window
    rules = (
        (
            bool(result.lost),
            "load_worker_lost",
            float(len(result.lost)),
            0.0,
            f"what became of its requests is not known; lost: {', '.join(result.lost)}",
        ),
        (
            late_ms > late_limit_ms,
            "generator_late_start",
            late_ms,
            late_limit_ms,
            "the machine is too busy; stop what else runs",
        ),
        (
            result.capped > 0,
            "in_flight_cap_hit",
            float(result.capped),
            0.0,
            f"more than {max_in_flight} requests were in flight; lower the rate",
        ),
        (
            figures["achieved_share"] < _ACHIEVED_LIMIT,
            "rate_not_achieved",
            figures["achieved_share"],
            _ACHIEVED_LIMIT,
            "requests that were due were never started; lower the rate",
        ),
        (
            figures["busy_share"] > _BUSY_LIMIT and not len(result.closed.sent_ns),
            "generator_busy",
            figures["busy_share"],
            _BUSY_LIMIT,
            "the load generator was near its own limit; give it a faster core or lower the rate",
        ),
    )
    return [RecordedDoubt(name, True, value, limit, advice) for hit, name, value, limit, advice in rules if hit]


def stall_doubts(stalls: Sequence[Stall], t0_ns: int, windows: Sequence[Window]) -> list[RecordedDoubt]:
    """A trial in which a platform core stood still for long inside a measured window measured the host."""
    longest_ms = max(
        (
            stall.late_ns / 1e6
            for stall in stalls
            for window in windows
            if window.name in {"open", "saturation"} and stall.overlaps(t0_ns + window.start_ns, t0_ns + window.end_ns)
        ),
        default=0.0,
    )
    advice = "a core of the platform stood still, for every process on it; the trial is run again on the same schedule"
    return (
        [RecordedDoubt(CORE_STALLED, True, longest_ms, STALL_LIMIT_MS, advice)] if longest_ms > STALL_LIMIT_MS else []
    )


def fault_doubts(events: Sequence[Event]) -> list[RecordedDoubt]:
    """A fault counts only when it was observed to be there and observed to be gone."""
    seen = {event.kind for event in events}
    return [
        RecordedDoubt(name, True, 0.0, 1.0, advice)
        for kind, name, advice in (
            (
                "fault_seen",
                "fault_not_observed",
                "the component went on serving after the fault was injected",
            ),
            (
                "heal_seen",
                "heal_not_observed",
                "the component did not serve again after the fault was lifted",
            ),
        )
        if kind not in seen
    ]
