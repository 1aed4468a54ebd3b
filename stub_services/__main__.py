"""`python -m stub_services NAME --port N`: one service in this process, its surroundings from the environment."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys

from stub_services.settings import DEFAULT_PORTS, SERVICE_NAMES, Settings, SettingsError


def main(arguments: list[str] | None = None) -> int:
    """Run a service. Returns 0 after SIGTERM or SIGINT, 1 when it cannot run, 2 for bad usage or bad settings."""
    parser = argparse.ArgumentParser(prog="python -m stub_services", description="Run one of the five services.")
    parser.add_argument("name", metavar="NAME", choices=SERVICE_NAMES, help=", ".join(SERVICE_NAMES))
    parser.add_argument("--port", type=int, metavar="N", help="where to listen (default: as the scenario declares)")
    given = parser.parse_args(arguments)
    port = DEFAULT_PORTS[given.name] if given.port is None else given.port
    try:
        settings = Settings.from_environment(given.name, port, os.environ)
    except SettingsError as bad:
        print(f"python -m stub_services: {bad}", file=sys.stderr)
        return 2
    return _serve(settings)


def _serve(settings: Settings) -> int:
    from stub_services.server import serve

    try:
        serve(settings)
    except OSError as refused:
        print(f"python -m stub_services: {settings.name}: {refused.strerror or refused}", file=sys.stderr)
        return 1
    except sqlite3.Error as broken:
        print(
            f"python -m stub_services: {settings.name}: the store in {settings.store_dir} cannot be used: {broken}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
