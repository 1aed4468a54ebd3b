"""A gateway that copies bytes both ways and reads none of them: what the oracles have to find something wrong with.

python -m tests.fuzz.blind_gateway --config FILE
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import yaml


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(config: dict) -> None:
    host, _, port = next(iter(config["upstreams"].values()))["targets"][0].rpartition(":")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))

    server = await asyncio.start_server(client, config["listen"]["host"], config["listen"]["port"])
    print("listening", file=sys.stderr, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(yaml.safe_load(Path(sys.argv[-1]).read_text(encoding="utf-8"))))
