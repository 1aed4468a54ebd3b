"""Every doubt is raised when its cause is there, is not when it is not, and spoils what it is about."""

from functools import partial
from itertools import count

import pytest

from results.build import build
from tests.results.synthetic import SETTINGS, World, claim, shipped, write_record

FREE = {**SETTINGS, "platform_cores": [1, 2, 3, 4, 5, 6]}
Steady = partial(World, faults=False)
CLAIMS = [shipped("latency-ratio"), shipped("throughput-ratio"), shipped("network-hops"), shipped("figures-consistent")]


@pytest.fixture
def run(tmp_path):
    numbers = count()

    def compute(world):
        results = build(write_record(tmp_path / str(next(numbers)), world))
        names = {doubt.name: doubt for doubt in results.doubts}
        return results, names, {verdict.claim.id: verdict.finding.verdict for verdict in results.verdicts}

    return compute


def test_a_good_run_has_no_fatal_doubt(run):
    results, names, words = run(
        Steady(
            claims=CLAIMS,
            settings=FREE,
            steady_blocks=8,
            open_requests=300,
        )
    )
    assert (results.valid, names) == (True, {})
    assert set(words.values()) == {"confirmed"}


@pytest.mark.parametrize(
    ("world", "name"),
    [
        (Steady(claims=CLAIMS, achieved_share=0.9), "rate not achieved"),
        (Steady(claims=CLAIMS, error_share=0.05), "errors without a fault"),
        (Steady(claims=CLAIMS, dropped=3), "in-flight cap hit"),
        (Steady(claims=CLAIMS, dropped=3, dropped_origin="internal"), "internal flows not started"),
    ],
)
def test_a_spoiled_load_makes_the_run_invalid(run, world, name):
    results, names, words = run(world)
    assert names[name].fatal
    assert not results.valid
    assert words["latency-ratio"] == words["throughput-ratio"] == "invalid"
    assert words["figures-consistent"] == "confirmed"  # arithmetic needs no load
    assert words["network-hops"] == "confirmed"  # a hop is a hop, however late


@pytest.mark.parametrize("origin", ["external", "internal"])
def test_what_is_dropped_while_warming_up_spoils_nothing(run, origin):
    results, names, _ = run(Steady(claims=CLAIMS, dropped=3, dropped_origin=origin, dropped_window="warmup"))
    assert results.valid
    assert not any(doubt.fatal for doubt in names.values())


def test_a_busy_generator_counts_where_no_closed_loop_keeps_it_busy(run):
    keep = lambda t: not t.fault or t.fault == "crash:user"  # noqa: E731
    assert run(World(claims=CLAIMS, busy_share=0.99, keep=keep, fault_requests=100))[1]["generator busy"].fatal
    assert "generator busy" not in run(Steady(claims=CLAIMS, busy_share=0.99))[1]


def test_a_generator_at_its_limit_spoils_closed_loop_throughput_only(run):
    reads = {"metric": "saturation_throughput", "numerator": "direct", "denominator": "gateway"}
    full = claim(kind="ratio", reads=reads, band={"low": 2.25, "high": 2.75})
    results, names, words = run(Steady(claims=[*CLAIMS, full], generator_at_saturation=0.97))
    assert names["generator busy at saturation"].fatal
    assert results.valid
    assert (words["it"], words["throughput-ratio"], words["latency-ratio"]) == ("invalid", "confirmed", "confirmed")


def test_a_late_generator_spoils_the_claims_it_is_too_late_for(run):
    far = claim(
        kind="ratio",
        reads={
            "metric": "flow_latency_mean", "flow": "all external", "numerator": "gateway", "denominator": "direct",
        },
        band={"low": 2, "high": 3},
    )  # fmt: skip
    _, names, words = run(Steady(claims=[*CLAIMS, far], slip_p99_us=150))
    assert (words["it"], words["latency-ratio"], words["throughput-ratio"]) == ("invalid", "confirmed", "confirmed")
    assert names["generator late"].about == "claim:it"
    _, _, words = run(Steady(claims=CLAIMS, slip_p99_us=2000))
    assert words["latency-ratio"] == "invalid"


