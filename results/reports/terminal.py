"""Verdicts, gate answers and comparisons as rich tables; whoever has a terminal prints them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.across import across, by_word, statements
from results.figures import number
from results.gate import ComparisonRow, GateOutcome, RatioCheck, RunComparison, VerdictChange
from results.outcome import Results
from results.reports import gatewaytables
from results.summary import sentences, verdict_rows

_STYLES = {
    "confirmed": "bold green",
    "refuted": "bold red",
    "inconclusive": "yellow",
    "invalid": "bold magenta",
    "not testable": "dim",
}


_WIDE = 120
_FIXED, _WORD, _MEASURED = 52, 14, 22  # characters for a claim, for a gateway's verdict, and for its figure as well


def run_summary(results: Results, written: list[Path], width: int) -> RenderableType:
    """Return the verdict table, what to know first, and where the reports lie, for a terminal of so many columns."""
    table = _across(results, width) if results.further else _verdicts(results, width)
    about = [Text(f"- {statement}") for statement in statements(across(results))]
    lines = [Text(f"- {sentence}") for sentence in sentences(results)]
    doubts = dict.fromkeys((d.name, d.advice) for one in results.every for d in one.doubts if d.fatal)
    fatal = [Text(f"! {name}: {advice}", style="magenta") for name, advice in doubts]
    report = next(path for path in written if path.suffix == ".html")
    return Group(table, Text(), *about, *lines, *fatal, Text(), Text(f"report: {report}", style="bold"))


def _verdicts(results: Results, width: int) -> Table:
    says = ["the document says"] * (width >= _WIDE)
    table = Table("claim", *says, "verdict", "measured", "claimed", box=None, pad_edge=False)
    for row in verdict_rows(results):
        verdict = Text(row.verdict, style=_STYLES[row.verdict])
        table.add_row(row.claim, *[row.says] * len(says), verdict, row.measured, row.band)
    return table


def _across(results: Results, width: int) -> Table:
    """Return the verdicts of all gateways: in columns with the figures, without them, or in one, as there is room."""
    names = gatewaytables.names(results)
    if width >= _FIXED + _MEASURED * len(names):
        return _columns(results, ("claim", "about", "claimed"), names, figures=True)
    if width >= _FIXED + _WORD * (len(names) - 1):
        return _columns(results, ("claim", "about"), names, figures=False)
    table = Table("claim", "about", "verdict", box=None, pad_edge=False)
    for claim in across(results):
        table.add_row(claim.claim, claim.about, by_word(claim))
    return table


def _columns(results: Results, heads: tuple[str, ...], names: tuple[str, ...], *, figures: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=True)
    for name in names:
        table.add_column(name, overflow="fold")
    for claim, _, about, band, *cells in gatewaytables.verdicts(results).rows:
        shown = cells if figures else [cell.partition("\n")[0] for cell in cells]
        table.add_row(*(claim, about, band)[: len(heads)], *map(_styled, shown))
    return table


def _styled(cell: str) -> Text:
    word, _, measured = cell.partition("\n")
    return Text.assemble((word, _STYLES.get(word, "dim")), "\n" if measured else "", measured)


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
