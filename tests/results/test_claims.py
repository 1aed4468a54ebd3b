"""Every claim kind says what is true of a world, both ways, and `inconclusive` or `invalid` where it must."""

from dataclasses import replace
from functools import partial

import pytest

from results.build import build
from results.claims import KINDS, ClaimProblem
from results.judge import check_claims
from scenarios.model import Scenario
from tests.results.synthetic import MODES as ALL_MODES
from tests.results.synthetic import SCENARIO, World, claim, crash_fate, shipped, write_record

Steady = partial(World, faults=False)
Idle = partial(Steady, searches=False, steady_blocks=1, open_requests=20, saturation_requests=20)


def one(judged, world):
    (finding,) = judged(world).values()
    return finding


def crashes(modes, targets, **more):
    """A world with the fault trials of these modes and targets only."""

    def keep(trial):
        return not trial.fault or (trial.mode in modes and trial.fault.partition(":")[2] in targets)

    return World(keep=keep, **more)


RATIO = shipped("latency-ratio")


@pytest.mark.parametrize(
    ("factor", "word"), [(2.5, "confirmed"), (1.2, "refuted"), (4.0, "refuted"), (2.0, "inconclusive")]
)
def test_ratio(judged, factor, word):
    finding = one(judged, Steady(claims=[RATIO], latency={"gateway": factor}))
    assert finding.verdict == word
    assert finding.measured.point == pytest.approx(factor, rel=0.1)
    assert finding.measured.low < finding.measured.point < finding.measured.high


@pytest.mark.parametrize(
    ("factor", "cores", "word"),
    [(1.0, 1, "confirmed"), (1.5, 1, "invalid"), (1.5, 6, "refuted"), (0.6, 1, "refuted")],
)
def test_a_slower_call_on_the_same_path_counts_only_where_processes_do_not_share_cores(judged, factor, cores, word):
    world = Steady(claims=[shipped("hybrid-best-internal")], latency={"gateway": 2.5, "hybrid": factor}, noise=0.01)
    finding = one(judged, replace(world, environment={**world.environment, "platform_cores": list(range(cores))}))
    assert finding.verdict == word


def test_noise_is_inconclusive_and_says_how_many_more_blocks(judged):
    finding = one(judged, Steady(claims=[RATIO], noise=0.25, seed=3))
    assert finding.verdict == "inconclusive"
    assert finding.more_blocks > 0
    assert f"{finding.more_blocks} more block" in finding.why


def test_a_throughput_ratio_may_stand_the_other_way_round(judged):
    shown = [shipped("throughput-ratio")]
    assert one(judged, Steady(claims=shown, throughput={"gateway": 0.4})).verdict == "confirmed"


def test_throughput_that_does_not_fall_refutes(judged):
    assert one(judged, Steady(claims=[shipped("throughput-ratio")], throughput={"gateway": 0.9})).verdict == "refuted"


@pytest.mark.parametrize(("cpu", "word"), [(1.5, "confirmed"), (0.9, "refuted")])
def test_cpu_overhead(judged, cpu, word):
    assert one(judged, Steady(claims=[shipped("cpu-overhead")], cpu={"gateway": cpu})).verdict == word


@pytest.mark.parametrize(("base_ms", "word"), [(8.0, "confirmed"), (1.0, "refuted"), (6.0, "inconclusive")])
def test_absolute(judged, base_ms, word):
    finding = one(judged, Steady(claims=[shipped("latency-direct")], base_ms=base_ms, noise=0.03))
    assert finding.verdict == word  # an internal call takes half of base_ms
    assert finding.measured.unit == "ms"


@pytest.mark.parametrize(("base_ms", "saved", "added"), [(4.0, "confirmed", "refuted"), (10.0, "refuted", "confirmed")])
def test_difference(judged, base_ms, saved, added):
    found = judged(Steady(claims=[shipped("hop-saved"), shipped("hop-added")], base_ms=base_ms))
    assert (found["hop-saved"].verdict, found["hop-added"].verdict) == (saved, added)
    assert "contradicts itself" in found["hop-saved"].why
    assert "both are true only at 5" in found["hop-added"].why


