"""Report formats: results to text. A new format is one new file and one line in FORMATS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from results.outcome import Results
from results.reports import as_html, as_json, as_junit, as_markdown

FORMATS: dict[str, Callable[[Results], str]] = {
    "results.json": as_json.render,
    "report.md": as_markdown.render,
    "report.html": as_html.render,
    "junit.xml": as_junit.render,
}


def write(results: Results, run_dir: Path) -> list[Path]:
    """Write every format into `run_dir`, each file whole or not at all; return the paths. Raises OSError."""
    return [_write(run_dir / name, render(results)) for name, render in FORMATS.items()]


def _write(path: Path, text: str) -> Path:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)
