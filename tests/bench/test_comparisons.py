"""What the benchmarks make of other programs' output, and the words they find for it: tested on made-up figures."""

import itertools
import json
import random
import statistics

import pytest

from results.estimate import Estimate
from tests.bench import agreement, engine_speed, figures, k6, locust_speed, rig, slip, waiting_server
from tests.bench.agreement import Plan, Turn

K6_SUMMARY = {
    "metrics": {
        "http_reqs": {"count": 1201, "rate": 199.9},
        "http_req_failed": {"passes": 0, "fails": 1201, "value": 0},
    }
}
K6_CSV = """\
metric_name,timestamp,metric_value,check,error
http_reqs,1795493012494758946,1.000000,,
http_req_duration,1795493012494758946,2.500000,,
http_req_blocked,1795493012494758946,0.773102,,
http_req_duration,1795493012494000000,20.000000,,
data_sent,1795493012494879070,71.000000,,
"""


def test_k6s_summary_is_read():
    assert k6.read_summary(json.dumps(K6_SUMMARY)) == k6.Summary(1201, 199.9, 0, 0)


def test_what_k6_dropped_and_what_failed_is_read():
    metrics = K6_SUMMARY["metrics"] | {
        "http_req_failed": {"passes": 7, "fails": 1194, "value": 7 / 1201},
        "dropped_iterations": {"count": 3, "rate": 0.5},
    }
    summary = k6.read_summary(json.dumps({"metrics": metrics}))
    assert (summary.failed, summary.dropped) == (7, 3)


def test_a_k6_that_sent_nothing_is_no_result():
    with pytest.raises(ValueError, match="sent no request"):
        k6.read_summary(json.dumps({"metrics": {}}))


def test_k6s_samples_come_in_order_of_their_start_which_is_their_stamp_less_their_duration():
    assert k6.read_samples(K6_CSV.splitlines()) == [
        k6.Sample(1795493012474000000, 20_000_000),
        k6.Sample(1795493012492258946, 2_500_000),
    ]


def _locust(per_second, failures=0):
    entry = {"num_requests": sum(per_second.values()), "num_failures": failures, "num_reqs_per_sec": per_second}
    return json.dumps([entry])


def test_locusts_rate_leaves_its_first_and_last_second_out_and_a_silent_second_in():
    assert locust_speed.read_rate(_locust({"100": 5, "101": 300, "103": 150, "104": 9})) == 150


@pytest.mark.parametrize("per_second", [{}, {"100": 5}, {"100": 5, "101": 5}])
def test_a_locust_that_ran_for_no_whole_second_is_no_result(per_second):
    with pytest.raises(ValueError, match="less than one whole second"):
        locust_speed.read_rate(_locust(per_second))


def test_failures_of_locust_are_not_counted_as_speed():
    with pytest.raises(ValueError, match="2 of Locust's 900"):
        locust_speed.read_rate(_locust({"100": 300, "101": 300, "102": 300}, failures=2))


def test_everyone_is_first_equally_often():
    orders = [rig.rotated("abc", number) for number in range(6)]
    for place in range(3):
        assert sorted(order[place] for order in orders) == sorted("aabbcc")


def test_the_speed_table_judges_the_median_of_the_paired_ratios():
    def one(engine):
        return dict.fromkeys(engine_speed.CONTENDERS, 1000.0) | {"native engine": engine}

    rows = engine_speed.table([one(600), one(750), one(2600)]).splitlines()
    judged = {row.split(" | ")[0].removeprefix("| "): row for row in rows if "paired" in row}
    assert "0.75 | 0.60 | 2.60 | 0.7 | met (2/3) |" in judged["native engine / h2load --h1, paired"]
    assert "| 2.5 | **not met** (1/3) |" in judged["native engine / k6, paired"]
    assert "| 10 | **not met** (0/3) |" in judged["native engine / Locust's FastHttpUser, paired"]