@pytest.mark.parametrize(("demand", "word"), [(1.6, "confirmed"), (0.5, "refuted")])
def test_ordering(judged, demand, word):
    assert one(judged, Steady(claims=[shipped("gateway-bottleneck")], gateway_demand=demand)).verdict == word


@pytest.mark.parametrize(
    ("gateway", "word", "says"),
    [((2,), "confirmed", "gateway 2"), ((1,), "refuted", "gateway 1"), ((1, 2), "refuted", "%")],
)
def test_count(judged, gateway, word, says):
    hops = {"direct": (1,), "gateway": gateway, "hybrid": (1,)}
    finding = one(judged, Steady(claims=[shipped("network-hops")], hops=hops))
    assert finding.verdict == word
    assert says in finding.text


def test_count_without_a_counted_call(judged):
    hops = {"direct": (1,), "gateway": (0,), "hybrid": (1,)}
    assert one(judged, Steady(claims=[shipped("network-hops")], hops=hops)).verdict == "inconclusive"


def routes(direct=0, gateway=2, hybrid=0):
    counts = {"direct": direct, "gateway": gateway, "hybrid": hybrid}
    return {mode: ({}, {"internal_routes": count}) for mode, count in counts.items()}


@pytest.mark.parametrize(
    ("tried", "word", "says"),
    [
        (routes(), "confirmed", "gateway: 2 in 1 configuration, 2 expected"),
        (routes(gateway=1), "refuted", "gateway: 1 in 1 configuration, 2 expected"),
        (routes(hybrid=2), "refuted", "hybrid: 2 in 1 configuration, 0 expected"),
        ({}, "inconclusive", "not counted"),
    ],
)
def test_a_count_by_name_is_resolved_against_the_scenario(judged, tried, word, says):
    finding = one(judged, Idle(claims=[shipped("gateway-knows-routes")], tried=tried))
    assert finding.verdict == word
    assert says in finding.why


def edits(direct=4, gateway=1, hybrid=4):
    counts = {"direct": direct, "gateway": gateway, "hybrid": hybrid}
    tallies = {mode: {"edited_places:user": count, "edited_lines:user": count + 1} for mode, count in counts.items()}
    return {mode: ({}, found) for mode, found in tallies.items()}


@pytest.mark.parametrize(
    ("tried", "word"),
    [
        (edits(), "confirmed"),
        (edits(gateway=2), "refuted"),
        (edits(direct=3), "refuted"),
        (edits(hybrid=9), "confirmed"),  # is shown, and has no vote
        ({"gateway": edits()["gateway"]}, "inconclusive"),
    ],
)
def test_edits(judged, tried, word):
    finding = one(judged, Idle(claims=[shipped("move-a-service")], tried=tried))
    assert finding.verdict == word
    assert finding.why.endswith("No live move counts in this run.")
    assert {part["mode"] for part in finding.details} == {"direct", "gateway", "hybrid"}


def test_what_a_live_move_lost_stands_beside_the_edits_and_decides_nothing(judged):
    lost = (("login", 100, "error"), ("login", 200, "ok"), ("register", 300, "ok"))
    moved = {"gateway": lost[1:], "direct": lost}
    finding = one(judged, Idle(claims=[shipped("move-a-service")], tried=edits(), moved=moved))
    assert finding.verdict == "confirmed"
    assert "gateway 0 of 2 requests lost, gateway reloaded" in finding.why
    assert "direct 1 of 3 requests lost (longest gap of a flow 100 ms), auth and course restarted" in finding.why


ASKED = {
    "ask_up": 200,
    "ask_up_no_token": 401,
    "ask_down": 503,
    "ask_down_no_token_needed": 200,
    "ask_before": 503,
    "ask_before_no_token_needed": 0,
    "ask_back": 200,
    "local_down": 200,
    "local_before": 200,
    "local_up_no_token": 401,
}


def cycle(**changed):
    """A gateway of which both halves of the claim are true, but for what is changed."""
    return {"gateway": ({name: (status,) for name, status in (ASKED | changed).items()}, {})}


