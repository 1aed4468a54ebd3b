"""report.md: the same verdicts and tables as the page, as text."""

from __future__ import annotations

from results.outcome import Results
from results.reports import tables
from results.reports.environment import environment
from results.reports.page import reproduce, sections
from results.summary import sentences


def render(results: Results) -> str:
    """Return the report as Markdown."""
    env = environment(escape=False)
    env.filters["cell"] = _cell
    return env.get_template("report.md.j2").render(
        results=results,
        verdicts=tables.verdicts(results),
        sentences=sentences(results),
        sections=sections(results),
        reproduce=reproduce(results),
    )


def _cell(text: str) -> str:
    """Keep a cell on one line and its bars out of the table's syntax."""
    return text.replace("|", "\\|").replace("\n", " ")
