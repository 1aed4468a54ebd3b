"""Print what our gateway, nginx and HAProxy make of the same bytes, and where they differ.

    python -m tests.functional.differences [--write]

--write puts the page into docs/gateway-differences.md. Needs nginx and haproxy (tests/system_packages.sh).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.functional.differences.page import TARGET, measure, page


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = page(measure(Path(folder)))
    print(text)
    if chosen.write:
        TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