@pytest.mark.parametrize(
    ("tried", "word", "says"),
    [
        (cycle(), "confirmed", ("while auth is down: confirmed", "start before auth: confirmed", "cycle: confirmed")),
        (cycle(ask_down=200), "refuted", ("while auth is down: refuted (0 of 1", "start before auth: confirmed")),
        (
            cycle(ask_before_no_token_needed=200),
            "refuted",
            ("while auth is down: confirmed", "start before auth: refuted (0 of 1 as it says; GET /ask_before_no"),
        ),
        (cycle(local_before=503), "confirmed", ("Beside it: Checking locally breaks the cycle: refuted (2 of 3",)),
        (cycle(ask_up_no_token=404), "inconclusive", ("Nothing is settled, for a control failed: It is the gateway",)),
        (cycle(ask_up=503), "inconclusive", ("Nothing is settled",)),
        (
            {},
            "inconclusive",
            ("Not asked in this run: ask_down in gateway and ask_before_no_token_needed in gateway.",),
        ),
    ],
)
def test_the_two_halves_of_a_bootstrap_cycle_are_told_apart(judged, tried, word, says):
    finding = one(judged, Idle(claims=[shipped("bootstrap-cycle")], tried=tried))
    assert finding.verdict == word
    assert [text for text in says if text not in finding.why] == []


LIMITED = {"within_limit": 200, "over_limit": 429, "good_token": 200, "internal_call": 200}
DEAD = {"no_token_services_down": 401, "bad_token_services_down": 401, "good_token_services_down": 502}
PLACES = {"places_refusing_tokens": 1, "places_limiting_rates": 1}


def limits(mode="hybrid", places=(), **changed):
    """A platform of which the claim is true, but for what is changed in one mode."""
    found = dict.fromkeys(("gateway", "hybrid"), (LIMITED | DEAD, PLACES))
    found["direct"] = ({"over_limit": 200, "internal_call": 200}, {"places_refusing_tokens": 3})
    asked, counted = found[mode]
    found[mode] = (asked | changed, counted | dict(places))
    return {name: ({probe: (status,) for probe, status in a.items()}, c) for name, (a, c) in found.items()}


@pytest.mark.parametrize(
    ("tried", "word", "says"),
    [
        (limits(), "confirmed", "Beside it: Without a gateway nobody limits rates: confirmed"),
        (limits(over_limit=200), "refuted", "Over the limit: refuted"),
        (limits(bad_token_services_down=502), "refuted", "Services do not see them: refuted"),
        (limits(places={"places_limiting_rates": 4}), "refuted", "places limiting rates: 4 (4 of them) (hybrid)"),
        (limits(within_limit=429), "inconclusive", "a control failed: What is within the limit is answered"),
        (limits(good_token_services_down=200), "inconclusive", "a control failed: The services are dead"),
        (limits("direct", internal_call=403), "confirmed", "Beside it: Calls between services, where they do not"),
    ],
)
def test_limits_at_one_place(judged, tried, word, says):
    finding = one(judged, Idle(claims=[shipped("central-limits")], tried=tried))
    assert finding.verdict == word
    assert says.lower() in finding.why.lower()


def test_a_finding_says_which_gateway_stood_in_for_the_runs_own_and_its_scope_does(tmp_path):
    world = Idle(claims=[shipped("bootstrap-cycle")], tried=cycle(), used_gateway="other")
    (verdict,) = build(write_record(tmp_path, world)).verdicts
    assert verdict.finding.why.endswith("Tried with other as the gateway.")
    assert verdict.scope["gateway"] == "other"


@pytest.mark.parametrize(("replicas", "said"), [(1, False), (2, True)])
def test_several_instances_of_a_gateway_are_said_to_count_each_for_itself(judged, replicas, said):
    world = Idle(claims=[shipped("central-limits")], tried=limits(), gateway_replicas=replicas)
    finding = one(judged, world)
    assert ("each counts for itself" in finding.why) == said


@pytest.mark.parametrize(("status", "word"), [(403, "confirmed"), (200, "refuted")])
def test_behaviour(judged, status, word):
    probes = {"internal_without_key": status, "internal_with_key": 200}
    finding = one(judged, Steady(claims=[shipped("internal-key")], probe_status=probes))
    assert finding.verdict == word
    assert word == "confirmed" or "answered 200" in finding.why


