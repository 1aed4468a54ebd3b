"""Shows what `archbench load` does and found: a live line on standard error, the figures as text. Measures nothing."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.engines.board import Progress
from harness.histogram import Histogram, requests_needed
from harness.loadtest.observer import LoadPlan
from harness.loadtest.summary import LoadSummary

_PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_NAME, _CELL = 6, 8
_MOST_ROWS = 16
_LEAST_BAR = 4
_MOST_BAR = 60
# Steps within a decade, from fine to coarse: the finest that needs no more than _MOST_ROWS rows is taken.
_STEPS: tuple[tuple[float, ...], ...] = (
    (
        1.0,
        1.1,
        1.2,
        1.3,
        1.5,
        1.6,
        1.8,
        2.0,
        2.2,
        2.4,
        2.7,
        3.0,
        3.3,
        3.6,
        3.9,
        4.3,
        4.7,
        5.1,
        5.6,
        6.2,
        6.8,
        7.5,
        8.2,
        9.1,
    ),
    (1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2),
    (1.0, 1.5, 2.2, 3.3, 4.7, 6.8),
    (1.0, 2.0, 5.0),
    (1.0,),
)
_EIGHTHS = " ▏▎▍▌▋▊▉█"


# -- while it runs ---------------------------------------------------------------------------------------------


class LoadProgress:
    """A LoadObserver that keeps one line on a terminal; into a file it writes a line every `every_s`, or nothing."""

    def __init__(self, console: Console, shown: bool, every_s: float = 1.0) -> None:
        self._console = console
        self._shown = shown
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._every_ns = round(every_s * 1e9)
        self._next_ns = 0
        self._plan = LoadPlan(0.0, 0.0, None, 0)
        self._last = Progress()
        self._stopped: Progress | None = None

    def __enter__(self) -> Self:
        if self._shown and self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._live:
            self._live.stop()

    def preparing(self, what: str) -> None:
        """Show what is under way before the window."""
        self._draw(f"{what} ...")

    def begins(self, plan: LoadPlan) -> None:
        """Remember what was planned."""
        self._plan = plan

    def progress(self, progress: Progress) -> None:
        """Show how far the engine is."""
        self._last = progress
        if self._live or progress.at_ns >= self._next_ns:
            self._next_ns = max(0, progress.at_ns) + self._every_ns
            self._draw(progress_line(progress, self._plan, self._stopped))

    def stopping(self) -> None:
        """Say that it was interrupted."""
        self._stopped = self._last

    def _draw(self, line: str) -> None:
        if not self._shown:
            return
        if self._live:
            self._live.update(Text(line), refresh=True)
        else:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def progress_line(progress: Progress, plan: LoadPlan, stopped: Progress | None = None) -> str:
    """Return the line: seconds, rate asked for and reached, outcomes, requests in flight.

    `stopped` is how far the engine was when it was asked to stop.
    """
    until_s = plan.total_s if stopped is None else stopped.at_ns / 1e9
    seconds = max(0.0, min(progress.at_ns / 1e9, until_s))
    asked = "closed loop" if plan.rate_per_s is None else f"{plan.rate_per_s:g}/s asked"
    # The first request is due at 0: measured an instant later, the rate would be infinite.
    sent = progress.sent / max(seconds, 0.1)
    return (
        f"{seconds:.1f}/{plan.total_s:g} s{_phase(progress, plan, stopped)}  {asked}, {sent:.0f}/s sent  "
        f"ok {progress.ok}  error {progress.error}  timeout {progress.timeout}  dropped {progress.dropped}  "
        f"in flight {progress.in_flight}"
    )


def _phase(progress: Progress, plan: LoadPlan, stopped: Progress | None) -> str:
    if stopped is not None:
        return " stopping, waiting for answers (Ctrl-C again to leave at once)"
    if progress.at_ns / 1e9 > plan.total_s:
        return " waiting for the last answers"
    return " warm-up" if 0 < progress.at_ns / 1e9 < plan.warmup_s else ""


# -- afterwards ------------------------------------------------------------------------------------------------


def show_summary(console: Console, summary: LoadSummary) -> None:
    """Print the figures; sentences are wrapped for a terminal or a stated width, and left whole in a file or a pipe."""
    wraps = console.is_terminal or "COLUMNS" in os.environ
    for text in summary_lines(summary, console.width, plain=not console.encoding.lower().startswith("utf")):
        console.print(text, soft_wrap=not wraps)


def summary_lines(summary: LoadSummary, width: int, *, plain: bool) -> Iterator[Text]:
    """Yield the figures as lines for a terminal of so many columns; `plain` leaves out what is not ASCII."""
    yield from _counts(summary)
    yield Text()
    yield from _table(summary)
    if len(summary.latency):
        yield Text()
        yield from _histogram(summary.latency, width, plain=plain)
    yield Text()
    yield from _verdict(summary)


def _counts(summary: LoadSummary) -> Iterator[Text]:
    request = summary.request
    if summary.interrupted:
        yield Text("interrupted: what was due until then", style="bold yellow")
    asked = "closed loop" if request.closed else f"{request.rate_per_s:g}/s, {request.arrivals} arrivals"
    yield Text(f"{request.method} {request.url}", style="bold")
    yield Text(f"{asked}, {summary.seconds:.4g} s, at most {request.in_flight_at_most} connections")
    yield Text(
        f"planned {summary.planned}, sent {summary.sent}, completed {summary.completed}, errors {summary.errors}, "
        f"timeouts {summary.timeouts}, dropped {summary.dropped}"
    )
    yield Text(
        f"offered {summary.offered_rate:.1f}/s, achieved {summary.achieved_rate:.1f}/s, generator CPU "
        f"{summary.generator_cpu_s:.2f} s, busy {summary.busy_share:.0%}"
    )
    statuses = [f"{status}{_reason(status)}: {count}" for status, count in summary.statuses.items()]
    unanswered = [f"no valid answer: {summary.unanswered}"] * bool(summary.unanswered)
    yield Text("status  " + ", ".join([*statuses, *unanswered] or ["none"]))


def _reason(status: int) -> str:
    known = {int(one): one.phrase for one in HTTPStatus}
    return f" {known[status]}" if status in known else ""


def _table(summary: LoadSummary) -> Iterator[Text]:
    columns = (summary.latency, summary.service, summary.slip, summary.floor)
    heads = ("latency", "service", "slip", "floor")
    yield Text(f"{'ms':<{_NAME}}" + "".join(f"{head:>{_CELL}}" for head in heads), style="bold")
    yield _row("mean", [one.mean_ms if len(one) else None for one in columns])
    found = [one.percentiles_ms(_PERCENTILES) for one in columns]
    for number, share in enumerate(_PERCENTILES):
        needed = requests_needed(share)
        cells = [each[number] if len(one) >= needed else None for one, each in zip(columns, found, strict=True)]
        yield _row(f"p{share:g}", cells)
    yield _row("max", [one.max_ms if len(one) else None for one in columns])
    yield _row("n", [float(len(one)) for one in columns], whole=True)


def _row(name: str, values: Sequence[float | None], *, whole: bool = False) -> Text:
    cells = [f"{value:.0f}" if whole and value is not None else milliseconds(value) for value in values]
    return Text(f"{name:<{_NAME}}" + "".join(f"{cell:>{_CELL}}" for cell in cells))


def milliseconds(value: float | None) -> str:
    """Return ms with microseconds while they matter, in seven columns at most; a dash where there is no figure."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 100 else f"{value:.1f}" if value < 10_000 else f"{value:.0f}"


