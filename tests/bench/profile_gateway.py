"""Where the built-in gateway's time goes, by function: it runs under cProfile while it is loaded.

    python -m tests.bench.profile_gateway [--seconds 3] [--what small|big|post] [--config FILE] [--sort time|calls]
                                          [--top 30] [--stats FILE]

For whoever wants to make it faster. `--what`: 1 kB answers, 64 kB answers, or 64 kB request bodies, over 32
connections whose heads all differ. `--config` is a gateway configuration to profile in place of one route; its port,
and the targets of all its upstreams, are replaced by the benchmark's, workers are one, and the load asks below its
first route's prefix.
`--stats` keeps the raw statistics, for `python -m pstats` or a viewer.

How to read it: `own` is time in the function itself, `with callees` includes what it called; both are microseconds a
request, `calls` are a request as well. Built-in functions stand in braces. What uvloop does when it is called (writing
to sockets) has no line: it is its caller's own time; what it does between calls (polling, reading) is not in the sum.
cProfile charges every call about as much as a short function takes, so many small functions look dearer than they are:
it tells where to look. What a change gains is for gateway_features and gateway_cpu to say, which do not profile.
"""

from __future__ import annotations

import argparse
import contextlib
import pstats
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.bench import heads, rig
from tests.bench.upstream import Upstream, upstream

CONNECTIONS = 32
PLACES = {"small": "42", "big": "big", "post": "sink"}
_PLAIN: dict[str, Any] = {"upstreams": {"user": {}}, "routes": [{"prefix": "/api/v1/user", "upstream": "user"}]}
_SORTS = {"time": "own_us", "calls": "calls"}


@dataclass(frozen=True)
class Line:
    """A function: calls and microseconds a request, without and with what it called."""

    where: str
    calls: float
    own_us: float
    whole_us: float


def configuration(text: str | None, port: int, target: int) -> dict[str, Any]:
    """Return the configuration to profile: the given one, or a plain one, with our ports and one worker."""
    config = yaml.safe_load(text) if text else _PLAIN
    listen = {**config.get("listen", {}), "host": "127.0.0.1", "port": port}
    upstreams = {name: {**told, "targets": [f"127.0.0.1:{target}"]} for name, told in config["upstreams"].items()}
    return {**config, "listen": listen, "upstreams": upstreams, "workers": 1}


@contextlib.contextmanager
def profiled(config: dict[str, Any], folder: Path, stats: Path, core: int) -> Iterator[None]:
    """Run the gateway under the profiler on a core; the statistics are there when the block has ended."""
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = rig.python_module("tests.bench.profiled_gateway", str(path), str(stats))
    with rig.pinned(command, [core]):
        rig.wait_for_port(config["listen"]["port"])
        yield


def run(what: str, seconds: float, text: str | None, stats: Path) -> heads.Driven:
    """Load a gateway under the profiler, leave the statistics in a file and return what the load did."""
    cores = rig.split_cores()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archbench-bench-")))
        stack.enter_context(rig.running_on(cores.others))
        up = stack.enter_context(upstream(folder / "upstream", sorted(cores.others)))
        config = configuration(text, rig.free_ports(1)[0], up.ports[0])
        stack.enter_context(profiled(config, folder, stats, cores.measured))
        return _load(config, what, seconds, folder, up, sorted(cores.others))


def _load(
    config: dict[str, Any], what: str, seconds: float, folder: Path, up: Upstream, cores: Sequence[int]
) -> heads.Driven:
    path = f"{config['routes'][0]['prefix'].rstrip('/')}/{PLACES[what]}"
    drawn = heads.clients(folder / "heads", [path], CONNECTIONS, 0, seconds)
    base = f"{'https' if config['listen'].get('tls') else 'http'}://127.0.0.1:{config['listen']['port']}"
    return heads.drive(base, drawn, seconds, cores, up.big if what == "post" else None)


def lines(stats: Path, requests: int) -> list[Line]:
    """Return every function of the statistics, by request."""
    profile: dict[Any, Any] = pstats.Stats(str(stats)).stats  # type: ignore[attr-defined]
    return [
        Line(_where(*function), calls / requests, own * 1e6 / requests, whole * 1e6 / requests)
        for function, (_, calls, own, whole, _) in profile.items()
    ]


def _where(file: str, line: int, name: str) -> str:
    """Name a function by the end of its file's path; one in C has none."""
    if file == "~":
        return name if name.startswith("{") else f"{{{name.strip('<>')}}}"
    return f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"


def table(found: Sequence[Line], sort: str, top: int) -> str:
    """Return the most expensive functions, one a line, and the sum of all."""
    ordered = sorted(found, key=lambda one: -getattr(one, _SORTS[sort]))[:top]
    rows = [f"{'own us':>8} {'with callees':>13} {'calls':>7}  function"]
    rows += [f"{one.own_us:8.2f} {one.whole_us:13.2f} {one.calls:7.2f}  {one.where}" for one in ordered]
    return "\n".join([*rows, f"{sum(one.own_us for one in found):8.2f} {'':13} {'':7}  all functions together"])


def main(arguments: list[str] | None = None) -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--what", choices=list(PLACES), default="small")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--sort", choices=list(_SORTS), default="time")
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--stats", type=Path)
    chosen = parser.parse_args(arguments)
    text = chosen.config.read_text(encoding="utf-8") if chosen.config else None
    with tempfile.TemporaryDirectory() as folder:
        stats = chosen.stats or Path(folder) / "gateway.pstats"
        done = run(chosen.what, chosen.seconds, text, stats.resolve())
        print(table(lines(stats, done.completed), chosen.sort, chosen.top))
    print(f"{done.completed} requests answered well, {done.failed} not; under the profiler {done.per_s:.0f} a second")
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