def test_behaviour_that_was_not_asked(judged):
    finding = one(judged, Steady(claims=[shipped("internal-unreachable")], probe_status={}))
    assert finding.verdict == "inconclusive"
    assert "internal_through_gateway" in finding.why


@pytest.mark.parametrize(("seconds", "word"), [([4000, 4000], "confirmed"), ([200, 200], "refuted")])
def test_littles_law(judged, seconds, word):
    pairs = [
        {"name": "direct", "throughput_per_s": [5000, 5000], "latency_ms": [3, 5]},
        {"name": "gateway", "throughput_per_s": seconds, "latency_ms": [4, 8]},
    ]
    finding = one(judged, Steady(claims=[claim(kind="littles_law", reads={"pairs": pairs})]))
    assert finding.verdict == word
    assert word == "refuted" or ("16 to 25" in finding.why and "one finding" in finding.why)


def test_not_testable(judged):
    found = judged(Steady(claims=[shipped("gateway-ha"), claim(kind="ratio", not_testable="no load reaches it")]))
    assert {finding.verdict for finding in found.values()} == {"not testable"}
    assert "No load reaches it." in found["it"].why


def leaf_takes_register(mode, target, flow):
    if target == "notification" and flow["name"] == "register":
        return "ok", "missing"
    return crash_fate(mode, target, flow)


@pytest.mark.parametrize(("fate", "word"), [(crash_fate, "confirmed"), (leaf_takes_register, "refuted")])
def test_blast_radius(judged, fate, word):
    expect = [{"mode": "direct", "targets": ["notification"], "is": "isolated"}]
    shown = [claim(kind="blast_radius", reads={"fault": "crash", "expect": expect})]
    finding = one(judged, crashes({"direct"}, {"notification"}, claims=shown, fate=fate))
    assert finding.verdict == word
    assert word == "confirmed" or "register is degraded" in finding.why


def test_blast_radius_with_few_requests_is_open(judged):
    expect = [{"mode": "direct", "targets": ["notification"], "is": "isolated"}]
    shown = [claim(kind="blast_radius", reads={"fault": "crash", "expect": expect})]
    finding = one(judged, crashes({"direct"}, {"notification"}, claims=shown, fault_requests=200))
    assert finding.verdict == "inconclusive"
    assert finding.more_blocks > 2


@pytest.mark.parametrize(("mode", "word"), [("gateway", "confirmed"), ("direct", "refuted")])
def test_system_wide(judged, mode, word):
    expect = [{"mode": mode, "targets": ["gateway"], "is": "system-wide"}]
    shown = [claim(kind="blast_radius", reads={"fault": "crash", "expect": expect})]
    assert one(judged, crashes({mode}, {"gateway"}, claims=shown)).verdict == word


def everything_fails(mode, target, flow):
    return "error", "none"


@pytest.mark.parametrize(("fate", "word"), [(crash_fate, "confirmed"), (everything_fails, "refuted")])
def test_unaffected(judged, fate, word):
    shown = [shipped("gateway-down-internal")]
    world = crashes({"direct", "hybrid"}, {"gateway"}, claims=shown, fate=fate)
    assert one(judged, world).verdict == word


def test_unaffected_with_few_requests_says_how_many_more_blocks(judged):
    shown = [shipped("gateway-down-internal")]
    finding = one(judged, crashes({"direct", "hybrid"}, {"gateway"}, claims=shown, fault_requests=300))
    assert finding.verdict == "inconclusive"
    assert f"{finding.more_blocks} more fault block" in finding.why


def gateway_harmless(mode, target, flow):
    return ("ok", "met" if flow.get("effects") else "none") if target == "gateway" else crash_fate(mode, target, flow)


@pytest.mark.parametrize(("fate", "word"), [(crash_fate, "refuted"), (gateway_harmless, "confirmed")])
def test_no_single_point(judged, fate, word):
    finding = one(judged, World(claims=[shipped("hybrid-no-spof")], fate=fate, keep=lambda t: t.mode == "hybrid"))
    assert finding.verdict == word
    assert word == "confirmed" or "gateway (100 %)" in finding.why


