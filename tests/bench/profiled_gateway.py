"""The built-in gateway under cProfile: python -m tests.bench.profiled_gateway CONFIG STATS

Serves until SIGTERM, then leaves the statistics in the file STATS (pstats). Starting up is not in them.
"""

from __future__ import annotations

import cProfile
import sys

from gateway_proxy.config import load
from gateway_proxy.server import serve


def main(path: str, stats: str) -> None:
    profile = cProfile.Profile()
    try:
        serve(load(path), on_ready=profile.enable)
    finally:
        profile.disable()
        profile.dump_stats(stats)


if __name__ == "__main__":
    main(*sys.argv[1:3])
