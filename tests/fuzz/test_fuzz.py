"""A short fuzz of the gateway with fixed seeds; `make fuzz` is the long one."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from tests.fuzz.page import findings
from tests.fuzz.play import Tally, batch, play
from tests.fuzz.rig import rig
from tests.fuzz.run import fuzz

pytestmark = pytest.mark.functional


@pytest.mark.parametrize("seed", [11, 12])
def test_a_short_fuzz_finds_nothing(seed, tmp_path):
    result = fuzz(seed, seconds=60, folder=tmp_path, batches=1)
    assert result.tally.conversations == 800
    assert findings(result) == ""


def test_a_gateway_that_copies_bytes_is_found_out(tmp_path):
    async def run():
        with tempfile.TemporaryDirectory() as folder:
            async with rig(Path(folder), "tests.fuzz.blind_gateway") as blind:
                blind.patience_s = 1.0
                return await play(blind, batch(1, 0, 150), Tally())

    kinds = {finding.kind for finding in asyncio.run(run())}
    assert kinds >= {
        "bytes to an upstream that are no request",
        "bytes to a client that are no answer",
        "a request that was not sent",
    }