def pair(fate=gateway_harmless, **more):
    """A world with two gateway instances, one of which is crashed; only what the claim about them needs."""
    fields = {"claims": [shipped("gateway-ha")], "gateway_replicas": 2, "fault_blocks": 4, "fault_requests": 2000}
    fields |= {"searches": False, "open_requests": 200, "saturation_requests": 10}
    return crashes(set(ALL_MODES), {"gateway"}, fate=fate, **{**fields, **more})


def bystander_fails(mode, target, flow):
    """In hybrid mode internally started work does not pass the gateway; in direct mode nothing does."""
    aside = mode == "direct" or (mode == "hybrid" and flow["origin"] == "internal")
    return ("error", "none") if aside else gateway_harmless(mode, target, flow)


def one_flow_fails(mode, target, flow):
    return ("error", "none") if flow["name"] == "login" else gateway_harmless(mode, target, flow)


@pytest.mark.parametrize(
    ("world", "word", "says"),
    [
        (
            pair(lost_at_kill=5),
            "confirmed",
            "all flows that pass the gateway in gateway and hybrid mode lose at most 1 %",
        ),
        (pair(fate=bystander_fails), "confirmed", "In direct mode nothing passes the gateway"),
        (pair(fate=crash_fate), "refuted", "register in gateway mode (100 %, up to 100 %)"),
        (pair(lost_while_down=0.08), "refuted", "these lose more"),
        (pair(fate=one_flow_fails), "refuted", "these lose more: login in gateway mode"),
        (pair(fault_requests=300), "inconclusive", "more fault block"),
    ],
)
def test_failover(judged, world, word, says):
    finding = one(judged, world)
    assert finding.verdict == word
    assert says in finding.why
    assert "In hybrid mode study_reminders and progress_sync do not pass the gateway" in finding.why
    assert {part["mode"]: len(part["flows"]) for part in finding.details} == {"gateway": 8, "hybrid": 6}


def test_failover_says_what_it_cost(judged):
    finding = one(judged, pair(lost_at_kill=5, failed_connects=3))
    assert "What failing over cost: in gateway mode 20 of " in finding.why
    for part in finding.details:
        assert (part["lost"], part["crashes"], part["connects_failed"]) == (4 * 5, 4, 4 * 2 * 3)
        assert part["lost_per_1000"] == pytest.approx(1000 * 20 / part["at_stake"])
        assert (part["lost_per_1000_without_crash"], part["lost_after_restart"]) == (0, 0)
        assert part["back_in_band_s"] == 0


def test_failover_that_never_ends_is_not_seen_to_end(judged):
    finding = one(judged, pair(fate=crash_fate, recovers=False))
    assert [part["back_in_band_s"] for part in finding.details] == [None, None]
    assert [part["not_back_in"] for part in finding.details] == [4, 4]
    assert "goodput back not seen" in finding.why


def test_failover_of_a_single_instance_is_not_testable(judged):
    finding = one(judged, pair(gateway_replicas=1))
    assert finding.verdict == "not testable"
    assert "run with --gateway-replicas 2" in finding.why


def test_failover_without_a_crash_is_open(judged):
    finding = one(judged, pair(faults=False))
    assert finding.verdict == "inconclusive"
    assert "No usable trial" in finding.why


@pytest.mark.parametrize(("weight", "word"), [(0.8, "confirmed"), (0.95, "refuted")])
def test_failover_may_ask_for_a_share_of_the_weight(judged, weight, word):
    """Login is a tenth to an eighth of what passes the gateway."""
    ha = shipped("gateway-ha")
    claims = [{**ha, "reads": {**ha["reads"], "weight": weight}}]
    assert one(judged, pair(fate=one_flow_fails, claims=claims)).verdict == word


def test_a_claim_about_a_gateway_that_is_down_is_not_judged_by_the_crash_of_one_of_two(judged):
    claims = [shipped(name) for name in ("gateway-down-internal", "gateway-down-all", "failure-impact")]
    for finding in judged(pair(claims=claims)).values():
        assert finding.verdict == "not testable"
        assert "of 2 instances the fault hit one: run with --gateway-replicas 1" in finding.why


