"""The upstream of the gateways' benchmarks: one nginx that answers 1 kB, streams 64 kB, and reads what is posted.

What is asked for is told by the path, below any prefix: `.../big/...` is a file of 64 kB, `.../sink/...` answers once
the whole body of a POST has been read, `.../echo/...` says what the request looked like,
`.../ask` is a 200 for whoever shows a token; anything else is 1 kB. A port of its own answers 503 to everything.
Requests with the mark of `heads` are logged.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import heads, rig

SMALL_BYTES = 1000
BIG_BYTES = 65536

# An answer before the end of a body would make gateways give up the connection. nginx reads a body whole before it
# mirrors it, here to nowhere; a POST for a file is a 405, which becomes the answer.
_HTTP = """\
keepalive_timeout 1h;
tcp_nodelay on;
client_body_buffer_size 128k;
client_max_body_size 0;
{log_format}
server {{
{listens}
access_log {folder}/heads.log heads if=$arg_seen;
default_type application/json;
location / {{ return 200 "{small}"; }}
location ~ /big/ {{ root {files}; try_files /big =404; }}
location ~ /sink/ {{ root {files}; mirror /.nowhere; error_page 405 =200 @read; try_files /big =404; }}
location ~ /echo(/|$) {{ return 200 "{echo}"; }}
location ~ /ask$ {{ if ($http_authorization = "") {{ return 401; }} return 200; }}
location = /.nowhere {{ internal; return 204; }}
location @read {{ return 200 "read $content_length at $server_port"; }}
}}
server {{
listen 127.0.0.1:{failing} backlog=4096;
access_log {folder}/heads.log heads if=$arg_seen;
location / {{ return 503; }}
}}
"""
ECHOED = {
    "target": "request_uri",
    "port": "server_port",
    "id": "http_x_request_id",
    "trace": "http_traceparent",
    "upgrade": "http_upgrade",
    "forwarded": "http_forwarded",
    "via": "http_via",
    "client": "http_x_forwarded_for",
}


@dataclass(frozen=True)
class Upstream:
    """Where it listens; `log` is of marked requests; `big` is a file of BIG_BYTES, to be posted as well."""

    ports: tuple[int, ...]
    failing: int
    log: Path
    big: Path


@contextlib.contextmanager
def upstream(folder: Path, cores: Sequence[int], ports: int = 1) -> Iterator[Upstream]:
    """Run it on some cores, listening on so many ports."""
    with _readable_folder() as files:
        log, big = folder / "heads.log", files / "big"
        big.write_bytes(os.urandom(BIG_BYTES))
        failing, *answering = rig.free_ports(1 + ports)
        made = Upstream(tuple(answering), failing, log, big)
        with rig.nginx(folder, made.ports[0], _http(folder, made), cores):
            yield made


@contextlib.contextmanager
def _readable_folder() -> Iterator[Path]:
    """Yield a folder that nginx may read: started by root, its worker is nobody."""
    with tempfile.TemporaryDirectory(prefix="archbench-bench-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _http(folder: Path, made: Upstream) -> str:
    return _HTTP.format(
        folder=folder,
        files=made.big.parent,
        failing=made.failing,
        small="x" * SMALL_BYTES,
        log_format=heads.log_format("heads"),
        listens="\n".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in made.ports),
        echo="".join(f"{name}=${variable}\\n" for name, variable in ECHOED.items()),
    )
