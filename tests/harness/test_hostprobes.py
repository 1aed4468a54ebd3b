"""What doctor reads from the system, against made-up systems, and what it measures, for its shape."""

import pytest

from harness import hostprobes
from harness.cpu import usable_cores
from harness.hostprobes import Quota


def _system(root, **files):
    for path, text in files.items():
        place = root / path.replace("__", "/").replace("_dot_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def _quota(tmp_path, cgroup, **files):
    (tmp_path / "cgroup").write_text(cgroup)
    return hostprobes.cpu_quota(tmp_path / "cgroup", _system(tmp_path / "fs", **files))


def test_the_tightest_quota_on_the_way_up_counts(tmp_path):
    found = _quota(
        tmp_path,
        "0::/a/b\n",
        cpu_dot_max="max 100000",
        a__cpu_dot_max="150000 100000",
        a__b__cpu_dot_max="400000 100000",
    )
    assert found == Quota(1.5, tmp_path / "fs" / "a" / "cpu.max")


def test_a_container_sees_its_quota_at_the_root(tmp_path):
    assert _quota(tmp_path, "0::/\n", cpu_dot_max="50000 100000").cpus == 0.5


def test_the_older_hierarchy_is_read_as_well(tmp_path):
    files = {"cpu__a__cpu_dot_cfs_quota_us": "150000\n", "cpu__a__cpu_dot_cfs_period_us": "100000\n"}
    assert _quota(tmp_path, "3:cpu,cpuacct:/a\n2:memory:/a\n", **files).cpus == 1.5
    files["cpu__a__cpu_dot_cfs_quota_us"] = "-1\n"
    assert _quota(tmp_path, "3:cpu,cpuacct:/a\n", **files) is None


def test_no_limit_is_none(tmp_path):
    assert _quota(tmp_path, "0::/a\n", a__cpu_dot_max="max 100000\n") is None
    assert hostprobes.cpu_quota(tmp_path / "nothing", tmp_path) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"devices__system__cpu__intel_pstate__no_turbo": "0\n"}, True),
        ({"devices__system__cpu__intel_pstate__no_turbo": "1\n"}, False),
        ({"devices__system__cpu__cpufreq__boost": "1\n"}, True),
        ({"devices__system__cpu__cpufreq__boost": "0\n"}, False),
    ],
)
def test_turbo_is_read_where_it_can_be_seen(tmp_path, files, expected):
    assert hostprobes.turbo(_system(tmp_path, **files)) is expected


def test_the_clock_source_is_the_kernels_word(tmp_path):
    assert hostprobes.clock_source(tmp_path) is None
    files = {"devices__system__clocksource__clocksource0__current_clocksource": "hpet\n"}
    assert hostprobes.clock_source(_system(tmp_path, **files)) == "hpet"


@pytest.mark.parametrize("probe", [hostprobes.sleep_lateness, hostprobes.poll_lateness, hostprobes.spin_lateness])
def test_waits_are_late_and_never_early(probe):
    late = probe(5)
    assert 0 <= late.p50_us <= late.p99_us


def test_a_reading_of_the_clock_costs_something():
    assert hostprobes.clock_cost_ns(100) > 0


def test_pinning_is_given_back():
    before = usable_cores()
    with hostprobes.pinned(before[:1]) as works:
        assert usable_cores() == (before[:1] if works else before)
    assert usable_cores() == before