def test_a_doubt_of_many_claims_is_shown_once(run):
    results, names, words = run(Steady(claims=[shipped("latency-ratio"), shipped("hop-saved")], slip_p99_us=3000))
    assert [doubt.name for doubt in results.doubts].count("generator late") == 1
    assert names["generator late"].about == "claim:latency-ratio; claim:hop-saved"
    assert set(words.values()) == {"invalid"}


def test_a_null_control_that_is_off_spoils_its_metric(run):
    _, names, words = run(Steady(claims=CLAIMS, null_factor=1.2))
    assert names["null control off"].fatal
    assert words["latency-ratio"] == words["throughput-ratio"] == "invalid"
    assert words["network-hops"] == "confirmed"


def test_a_null_control_off_by_little_is_no_doubt(run):
    _, names, _ = run(Steady(claims=CLAIMS, null_factor=1.03, noise=0.002))
    assert "null control off" not in names


@pytest.mark.parametrize(("bad", "fatal"), [(1, False), (4, True)])
@pytest.mark.parametrize("state", ["void", "failed"])
def test_unusable_trials_are_fatal_above_a_fifth(run, bad, fatal, state):
    results, names, _ = run(Steady(claims=CLAIMS, searches=False, state=lambda t: state if t.index < bad else "done"))
    assert names["unusable trials"].fatal is fatal
    assert results.valid is not fatal
    assert len(results.design.left_out) == bad


def test_an_interrupted_run_says_so(run):
    results, names, words = run(Steady(claims=CLAIMS, searches=False, keep=lambda t: t.index < 9))
    assert names["interrupted"].value == pytest.approx(7 / 16)
    assert results.valid
    assert words["latency-ratio"] == "confirmed"


def test_an_unsteady_window_is_left_out(run):
    results, names, _ = run(Steady(claims=CLAIMS, drift=2.5))
    assert names["unsteady window"].value == 1
    assert "hybrid" in next(iter(results.design.left_out))
    assert "unsteady window" not in run(Steady(claims=CLAIMS, drift=1.1))[1]


def test_few_blocks_are_named(run):
    assert "quick profile" in run(Steady(claims=CLAIMS))[1]["few blocks"].advice


@pytest.mark.parametrize("state", ["done", "void"])
def test_a_fault_that_was_not_seen_does_not_count(run, state):
    world = World(
        claims=[shipped("gateway-down-all"), shipped("network-hops")],
        observed=False,
        keep=lambda t: not t.fault or (t.fault == "crash:gateway" and t.mode == "gateway"),
        state=lambda t: state if t.fault else "done",
        fault_requests=200,
    )
    results, names, words = run(world)
    assert names["fault not observed"].fatal
    assert words == {"gateway-down-all": "invalid", "network-hops": "confirmed"}
    assert results.impacts == ()


def test_one_core_is_named_unless_the_harness_did(run):
    _, names, _ = run(Steady(claims=[]))
    assert not names["platform_cores_shared"].fatal
    assert "throughput ratio equals" in names["platform_cores_shared"].advice
    assert "platform_cores_shared" not in run(Steady(claims=[], settings={"platform_cores": [1, 2, 3]}))[1]


def test_the_hosts_doubts_are_passed_on(run):
    recorded = {"name": "steal_time", "fatal": True, "value": 0.3, "limit": 0.02, "advice": "quieter host"}
    world = Steady(claims=CLAIMS, environment={"doubts": [recorded, "nonsense"], "probes": {"steal_share": 0.3}})
    results, names, words = run(world)
    assert [doubt.name for doubt in results.doubts].count("steal_time") == 1
    assert (names["steal_time"].fatal, results.valid, words["latency-ratio"]) == (True, False, "invalid")


def test_steal_time_is_read_from_the_probes(run):
    _, names, _ = run(Steady(claims=[], environment={"probes": {"steal_share": 0.3}}))
    assert names["steal_time"].value == 0.3


def test_doubts_of_void_trials_are_named(run):
    _, names, _ = run(Steady(searches=False, claims=[], state=lambda t: "void" if t.index == 3 else "done"))
    assert "1 of 16 trials" in names["made void"].advice
