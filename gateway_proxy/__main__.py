"""`python -m gateway_proxy --config FILE`: exit 0 after a signal, 1 when the machine refuses, 2 for a bad file."""

import argparse
import sys

from gateway_proxy.config import load
from scenarios.files import FileProblem


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway in the foreground and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m gateway_proxy", description="The configurable gateway.")
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML: listen, upstreams, routes, ...")
    chosen = parser.parse_args(arguments)
    try:
        config = load(chosen.config)
    except FileProblem as problem:
        print(problem, file=sys.stderr)
        return 2
    from gateway_proxy.server import ListenError, serve

    try:
        serve(config, on_ready=lambda: print(f"listening on {config.url}", file=sys.stderr, flush=True))
    except ListenError as error:
        print(f"{chosen.config}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
