"""Would a second run say the same? Runs the quick profile several times and writes docs/proof.md.

    python -m tests.proof.second_run [--runs 3]

Fails (exit 1) when a claim that gates is confirmed in one run and refuted in another. Different seeds, so that
schedules and orders differ as well. Two minutes a run, on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))
TARGET = Path(__file__).parents[2] / "docs" / "proof.md"


def measure(seed: int, out: Path) -> dict[str, Any]:
    """Run the quick profile; return its results.json."""
    command = [ARCHBENCH, "run", "--seed", str(seed), "--out", str(out)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
    results: dict[str, Any] = json.loads((out / "latest" / "results.json").read_text(encoding="utf-8"))
    return results


def reversed_claims(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the gating claims that one run confirms and another refutes."""
    found = []
    for claim in runs[0]["claims"]:
        words = {other["verdict"] for run in runs for other in run["claims"] if other["id"] == claim["id"]}
        if claim["gates"] and words >= {"confirmed", "refuted"}:
            found.append(claim["id"])
    return found


def page(runs: Sequence[dict[str, Any]], wrong: Sequence[str]) -> str:
    """Return docs/proof.md."""
    heads = [f"run {number + 1}" for number in range(len(runs))]
    rows = [f"| claim | {' | '.join(heads)} |", "|---|" + "---|" * len(runs)]
    for number, claim in enumerate(runs[0]["claims"]):
        if claim["verdict"] != "not testable":
            rows.append(f"| {claim['id']} | {' | '.join(_cell(run['claims'][number]) for run in runs)} |")
    answer = (
        f"Reversed: {', '.join(wrong)}."
        if wrong
        else "No claim that gates was confirmed in one run and refuted in another."
    )
    host = runs[0]["environment"]
    return (
        "# Would a second run say the same?\n\nWritten by `make proof`.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {host['cpu']}, {host['cores']} cores, quick profile, "
        f"{runs[0]['run']['gateway']} gateway, {runs[0]['run']['work']} work, a seed of its own for each run.\n\n"
        f"**{answer}**\n\n" + "\n".join(rows) + "\n"
    )


def _cell(claim: dict[str, Any]) -> str:
    measured = claim["measured"]
    if measured["low"] is None or measured["point"] is None:
        return str(claim["verdict"])
    return f"{claim['verdict']}, {measured['point']:.3g} ({measured['low']:.3g} to {measured['high']:.3g})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(seed, Path(folder) / str(seed)) for seed in range(1, chosen.runs + 1)]
    wrong = reversed_claims(runs)
    text = page(runs, wrong)
    print(text)
    TARGET.write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