@pytest.mark.parametrize(("fate", "word"), [(gateway_harmless, "confirmed"), (crash_fate, "refuted")])
def test_one_of_two_instances_is_a_component_that_may_be_a_single_point(judged, fate, word):
    world = World(claims=[shipped("hybrid-no-spof")], fate=fate, keep=lambda t: t.mode == "hybrid", gateway_replicas=2)
    assert one(judged, world).verdict == word


def orphans(mode, target, flow):
    return ("ok", "missing") if flow["name"] == "register" else crash_fate(mode, target, flow)


def refuses(mode, target, flow):
    return ("error", "none") if flow["name"] == "register" and mode == "gateway" else crash_fate(mode, target, flow)


@pytest.mark.parametrize(("fate", "word", "says"), [(orphans, "confirmed", "100 %"), (refuses, "refuted", "gateway")])
def test_survives(judged, fate, word, says):
    world = crashes({"direct", "gateway", "hybrid"}, {"user"}, claims=[shipped("registration-survives")], fate=fate)
    finding = one(judged, world)
    assert finding.verdict == word
    assert says in finding.why


def test_survives_with_few_requests_is_open(judged):
    shown = [shipped("registration-survives")]
    world = crashes({"direct", "gateway", "hybrid"}, {"user"}, claims=shown, fault_requests=200)
    assert one(judged, world).verdict == "inconclusive"


def test_every_kind_is_judged_above():
    assert [kind for kind in KINDS if f"test_{kind}" not in globals()] == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"kind": "prophecy"}, "unknown kind 'prophecy'"),
        ({"kind": "not_testable"}, "says why"),
        ({"kind": "ratio", "band": {"low": 1}, "reads": {"metric": "call_latency_mean"}}, "reads.numerator"),
        ({"kind": "absolute", "reads": {"metric": "call_latency_mean", "mode": "direct"}}, "needs a band"),
        (
            {"kind": "absolute", "band": {"low": 1}, "reads": {"metric": "luck", "mode": "direct"}},
            "'luck' is no metric",
        ),
        ({"kind": "absolute", "band": {"low": 1}, "reads": {"metric": "flow_latency_p50", "mode": "direct"}}, "flow"),
        (
            {
                "kind": "survives",
                "band": {"low": 1},
                "reads": {"fault": "crash", "target": "moon", "flow": "login", "modes": ["direct"]},
            },
            "'moon', which is no component",
        ),
        (
            {
                "kind": "survives",
                "band": {"low": 1},
                "reads": {"fault": "crash", "target": "user", "flow": "nap", "modes": ["direct"]},
            },
            "'nap', which is no flow",
        ),
        (
            {
                "kind": "edits",
                "reads": {"service": "moon", "expect": {"gateway": 1}},
            },
            "'moon', which is no component",
        ),
        ({"kind": "count", "reads": {"metric": "internal_routes", "expect": {"gateway": "many"}}}, "expect.gateway"),
        (
            {
                "kind": "littles_law",
                "reads": {"pairs": [{"name": "a", "throughput_per_s": [2, 1], "latency_ms": [1, 2]}]},
            },
            "reads.pairs",
        ),
    ],
)
def test_a_claim_that_cannot_be_read_is_refused_with_its_name(broken, says):
    scenario = Scenario.model_validate({**SCENARIO, "claims": [claim(**broken)]})
    with pytest.raises(ClaimProblem, match="claim it: ") as problem:
        check_claims(scenario)
    assert says in str(problem.value)


def test_the_built_in_claims_can_all_be_read():
    check_claims(Scenario.model_validate(SCENARIO))


def test_no_verdict_rests_on_few_blocks_outside_the_quick_profile(judged):
    finding = one(judged, Steady(claims=[RATIO], profile="standard"))
    assert finding.verdict == "inconclusive"
    assert "It would be confirmed" in finding.why


def test_eight_blocks_are_enough_outside_the_quick_profile(judged):
    world = Steady(claims=[RATIO], profile="standard", steady_blocks=8, open_requests=300)
    assert one(judged, world).verdict == "confirmed"


def test_one_block_settles_nothing(judged):
    finding = one(judged, Steady(claims=[RATIO], steady_blocks=1))
    assert finding.verdict == "inconclusive"
    assert "no interval" in finding.why