def _verdict(summary: LoadSummary) -> Iterator[Text]:
    for warning in summary.warnings:
        yield Text(f"note: {warning}", style="yellow")
    for reason in summary.reasons:
        yield Text(f"not to be believed: {reason}", style="bold red")
    if summary.valid:
        yield Text("valid", style="bold green")


# -- the histogram ---------------------------------------------------------------------------------------------


class Bucket(NamedTuple):
    """How many `requests` took `low_ms` or more and less than `high_ms`."""

    low_ms: float
    high_ms: float
    requests: int


def buckets(histogram: Histogram) -> list[Bucket]:
    """Return the latencies in steps of a logarithmic scale, as fine as a screen allows; empty when there are none."""
    counts = histogram.counts()
    if not counts:
        return []
    edges = _edges(max(0.001, counts[0][0]), max(0.001, counts[-1][0]))
    found = [0] * (len(edges) - 1)
    for value, count in counts:
        found[min(max(0, bisect.bisect_right(edges, value) - 1), len(found) - 1)] += count
    return [Bucket(low, high, count) for low, high, count in zip(edges, edges[1:], found, strict=False)]


def _edges(least: float, most: float) -> list[float]:
    """Return the edges that hold both values, in the finest steps that need no more than _MOST_ROWS rows."""
    edges = []
    for steps in _STEPS:
        edges = _scale(steps, least, most)
        if len(edges) - 1 <= _MOST_ROWS:
            break
    return edges


def _scale(steps: Sequence[float], least: float, most: float) -> list[float]:
    first = math.floor(math.log10(least)) - 1
    last = math.floor(math.log10(most)) + 2
    every = [float(f"{step}e{exponent}") for exponent in range(first, last) for step in steps]
    return every[bisect.bisect_right(every, least) - 1 : bisect.bisect_right(every, most) + 1]


def _histogram(histogram: Histogram, width: int, *, plain: bool) -> Iterator[Text]:
    found = buckets(histogram)
    total, highest = len(histogram), max(bucket.requests for bucket in found)
    digits = max(5, len(str(highest)))
    labels = _labels(found)
    left = max(len("latency, ms"), *map(len, labels))
    room = min(_MOST_BAR, max(_LEAST_BAR, width - left - digits - 10))
    yield Text(f"{'latency, ms':<{left}} {'count':>{digits}} {'cum.':>6}", style="bold")
    seen = 0
    for bucket, label in zip(found, labels, strict=True):
        seen += bucket.requests
        line = Text(f"{label:>{left}} {bucket.requests:>{digits}} {_percent(seen, total):>6}")
        length = bar(bucket.requests / highest * room, plain=plain)
        yield line.append(f" {length}", style="cyan") if length else line


def _labels(found: Sequence[Bucket]) -> list[str]:
    lows, highs = [_edge(bucket.low_ms) for bucket in found], [_edge(bucket.high_ms) for bucket in found]
    wide_low, wide_high = max(map(len, lows)), max(map(len, highs))
    return [f"{low:>{wide_low}} - {high:>{wide_high}}" for low, high in zip(lows, highs, strict=True)]


def _percent(seen: int, total: int) -> str:
    """Never 100 % before the last request."""
    return "100%" if seen == total else f"{min(99.99, math.floor(10_000 * seen / total) / 100):.2f}%"


def _edge(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def bar(length: float, *, plain: bool) -> str:
    """Return a bar of so many columns; what is more than nothing is seen."""
    if length <= 0:
        return ""
    if plain:
        return "#" * max(1, round(length))
    eighths = max(1, round(length * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
