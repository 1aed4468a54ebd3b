"""report.md: the same verdicts and tables as the page, as text."""

from __future__ import annotations

from results.across import across, statements
from results.outcome import Results
from results.reports import gatewaytables, tables
from results.reports.environment import environment
from results.reports.page import reproduce, sections, with_gateway
from results.summary import sentences
from results.verdict import WORDS


def render(results: Results) -> str:
    """Return the report as Markdown."""
    env = environment(escape=False)
    env.filters["cell"] = _cell
    return env.get_template("report.md.j2").render(
        results=results,
        verdicts=gatewaytables.verdicts(results) if results.further else tables.verdicts(results),
        statements=statements(across(results)),
        by_gateway=[gatewaytables.ratios(results), gatewaytables.reasons(results)] if results.further else [],
        further=[(one.plan.gateway, with_gateway(one)) for one in results.further],
        gateways=gatewaytables.titles(results),
        sentences=sentences(results),
        sections=sections(results),
        reproduce=reproduce(results),
    )


def _cell(text: str) -> str:
    """Keep a cell on one line and its bars out of the table's syntax; a verdict and what was measured stand apart."""
    word, _, measured = text.partition("\n")
    text = f"{word}, {measured}" if word in WORDS and measured else text
    return text.replace("|", "\\|").replace("\n", " ")
