"""Fuzz the gateway, or play a file of conversations again.

    python -m tests.fuzz [--seconds 600] [--seed 1] [--out runs/fuzz] [--write]
    python -m tests.fuzz --replay FILE

Exit code 1 when something was found: its bytes stand in a file in --out. --write puts the page into docs/fuzz.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.bench.figures import when_and_where
from tests.fuzz.conversation import load
from tests.fuzz.page import findings, outcomes, page, table
from tests.fuzz.run import fuzz, replay

TARGET = Path(__file__).parents[2] / "docs" / "fuzz.md"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="where the bytes of findings are written")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        found = replay(load(chosen.replay))
        print("\n".join(f"{finding.kind}: {finding.detail}" for finding in found) or "nothing is wrong")
        return 1 if found else 0
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # so that the gateway is ended with us
    result = fuzz(chosen.seed, chosen.seconds, chosen.out)
    print("\n\n".join([table(result), outcomes(result), findings(result)]))
    if chosen.write:
        TARGET.write_text(page(result, when_and_where()), encoding="utf-8")
    return 1 if result.shown else 0


if __name__ == "__main__":
    sys.exit(main())