def test_the_slip_table_judges_the_median_p99():
    def one(p99):
        return {name: slip.Slip(5.0, p99, 900.0, 0.25) for name in slip.CASES}

    rows = slip.table([one(90), one(120), one(200)]).splitlines()
    assert next(row for row in rows if "1000/s, poisson" in row).endswith("| 900 | 25% | 100 | **not met** |")
    assert next(row for row in rows if "5000/s, poisson" in row).endswith("| 900 | 25% | 250 | met |")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.96, 1.04, "agree"),
        (0.95, 1.05, "agree"),
        (1.01, 1.02, "agree"),  # a difference is shown, and that it is a small one
        (0.94, 1.01, "not settled"),
        (1.02, 1.20, "not settled"),
        (1.06, 1.20, "**differ**"),
        (0.80, 0.94, "**differ**"),
        (None, None, "not settled"),
    ],
)
def test_agreement_has_to_be_shown_and_so_has_a_difference(low, high, says):
    assert agreement.verdict(Estimate(1.0, low, high, 0.95, 8, "t", "x")) == says


def _rounds(theirs, ours):
    figures = dict.fromkeys(agreement.QUANTITIES, 20.0)
    return [
        {"native": Turn(1200, figures | {"service_p50": our}), "k6": Turn(1200, {"service_p50": their})}
        for our, their in zip(ours, theirs, strict=True)
    ]


def test_ratios_are_paired_within_rounds():
    """Rounds that differ by a factor of ten do not blur a ratio that is the same in each."""
    ours = [2.0, 20.0, 5.0]
    found = agreement.ratio(_rounds([1.01 * value for value in ours], ours), "k6", "service_p50")
    assert found.point == pytest.approx(1.01)
    assert found.high - found.low == pytest.approx(0, abs=1e-9)
    assert agreement.verdict(found) == "agree"


def test_a_tool_without_a_quantity_has_no_ratio():
    assert agreement.ratio(_rounds([20.0], [20.0]), "k6", "latency_p50") is None


def test_a_void_turn_takes_its_round_out_of_the_ratio_and_is_told():
    rounds = _rounds([20.0, 20.0, 90.0], [20.0, 20.0, 20.0])
    rounds[2]["k6"] = Turn(void="k6 dropped 4 iterations: it was no open loop")
    assert agreement.ratio(rounds, "k6", "service_p50").n == 2
    assert "Void turns: k6: k6 dropped 4 iterations" in agreement.table(rounds, rounds[:2])


@pytest.mark.parametrize(
    ("summary", "says"),
    [
        (k6.Summary(1400, 200.0, 0, 0), ""),
        (k6.Summary(1399, 200.0, 0, 1), "dropped 1 iterations"),
        (k6.Summary(1400, 200.0, 2, 0), "2 of k6's requests failed"),
        (k6.Summary(1300, 190.0, 0, 0), "sent 1300 requests and should have sent 1400"),
    ],
)
def test_a_turn_of_k6_that_was_no_open_loop_is_void(summary, says):
    found = agreement.k6_flaw(summary, Plan(200, 6.0))
    assert says in found
    assert bool(found) == bool(says)


def test_the_target_waits_for_a_known_time():
    first, again, other = (list(itertools.islice(waiting_server.pauses(seed), 4000)) for seed in (1, 1, 2))
    assert first == again != other
    assert statistics.median(first) == pytest.approx(0.020, rel=0.03)
    assert statistics.quantiles(first, n=100)[98] == pytest.approx(0.020 * 2.535, rel=0.1)  # exp(0.4 * 2.326)


def test_percentiles_are_milliseconds():
    values = [number * 1_000_000 for number in range(101)]
    random.Random(1).shuffle(values)
    assert agreement.percentiles("service", values) == {"service_p50": 50.0, "service_p99": 99.0}


def test_a_section_of_the_figures_is_replaced_and_the_others_stay():
    first, second = list(figures.BENCHMARKS.values())[:2]
    old = figures.updated("", {second: figures.as_section(second, "b", "then", "| 2 |")})
    page = figures.updated(old, {first: figures.as_section(first, "a", "now", "| 1 |")})
    assert page.index(first) < page.index("| 1 |") < page.index(second) < page.index("| 2 |")
    again = figures.updated(page, {first: figures.as_section(first, "a", "later", "| 3 |")})
    assert "| 1 |" not in again
    assert figures.updated(again, {}) == again
