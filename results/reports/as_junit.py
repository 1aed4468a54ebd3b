"""junit.xml: one test case a claim (and gateway, where there are several), so that a CI page shows the verdicts.

Confirmed passes, refuted is a failure, inconclusive and not testable are skipped, invalid is an error. Whether the job
fails is not decided here but by the regression gate, which looks at changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

from results.outcome import Results
from results.summary import VerdictRow, verdict_rows
from results.verdict import Word

_TAGS: dict[Word, str] = {
    "refuted": "failure",
    "inconclusive": "skipped",
    "not testable": "skipped",
    "invalid": "error",
}


def render(results: Results) -> str:
    """Return the JUnit document."""
    rows = list(_rows(results))
    tags = [_TAGS.get(row.verdict, "") for row in rows]
    suite = ET.Element(
        "testsuite",
        name=f"archbench.{results.scenario.name}",
        tests=str(len(rows)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{results.duration_s:.3f}",
        timestamp=results.plan.started_at,
    )
    for row, tag in zip(rows, tags, strict=True):
        _add(suite, row, tag, results.scenario.name)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _rows(results: Results) -> Iterator[VerdictRow]:
    """Yield every verdict; of several gateways each names its own."""
    for one in results.every:
        name = f" ({one.plan.gateway})" if results.further else ""
        yield from (replace(row, claim=row.claim + name) for row in verdict_rows(one))


def _add(suite: ET.Element, row: VerdictRow, tag: str, scenario: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"archbench.{scenario}", name=row.claim)
    if tag:
        message = f"{row.verdict}: {row.says} (measured {row.measured}, band {row.band})"
        ET.SubElement(case, tag, message=message).text = row.why
    ET.SubElement(case, "system-out").text = f"{row.verdict}. {row.why}"
