"""Shows what `archbench doctor` found, as aligned text. Measures nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from harness.doctor import Finding

_STYLES = {"ok": "green", "look": "yellow", "bad": "bold red"}
_STATE = 5
_WIDE = 80
_INDENT = 4


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print the findings; wrapped for a terminal or a stated width, and left whole in a file or a pipe."""
    wraps = console.is_terminal or "COLUMNS" in os.environ
    width = console.width if wraps else None
    for text in finding_lines(findings, width):
        console.print(text, soft_wrap=True)


def finding_lines(findings: Sequence[Finding], width: int | None) -> Iterator[Text]:
    """Yield the findings as lines under the names of their groups, none longer than `width` columns unless None."""
    subject = max(len(finding.subject) for finding in findings) + 2
    for group, members in groupby(findings, key=lambda finding: finding.group):
        yield Text(group.upper(), style="bold")
        for finding in members:
            yield from _lines(finding, subject, width)
        yield Text()
    yield from _wrapped(*_conclusion(findings), width)


def _lines(finding: Finding, subject: int, width: int | None) -> Iterator[Text]:
    """On a narrow terminal the finding stands below its name."""
    state = Text(f"{finding.state:<{_STATE}}", style=_STYLES[finding.state])
    if width is not None and width < _WIDE:
        yield Text.assemble(state, finding.subject)
        yield from _wrapped(finding.found, "", width, indent=_INDENT)
        yield from _wrapped(finding.advice, "", width, indent=_INDENT, mark="-> ")
        return
    indent = subject + _STATE
    first, *others = _wrapped(finding.found, "", width, indent=indent)
    yield Text.assemble(f"{finding.subject:<{subject}}", state, first.plain.strip())
    yield from others
    yield from _wrapped(finding.advice, "", width, indent=indent, mark="-> ")


def _wrapped(text: str, style: str, width: int | None, indent: int = 0, mark: str = "") -> list[Text]:
    """Return the text in lines behind an indentation; the mark stands before the first one."""
    lines: list[str] = []
    for word in text.split():
        if lines and (width is None or len(lines[-1]) + 1 + len(word) <= width - indent - len(mark)):
            lines[-1] += " " + word
        else:
            lines.append(word)
    marks = [mark, *[" " * len(mark)] * len(lines)]
    return [Text(" " * indent + before + line, style=style) for before, line in zip(marks, lines, strict=False)]


def _conclusion(findings: Sequence[Finding]) -> tuple[str, str]:
    """Return what follows from the worst finding, and its style."""
    if any(finding.stops for finding in findings):
        return "archbench cannot run here; see what is marked bad", _STYLES["bad"]
    if any(finding.state == "bad" for finding in findings):
        return "figures from here are wrong until what is marked bad is mended", _STYLES["bad"]
    return "archbench runs here; what is marked look makes figures weaker", "bold"
