"""`python -m gateway_proxy --config FILE`: exit 0 after a signal, 1 when the machine refuses, 2 for a bad file."""

import argparse
import sys

from gateway_proxy.config import GatewayConfig, load
from scenarios.files import FileProblem


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway in the foreground and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m gateway_proxy", description="The configurable gateway.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="YAML: listen, upstreams, routes, ...")
    what.add_argument("--schema", action="store_true", help="print the configuration's JSON Schema and exit")
    parser.add_argument("--check", action="store_true", help="only say whether the file can be used")
    chosen = parser.parse_args(arguments)
    if chosen.schema:
        from gateway_proxy.schema import text

        print(text(), end="")
        return 0
    try:
        config = load(chosen.config)
    except FileProblem as problem:
        print(problem, file=sys.stderr)
        return 2
    if chosen.check:
        print(f"{chosen.config}: ok, {len(config.routes)} routes to {len(config.upstreams)} upstreams")
        return 0
    return _run(config, chosen.config)


def _run(config: GatewayConfig, path: str) -> int:
    from gateway_proxy.assembly import AssemblyProblem
    from gateway_proxy.server import ListenError, serve

    try:
        return serve(config, lambda: print(f"listening on {config.url}", file=sys.stderr, flush=True), path)
    except AssemblyProblem as problem:
        print(f"{path}: {problem}", file=sys.stderr)
        return 2
    except ListenError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
