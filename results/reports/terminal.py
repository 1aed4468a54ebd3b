"""Verdicts, gate answers and comparisons as rich tables; whoever has a terminal prints them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.figures import number
from results.gate import ComparisonRow, GateOutcome, RatioCheck, RunComparison, VerdictChange
from results.outcome import Results
from results.summary import sentences, verdict_rows

_STYLES = {
    "confirmed": "bold green",
    "refuted": "bold red",
    "inconclusive": "yellow",
    "invalid": "bold magenta",
    "not testable": "dim",
}


_WIDE = 120


def run_summary(results: Results, written: list[Path], width: int) -> RenderableType:
    """Return the verdict table, what to know first, and where the reports lie, for a terminal of so many columns."""
    says = ["the document says"] * (width >= _WIDE)
    table = Table("claim", *says, "verdict", "measured", "claimed", box=None, pad_edge=False)
    for row in verdict_rows(results):
        verdict = Text(row.verdict, style=_STYLES[row.verdict])
        table.add_row(row.claim, *[row.says] * len(says), verdict, row.measured, row.band)
    lines = [Text(f"- {sentence}") for sentence in sentences(results)]
    fatal = [Text(f"! {doubt.name}: {doubt.advice}", style="magenta") for doubt in results.doubts if doubt.fatal]
    report = next(path for path in written if path.suffix == ".html")
    return Group(table, Text(), *lines, *fatal, Text(), Text(f"report: {report}", style="bold"))


def gate_answer(outcome: GateOutcome) -> RenderableType:
    """Return the gate's answer and what it rests on."""
    parts: list[RenderableType] = []
    if outcome.ratios:
        parts.append(_ratio_table(outcome.ratios))
    if outcome.changes:
        parts.append(_change_table(outcome.changes))
    counts = ", ".join(f"{count} {word}" for word, count in outcome.verdicts.items())
    return Group(*parts, Text(f"verdicts: {counts}"), Text(outcome.says, style="bold"))


def run_comparison(comparison: RunComparison) -> RenderableType:
    """Return two runs' ratios side by side and the claims whose verdict differs."""
    table = Table("metric", "of", "ratio", "first run", "second run", box=None, pad_edge=False)
    for row in comparison.rows:
        table.add_row(row.metric, row.flow or row.component, row.arms, *_two_cells(row))
    changes = [_change_table(comparison.changes)] if comparison.changes else [Text("no verdict differs")]
    return Group(table, Text(), *changes)


def _two_cells(row: ComparisonRow) -> Iterator[str]:
    for ratio in (row.first, row.second):
        yield "-" if ratio is None else _interval(*ratio)


def _interval(point: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{number(point)}x"
    return f"{number(point)}x ({number(low)} to {number(high)})"


def _ratio_table(ratios: tuple[RatioCheck, ...]) -> Table:
    table = Table("metric", "ratio", "baseline", "now", "slower by", "answer", box=None, pad_edge=False)
    for ratio in ratios:
        slower = "-" if ratio.slowdown is None else f"{ratio.slowdown:+.1%}"
        if ratio.low is not None and ratio.high is not None:
            slower += f" ({ratio.low:+.1%} to {ratio.high:+.1%})"
        table.add_row(
            ratio.metric,
            ratio.arms,
            number(ratio.baseline),
            number(ratio.current),
            slower,
            f"{ratio.answer}: {ratio.why}",
        )
    return table


def _change_table(changes: tuple[VerdictChange, ...]) -> Table:
    table = Table("claim", "before", "now", "", box=None, pad_edge=False)
    for change in changes:
        table.add_row(change.claim, change.before, change.now, "fails the gate" if change.fails else "")
    return table
