"""Load in which no two request heads are alike: one h2load for each connection.

All connections of one h2load send the same fields and go through the same targets in step, so a cache of whole heads
would answer for most of them. Here each connection is a process of its own with fields of its own (eight shapes that
differ in number and names, values of each connection's own) and with targets of its own, drawn anew for every turn:
as long as the targets last, nobody is sent the same head twice.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench import rig

MARK = "seen=1"
_REQUESTS_A_SECOND = 80_000  # of all connections together: more than any gateway answers on one core
_LEAST_TARGETS = 64

# Number and length of fields as clients have them: a probe, curl, a library, a mobile app, browsers, a traced service.
SHAPES: tuple[tuple[str, ...], ...] = (
    ("accept: */*",),
    ("accept: */*", "user-agent: curl/7.88.{small}"),
    ("accept: application/json", "content-language: en", "authorization: Bearer {word}.{long}.{word}"),
    (
        "accept: application/json",
        "accept-encoding: gzip, deflate, br",
        "authorization: Bearer {word}.{long}.{word}",
        "x-request-id: {word}",
        "user-agent: python-client/2.{small}",
    ),
    (
        "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "accept-encoding: gzip, deflate, br",
        "accept-language: en-GB,en;q=0.{small}",
        "cookie: session={word}; theme=dark; seen={small}",
        "referer: http://localhost/exam/{small}",
        "cache-control: no-cache",
        "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:1{small}.0) Gecko/20100101 Firefox/1{small}.0",
    ),
    (
        "accept: application/json",
        "x-device: {word}",
        "x-app-version: 4.{small}.0",
        "authorization: Bearer {word}.{long}.{word}",
        "user-agent: ielts-android/4.{small} (Linux; Android 14)",
        "cookie: session={word}",
    ),
    ("accept: application/json", "traceparent: 00-{word}-{half}-01", "tracestate: vendor={half}", "x-tenant: t{small}"),
    (
        "accept: */*",
        "accept-encoding: gzip",
        "cookie: consent={long}; session={word}; basket={half}; recent={long}",
        "dnt: 1",
        "sec-fetch-mode: cors",
        "sec-fetch-site: same-origin",
        "x-requested-with: XMLHttpRequest",
        "user-agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.{small} Safari/605.1.15",
    ),
)
NAMES = sorted({line.partition(":")[0] for shape in SHAPES for line in shape})

Extra = Callable[[int], Sequence[str]]


@dataclass(frozen=True)
class Client:
    """One connection's part in a turn: its field lines, the file with its targets, and how many those are."""

    fields: tuple[str, ...]
    file: Path
    targets: int

    def with_fields(self, lines: Sequence[str]) -> Client:
        """Return it with these lines in place of its own of the same name."""
        names = {_name(line) for line in lines}
        kept = (line for line in self.fields if _name(line) not in names)
        return Client((*kept, *lines), self.file, self.targets)


@dataclass(frozen=True)
class Driven:
    """What a turn did; `distinct` is how many different heads were sent."""

    completed: int
    failed: int
    per_s: float
    distinct: int


def fields(connection: int, turn: int) -> tuple[str, ...]:
    """Return the field lines of a connection in a turn."""
    rng = random.Random(f"{turn}/{connection}")
    shape = SHAPES[connection % len(SHAPES)]
    return tuple(line.format_map(_Values(rng)) for line in shape)


class _Values(dict[str, str]):
    """Draws every value anew, also one that stands in a line twice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def __missing__(self, kind: str) -> str:
        if kind == "small":
            return str(self.rng.randint(10, 99))
        return f"{self.rng.getrandbits(_BITS[kind]):0{_BITS[kind] // 4}x}"


_BITS = {"half": 64, "word": 128, "long": 512}


def targets(paths: Sequence[str], connection: int, turn: int) -> Iterator[str]:
    """Yield targets without end, each of its own, below each of `paths` in turn."""
    own = f"{turn & 0xFFFF:04x}{connection:03x}"
    for number, path in zip(itertools.count(), itertools.cycle(paths)):
        if number % 3:
            yield f"{path}/{own}{number:06x}"
        else:
            yield f"{path}/{number}?page={number % 7}&sort=-created&after={own}{number:06x}"


def clients(
    folder: Path, paths: Sequence[str], connections: int, turn: int, seconds: float, marked: bool = False
) -> list[Client]:
    """Write the targets of a turn into `folder` and return its connections. `marked`: the upstream is to log them."""
    folder.mkdir(parents=True, exist_ok=True)
    count = max(_LEAST_TARGETS, math.ceil(seconds * _REQUESTS_A_SECOND / connections))
    made = []
    for connection in range(connections):
        file = folder / f"targets-{connection}"
        listed = itertools.islice(targets(paths, connection, turn), count)
        file.write_text("".join(f"{_marked(target) if marked else target}\n" for target in listed), encoding="ascii")
        made.append(Client(fields(connection, turn), file, count))
    return made


def _marked(target: str) -> str:
    return f"{target}{'&' if '?' in target else '?'}{MARK}"


def _name(line: str) -> str:
    return line.partition(":")[0].lower()


def drive(base: str, load: Sequence[Client], seconds: float, cores: Sequence[int], body: Path | None = None) -> Driven:
    """Load `base` (a URL without a path) from all clients at once; with `body` every request is a POST of it.

    Raises rig.LoadError when a client's load did not come to its end.
    """
    posted = ["-d", str(body)] if body else []

    def one_client(one: Client) -> rig.Load:
        lines = [_in_h2loads_words(line) for line in one.fields]
        return rig.h2load([], 1, seconds, cores, lines, ["-B", base, "-i", str(one.file), *posted])

    with ThreadPoolExecutor(len(load)) as pool:
        tasks = [pool.submit(one_client, one) for one in load]
    loads = [task.result() for task in tasks]
    return Driven(
        sum(done.completed for done in loads),
        sum(done.failed for done in loads),
        sum(done.per_s for done in loads),
        sum(min(done.completed, one.targets) for done, one in zip(loads, load, strict=True)),
    )


def _in_h2loads_words(line: str) -> str:
    """Host has a name of its own there: given as `host` it would be sent beside the other one."""
    return f":authority:{line.partition(':')[2]}" if _name(line) == "host" else line


def log_format(name: str) -> str:
    """Return nginx's directive for a log of whole heads, and one that logs the marked ones; see `read_log`."""
    seen = " ".join(["$request_uri", *(f"$http_{field.replace('-', '_')}" for field in NAMES)])
    return f"log_format {name} escape=json '{seen}';"


def read_log(path: Path) -> tuple[int, int]:
    """Return how many heads the upstream logged, and how many different ones."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return len(lines), len(set(lines))
