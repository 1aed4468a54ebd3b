"""Print the rules of a correct reverse proxy with the tests that prove them.

    python -m tests.functional.gateway_rules [--write]

--write puts the page into docs/gateway-rules.md.
"""

from __future__ import annotations

import argparse
import sys

from tests.functional.gateway_rules.page import TARGET, page


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    chosen = parser.parse_args()
    print(page())
    if chosen.write:
        TARGET.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
