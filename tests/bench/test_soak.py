"""The soak's judgement is tested on made-up runs: it must be able to fail."""

from dataclasses import replace

import pytest

from tests.bench.soak import Sample, Soak, Stretch, holds, limits, page

MINUTE = Stretch(requests=300_000, slip_p99_us=80.0, latency_p99_ms=0.4, cpu_share=0.30)
IDLE = 20_000_000
FINE = Soak(
    rate=5000,
    seconds=600.0,
    outcomes={"ok": 3_000_000, "not ok": 0},
    busy_share=0.4,
    idle_bytes=IDLE,
    samples=[
        Sample(-0.1, IDLE),
        *(Sample(5.0 * n, IDLE + 93_000_000) for n in range(1, 120)),
        Sample(601, 200_000_000),
    ],
    first=MINUTE,
    last=MINUTE,
)


def test_an_engine_that_neither_slows_nor_grows_is_fine():
    assert FINE.bytes_a_request == 60
    assert FINE.growth_bytes == 0
    assert holds(FINE)
    assert "**not met**" not in page(FINE, "somewhere")


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({"outcomes": {"ok": 2_999_999, "not ok": 1}}, "requests not answered well"),
        ({"samples": [*FINE.samples, Sample(601.1, 330_000_000)]}, "bytes of memory a request, at its peak"),
        ({"samples": [*FINE.samples[:-1], Sample(599.0, 120_000_000)]}, "bytes of growth a request, second half"),
        ({"last": replace(MINUTE, cpu_share=0.34)}, "CPU time a request, last minute / first"),
        ({"last": replace(MINUTE, slip_p99_us=251.0)}, "slip p99 of the last minute, us"),
    ],
)
def test_each_limit_can_be_missed_alone(changed, limit):
    soak = replace(FINE, **changed)
    missed = [name for name, (value, most) in limits(soak).items() if value > most]
    assert missed == [limit]
    assert not holds(soak)
    assert "**not met**" in page(soak, "somewhere")
