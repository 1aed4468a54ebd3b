"""docs/gateway-differences.md: every case with what each gateway made of it, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.gateways import GATEWAYS
from tests.functional.differences.answers import ANSWERS
from tests.functional.differences.case import Case
from tests.functional.differences.lab import CONTENDERS, QUIET_S, Exchange, observe
from tests.functional.differences.outcome import Outcome, outcome
from tests.functional.differences.requests import REQUESTS

TARGET = Path(__file__).parents[3] / "docs" / "gateway-differences.md"
THEMES: dict[str, list[Case]] = {**REQUESTS, **ANSWERS}
PRODUCTS = {"builtin": "builtin", "nginx": "nginx", "haproxy": "HAProxy"}

_INTRODUCTION = """\
# The same bytes to our gateway, nginx and HAProxy

Written by `python -m tests.functional.differences --write`; `make test` checks that it still holds.

{versions}. {cases} cases, {differing} with a difference that matters; the configurations are those of
`harness/gateways/`. The cases with their bytes: `tests/functional/differences/requests.py` and `answers.py`. Each is
sent on a connection of its own, and has an upstream of its own.

An outcome reads *what the client got* / *what the upstream got*: `200, 400 close / POST 5` is an answer 200, an answer
400 and a close, and one POST with a body of five bytes at the upstream. `/next` is the path of a second request, which
most cases send after the odd one. `silence` is nothing for {quiet_s:g} s. `cut` is a message that breaks off or is not
finished. `broken` is what a reader by the letter of RFC 9112 refuses; the upstream is such a reader, and closes then.
`-x`: the field x was dropped, `+x`: added, `~x=`: changed. `as /a`: another target. Left out: `Via`, `X-Forwarded-*`
and `Connection` where the client sent none, the case of field names, how a body is framed, and the number in a refusal
(400, 501 and so on are alike).

**What follows for smuggling:** a test lets five readers loose on all that our gateway sent upstream here: one by the
letter, llhttp, h11, one that believes `Content-Length` first and one that believes `chunked` first, both with LF for
CRLF. They have to find the same requests. nginx and HAProxy, as configured here, send on what some of these refuse:
`broken` in their column.
"""


@dataclass(frozen=True)
class Row:
    """A case and its outcome at each gateway."""

    theme: str
    case: Case
    outcomes: dict[str, Outcome]
    exchanges: dict[str, Exchange]

    @property
    def name(self) -> str:
        return f"{self.theme}: {self.case.name}"

    @property
    def differs(self) -> bool:
        return len({outcome.key for outcome in self.outcomes.values()}) > 1

    @property
    def is_wrong(self) -> bool:
        """Whether our gateway does not do what the case says it has to."""
        return bool(self.case.ours) and self.outcomes["builtin"].text != self.case.ours


def measure(folder: Path, names: Sequence[str] = CONTENDERS) -> dict[str, list[Row]]:
    """Send every case to every gateway; return the rows of each theme."""
    cases = [case for theme in THEMES.values() for case in theme]
    seen = observe(cases, names, folder)
    exchanges = zip(*(seen[name] for name in names), strict=True)
    each = iter([dict(zip(names, row, strict=True)) for row in exchanges])
    return {theme: [_row(theme, case, next(each)) for case in listed] for theme, listed in THEMES.items()}


def _row(theme: str, case: Case, exchanges: dict[str, Exchange]) -> Row:
    return Row(theme, case, {name: outcome(exchange) for name, exchange in exchanges.items()}, exchanges)


def versions() -> str:
    """Return the versions that the page is about; ours is the one beside it."""
    return ", ".join(GATEWAYS[name].version() for name in CONTENDERS if name != "builtin")


def page(themes: dict[str, list[Row]]) -> str:
    """Return the page."""
    rows = [row for listed in themes.values() for row in listed]
    differing = sum(row.differs for row in rows)
    head = _INTRODUCTION.format(versions=versions(), cases=len(rows), differing=differing, quiet_s=QUIET_S)
    return head + "".join(_theme(theme, listed) for theme, listed in themes.items())


def _theme(theme: str, rows: Sequence[Row]) -> str:
    lines = [f"\n## {theme}\n", f"| case | {' | '.join(PRODUCTS.values())} | why |", "|---|" + "---|" * 4]
    return "\n".join([*lines, *(_line(row) for row in rows)]) + "\n"


def _line(row: Row) -> str:
    """Return a table row; where all are alike, what they do stands once."""
    if row.differs or row.is_wrong:
        cells = [_cell(name, row) for name in CONTENDERS]
    else:
        cells = [_code(row.outcomes["builtin"].text), "the same", "the same"]
    why = row.case.why
    if row.is_wrong:
        why = f"**Ours is wrong: it should be** {_code(row.case.ours)}. {why}".rstrip()
    return f"| {row.case.name} | {' | '.join(cells)} | {why} |".replace("|  |", "| |")


def _cell(name: str, row: Row) -> str:
    return "changes from run to run" if row.case.unsettled == name else _code(row.outcomes[name].text)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"
