"""The access log: its lines, its batches, and what becomes of it when it cannot be written."""

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime
from unittest import mock

import pytest

from gateway_proxy.features.accesslog import AccessLog
from tests.gateway_proxy.exchanges import MS, ended, exchange_of

WALL_NS = 1_700_000_000_123_456_789  # 2023-11-14T22:13:20.123Z


class Rig:
    def __init__(self, tmp_path, flush_s=1.0):
        self.path = tmp_path / "access.log"
        self.wall_ns = WALL_NS
        clock = {"wall_ns": lambda: self.wall_ns, "clock_ns": lambda: 0}
        self.log = AccessLog(str(self.path), flush_s, **clock)

    def add(self, exchange=None, **outcome):
        self.log(ended(exchange or exchange_of(), **outcome))

    def lines(self):
        self.log.flush()
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    def close(self):
        self.log.close()


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_line_says_everything_about_an_exchange(rig):
    outcome = {
        "began_ns": 1 * MS,
        "ended_ns": 11 * MS + 500_000,
        "upstream_ns": 9 * MS,
        "status": 200,
        "body_bytes": 1234,
        "attempts": 2,
        "upstream": "user",
        "address": "127.0.0.1:1",
        "request_id": b"abc",
        "outcome": "ok",
    }
    rig.add(exchange_of(method="POST", target="/a/b?secret=1", peer="10.0.0.9"), **outcome)
    (line,) = rig.lines()
    assert line == {
        "time": "2023-11-14T22:13:20.134Z",
        "client": "10.0.0.9",
        "method": "POST",
        "path": "/a/b",
        "status": 200,
        "bytes": 1234,
        "duration_ms": 10.5,
        "gateway_ms": 1.5,
        "upstream_ms": 9.0,
        "attempts": 2,
        "request_id": "abc",
        "upstream": "user",
        "target": "127.0.0.1:1",
        "route": "a",
        "outcome": "ok",
    }


def test_times_are_rfc_3339_across_seconds_and_days(rig):
    until_midnight_ns = 86_400_000 * MS - WALL_NS % (86_400_000 * MS)
    ends = [0, 876 * MS, 877 * MS, 876 * MS, until_midnight_ns - 1, until_midnight_ns]
    for end_ns in ends:
        rig.add(ended_ns=end_ns)
    for line, end_ns in zip(rig.lines(), ends, strict=True):
        read = datetime.fromisoformat(line["time"])
        assert read.tzinfo == UTC
        assert round(read.timestamp() * 1000) == (WALL_NS + end_ns) // MS


def test_a_step_of_the_wall_clock_is_followed_after_the_next_batch(rig):
    rig.add()
    rig.lines()
    rig.wall_ns += 3_600_000 * MS
    rig.log.flush()
    rig.add()
    assert rig.lines()[1]["time"] == "2023-11-14T23:13:20.123Z"


@pytest.mark.parametrize("target", ['/"', "/\\", '/\\",\\"', "/\xe9\xff", "/\x80%00", "/a'b<>{}|^`"])
def test_whatever_a_client_sends_stays_in_its_place(rig, target):
    for name in ("target", "request_id", "peer"):
        exchange = exchange_of()
        setattr(exchange, name, target.encode("latin-1"))
        rig.add(exchange)
    path, request_id, client = rig.lines()
    assert (path["path"], request_id["request_id"], client["client"]) == (target,) * 3


def test_no_byte_breaks_a_line(rig):
    for byte in range(256):
        exchange = exchange_of()
        exchange.target = b"/" + bytes([byte])
        rig.add(exchange)
    assert [line["path"] for line in rig.lines()] == [f"/{chr(byte)}".rstrip("?") for byte in range(256)]


def test_names_with_quotes_are_escaped_as_well(rig):
    rig.add(exchange_of(route='r"\\é'))
    assert rig.lines()[0]["route"] == 'r"\\é'


def test_lines_are_written_in_one_batch_when_they_are_due(rig):
    with mock.patch("os.write", wraps=os.write) as write:
        for _ in range(5):
            rig.add()
        assert rig.path.read_bytes() == b""
        rig.log.flush_if_due(10.0)
        rig.add()
        rig.log.flush_if_due(10.9)
        assert write.call_count == 1
        rig.log.flush_if_due(11.0)
        rig.log.flush_if_due(12.0)
        assert write.call_count == 2
    assert len(rig.lines()) == 6


def test_many_lines_are_written_before_they_are_due(rig):
    with mock.patch("os.write", wraps=os.write) as write:
        for _ in range(2000):
            rig.add()
    assert all(65536 <= len(call.args[1]) < 66536 for call in write.call_args_list)
    assert len(rig.lines()) == 2000


def test_it_appends_and_only_its_owner_and_group_may_read(tmp_path):
    (tmp_path / "access.log").write_bytes(b'{"old":1}\n')
    rig = Rig(tmp_path)
    rig.add()
    assert rig.lines()[0] == {"old": 1}
    rig.close()
    rig.path.unlink()
    rig = Rig(tmp_path)
    assert not stat.S_IMODE(rig.path.stat().st_mode) & 0o027
    rig.close()


def test_after_a_rotation_it_goes_on_in_a_new_file(rig, tmp_path):
    rig.add()
    rig.path.rename(tmp_path / "old")
    rig.log.reopen()
    rig.add(status=201)
    assert [line["status"] for line in rig.lines()] == [201]
    assert len((tmp_path / "old").read_bytes().splitlines()) == 1


def test_if_the_new_file_cannot_be_opened_it_goes_on_in_the_old_one(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    rig = Rig(folder)
    folder.rename(tmp_path / "moved")
    rig.log.reopen()
    rig.add()
    rig.log.flush()
    assert rig.log.write_errors == 1
    assert (tmp_path / "moved" / "access.log").read_bytes().count(b"\n") == 1
    rig.close()


def test_a_full_disk_is_counted_and_what_waits_is_written_later(rig):
    with mock.patch("os.write", side_effect=OSError(errno.ENOSPC, "full")) as write:
        for _ in range(1000):
            rig.add()
        assert write.call_count == 1, "it is the sweep's turn to try again"
        rig.log.flush()
        assert rig.log.write_errors == 2
    assert len(rig.lines()) == 1000
    assert rig.log.lost_lines == 0


def test_what_waits_is_bounded_and_what_is_lost_is_counted(rig):
    with mock.patch("os.write", side_effect=OSError(errno.EIO, "broken")):
        for _ in range(6000):
            rig.add()
        assert rig.log._held_bytes <= 1 << 20
    written = len(rig.lines())
    assert 2000 < written < 6000
    assert written + rig.log.lost_lines == 6000


def test_a_batch_that_is_taken_in_part_goes_on_where_it_ended(rig):
    whole = os.write
    with mock.patch("os.write", side_effect=lambda fd, data: whole(fd, data[:100])):
        for _ in range(3):
            rig.add()
        rig.log.flush()
    rig.add()
    assert len(rig.lines()) == 4


def test_a_file_that_cannot_be_opened_at_start_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        AccessLog(str(tmp_path / "none" / "access.log"), 1.0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        AccessLog(str(tmp_path / "pipe"), 1.0)
