"""docs/gateway-rules.md: each rule, where it stands, and the tests that prove it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.functional.gateway_rules.rules import LIMITS, RULES, Proof

HERE = Path(__file__).parent
TARGET = HERE.parents[2] / "docs" / "gateway-rules.md"

_INTRODUCTION = """\
# What a correct reverse proxy does, and the tests that prove it of ours

Written by `python -m tests.functional.gateway_rules --write` from `tests/functional/gateway_rules/rules.py`; `make
test` checks that every test named here exists and that every test in that folder is named. Each test runs the gateway
as a process between raw sockets and looks at the bytes on both sides; a table of a dozen to sixty variants stands
behind most. Numbers are sections of RFC 9110 and RFC 9112.

Beside these: the same odd bytes to nginx and HAProxy ([gateway-differences.md](gateway-differences.md)), and ten
minutes of fuzzing ([fuzz.md](fuzz.md)), which hold everything against readers that share no code with the gateway.
Rule 14 (Upgrade) and the field `Forwarded` have tests of their own in `tests/functional/test_gateway_features.py`.
"""
_NOT_DONE = """\
## Where the gateway is stricter than it has to be, or does less

| | what the RFC says | ours |
|---|---|---|
| LF alone as a line's end | may be taken (9112 2.2) | not taken; 400, 502 at once |
| a higher minor version, HTTP/1.2 | should be read as 1.1 (9110 6.2) | 400, 502 |
| white space before a chunk extension | is to be parsed and dropped (9112 7.1.1, 9110 5.6.3) | 400, abort |
| a space before the colon in an answer | is to be removed (9112 5.1) | 502 |
| a tab after `chunked` | white space like any other (9110 5.5) | 400 |
| equal lengths, as a list or twice | may be taken for one (9112 6.3) | 400, 502 |
| bytes beyond ASCII in a target | no URI has them (3986 2) | 400 |
| methods that are not registered | 501 if not implemented (9110 9.1) | 501 |
| a client that closes its sending half | may still be answered (9112 9.6) | counts as gone |
| Max-Forwards in TRACE and OPTIONS | is to be counted down, and answered at 0 (9110 7.6.2) | travels as it came |
| an answer without Date | is to be given one (9110 6.6.1) | travels as it came |
"""


def page() -> str:
    """Return the page."""
    rules = "".join(_section(f"{number}. {rule.name}", rule.proofs) for number, rule in RULES.items())
    return f"{_INTRODUCTION}\n{rules}{_section('Limits', LIMITS)}{_NOT_DONE}"


def _section(title: str, proofs: Iterable[Proof]) -> str:
    lines = [f"## {title}\n", "| what | source | tests |", "|---|---|---|"]
    lines.extend(f"| {proof.says} | {proof.source} | {_tests(proof)} |" for proof in proofs)
    return "\n".join(lines) + "\n\n"


def _tests(proof: Proof) -> str:
    """Return the tests by module, each module once."""
    by_module: dict[str, list[str]] = {}
    for test in proof.tests:
        module, _, function = test.partition("::")
        by_module.setdefault(module, []).append(function.replace("_", " "))
    return "; ".join(f"`test_{module}`: {', '.join(functions)}" for module, functions in by_module.items())


def named() -> set[str]:
    """Return every test that the rules name."""
    proofs = [*LIMITS, *(proof for rule in RULES.values() for proof in rule.proofs)]
    return {test for proof in proofs for test in proof.tests}


def existing(folder: Path) -> Iterator[str]:
    """Yield every test function in `folder`, named as the rules name it."""
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{path.stem.removeprefix('test_')}::{node.name.removeprefix('test_')}"
