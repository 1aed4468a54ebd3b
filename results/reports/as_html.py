"""report.html: one self-contained page, for reading on a screen, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup, escape

from results.across import across, statements
from results.outcome import Results
from results.reports import gatewaytables, tables
from results.reports.charts import canvas
from results.reports.charts.capacity import capacity_curves
from results.reports.charts.cpu import cpu_bars
from results.reports.charts.crash import crash_timeline, small_multiples
from results.reports.charts.curves import percentile_curves
from results.reports.charts.forest import forest
from results.reports.charts.gateways import by_gateway
from results.reports.environment import environment
from results.reports.page import reproduce, sections, with_gateway
from results.summary import sentences, verdict_counts

STYLE = Path(__file__).parent / "templates" / "report.css"

CHARTS: dict[str, Callable[[Results], str]] = {
    "gateways": by_gateway,
    "forest": forest,
    "curves": percentile_curves,
    "capacity": capacity_curves,
    "cpu": cpu_bars,
    "crash": lambda results: crash_timeline(results, "gateway"),
    "crashes": lambda results: small_multiples(results, list(results.scenario.service_names)),
}

MARKS = {
    "confirmed": "✓",
    "refuted": "✗",
    "inconclusive": "?",
    "invalid": "!",
    "not testable": "/",
    "fatal": "!",
    "degraded": "✗",
    "affected": "△",
    "unaffected": "✓",
    "undetermined": "?",
    "isolated": "○",
    "partial": "◐",
    "system-wide": "●",
}


def render(results: Results) -> str:
    """Return the page."""
    env = environment(escape=True)
    env.filters["cell"] = _cell
    return env.get_template("report.html.j2").render(
        results=results,
        css=Markup(STYLE.read_text(encoding="utf-8")),  # noqa: S704 - our own style sheet
        verdicts=gatewaytables.verdicts(results) if results.further else tables.verdicts(results),
        counts=[(one.plan.gateway, verdict_counts(one)) for one in results.every],
        statements=statements(across(results)),
        ratios=gatewaytables.ratios(results) if results.further else None,
        reasons=gatewaytables.reasons(results) if results.further else None,
        further=[(one.plan.gateway, with_gateway(one)) for one in results.further],
        gateways=gatewaytables.titles(results),
        sentences=sentences(results),
        sections=sections(results),
        charts=_charts(results),
        reproduce=reproduce(results),
    )


def _charts(results: Results) -> dict[str, Markup]:
    with canvas.style():
        return {name: Markup(draw(results)) for name, draw in CHARTS.items()}  # noqa: S704 - our own drawings


def _cell(text: str) -> Markup:
    """Give a word of judgement its mark and its class, also above a figure; other text is escaped as it is."""
    word, _, figure = text.partition("\n")
    if figure and word in MARKS:
        return _cell(word) + Markup("<br>") + escape(figure)
    mark = MARKS.get(text)
    if text == gatewaytables.SAME:
        return Markup('<span class="same">{}</span>').format(text)
    if mark is None:
        return escape(text)
    kind = text.replace(" ", "-")
    return Markup('<span class="word {}"><span aria-hidden="true">{}</span> {}</span>').format(kind, mark, text)
