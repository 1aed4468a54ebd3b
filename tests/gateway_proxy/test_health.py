"""When a target is left alone and when it comes back, by each judge; time is an argument throughout."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gateway_proxy.config import upstreams
from gateway_proxy.health import ActiveHealth, OutlierEjection, PassiveHealth, judges_for
from tests.gateway_proxy.targets import Pool, targets


@pytest.fixture
def pool():
    return Pool(targets(1, 1, 1))


def upstream(**rules):
    return upstreams.Upstream(targets=("h:1", "h:2"), **rules)


def test_an_upstream_without_rules_has_no_judge(pool):
    assert judges_for(upstream(), pool, None, random.Random(1), 0.0) == ()


def test_an_upstream_has_the_judges_that_its_configuration_asks_for(pool):
    judges = judges_for(
        upstream(health={"active": {"path": "/h"}, "passive": {}}, outlier_ejection={}),
        pool,
        Asked(),
        random.Random(1),
        0.0,
    )
    assert [type(judge) for judge in judges] == [ActiveHealth, PassiveHealth, OutlierEjection]
    for judge in judges:
        judge.sweep(0.0)
        judge.close()


# -- passive health -----------------------------------------------------------------------------------------------


@pytest.fixture
def passive(pool):
    return PassiveHealth(upstreams.PassiveHealth(unhealthy_after=3, retry_after_s=10), pool)


def see(judge, target, statuses, now=0.0):
    for status in statuses:
        judge.seen(target, status, now)


@pytest.mark.parametrize("status", [0, 502, 503, 504])
def test_so_many_failures_in_a_row_hold_a_target_out(passive, pool, status):
    see(passive, pool.targets[0], [status] * 2)
    assert pool.notes == []
    see(passive, pool.targets[0], [status])
    assert pool.notes == [("out", "a", "passive_health")]


@pytest.mark.parametrize("status", [100, 200, 302, 404, 429, 500, 501, 505])
def test_any_other_answer_ends_the_row(passive, pool, status):
    see(passive, pool.targets[0], [0, 0, status, 0, 0])
    assert pool.notes == []


def test_targets_are_counted_apart(passive, pool):
    for _ in range(2):
        for target in pool.targets:
            see(passive, target, [0])
    assert pool.notes == []


def test_it_comes_back_after_the_time_and_not_before(passive, pool):
    see(passive, pool.targets[0], [0] * 3, now=5.0)
    passive.sweep(14.999)
    assert pool.targets[0].held_out
    passive.sweep(15.0)
    assert not pool.targets[0].held_out


def test_failures_that_come_late_do_not_make_the_time_longer(passive, pool):
    see(passive, pool.targets[0], [0] * 3, now=5.0)
    see(passive, pool.targets[0], [0] * 5, now=14.0)
    passive.sweep(15.0)
    assert [what for what, _, _ in pool.notes] == ["out", "in"]


def test_a_target_that_comes_back_and_fails_once_is_out_again(passive, pool):
    see(passive, pool.targets[0], [0] * 3, now=0.0)
    passive.sweep(10.0)
    see(passive, pool.targets[0], [0], now=11.0)
    assert pool.targets[0].held_out
    passive.sweep(20.9)
    assert pool.targets[0].held_out, "its time runs from the failure that held it out"
    passive.sweep(21.0)
    assert not pool.targets[0].held_out


def test_a_target_that_comes_back_and_answers_has_a_clean_slate(passive, pool):
    see(passive, pool.targets[0], [0] * 3)
    passive.sweep(10.0)
    see(passive, pool.targets[0], [200, 0, 0], now=11.0)
    assert not pool.targets[0].held_out


def test_an_answer_to_a_request_from_before_does_not_readmit(passive, pool):
    see(passive, pool.targets[0], [0, 0, 0, 200])
    assert pool.targets[0].held_out


def test_with_nobody_left_the_first_one_that_answers_is_readmitted(passive, pool):
    for target in pool.targets:
        see(passive, target, [0] * 3)
    see(passive, pool.targets[1], [200], now=1.0)
    assert [bool(target.held_out) for target in pool.targets] == [True, False, True]
    passive.sweep(10.0)
    assert [what for what, _, _ in pool.notes] == ["out"] * 3 + ["in"] * 3, "each comes back once"


# -- active health ------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int


@dataclass
class Silence:
    why: str = "no answer in time"


@dataclass
class Asked:
    """An `ask` that notes its questions, which the test answers when it likes."""

    questions: list[tuple] = field(default_factory=list)
    waiting: dict[str, object] = field(default_factory=dict)

    def __call__(self, address, method, target, headers, timeout_s, done):
        self.questions.append((address, method, target, timeout_s))
        assert address not in self.waiting, "one question at a time"
        self.waiting[address] = done
        return lambda: self.waiting.pop(address)

    def answer(self, address, outcome):
        self.waiting.pop(address)(outcome)


@pytest.fixture
def asked():
    return Asked()


RULE = upstreams.ActiveHealth(path="/h", interval_s=2, timeout_s=1, healthy_after=2, unhealthy_after=3)


@pytest.fixture
def active(pool, asked):
    return ActiveHealth(RULE, pool, asked, random.Random(4), now=100.0)


def rounds(active, asked, outcomes, start=102.0):
    """Ask once an interval; target a gets the outcomes, the others are well."""
    now = start
    for outcome in outcomes:
        active.sweep(now)
        for address in list(asked.waiting):
            asked.answer(address, outcome if address == "a" else Answer(200))
        now += 2.0
    return now


def test_a_question_is_a_get_of_the_path_with_the_timeout(active, asked):
    active.sweep(102.0)
    assert asked.questions == [(address, "GET", "/h", 1.0) for address in "abc"]


def test_first_questions_are_spread_over_one_interval(pool, asked):
    several = Pool(targets(*[1] * 24))
    active = ActiveHealth(RULE, several, asked, random.Random(4), now=100.0)
    counts = []
    for tick in range(9):
        active.sweep(100.0 + tick * 0.25)
        counts.append(len(asked.questions))
    assert counts[-1] == 24
    assert max(after - before for before, after in pairwise(counts)) <= 8
    other = ActiveHealth(RULE, Pool(targets(1)), Asked(), random.Random(4), now=0.0)
    again = ActiveHealth(RULE, Pool(targets(1)), Asked(), random.Random(4), now=0.0)
    assert other._watches[0].due == again._watches[0].due, "the seed decides"


def test_a_target_is_asked_once_an_interval(active, asked):
    for tick in range(41):
        active.sweep(102.0 + tick * 0.25)
        for address in list(asked.waiting):
            asked.answer(address, Answer(200))
    assert sum(address == "a" for address, *_ in asked.questions) == 6  # at 102, 104, ... 112


def test_the_next_question_waits_for_the_answer(active, asked):
    active.sweep(102.0)
    active.sweep(104.0)
    assert len(asked.questions) == 3
    asked.answer("b", Answer(200))
    active.sweep(104.1)
    assert [address for address, *_ in asked.questions] == ["a", "b", "c", "b"]


@pytest.mark.parametrize("outcome", [Answer(503), Answer(204), Silence()])
def test_so_many_wrong_answers_in_a_row_hold_a_target_out(active, asked, pool, outcome):
    rounds(active, asked, [outcome] * 2)
    assert pool.notes == []
    rounds(active, asked, [outcome], start=106.0)
    assert pool.notes == [("out", "a", "active_health")]


def test_a_right_answer_ends_the_row_of_wrong_ones(active, asked, pool):
    rounds(active, asked, [Silence(), Silence(), Answer(200), Silence(), Silence()])
    assert pool.notes == []


def test_so_many_right_answers_in_a_row_bring_it_back(active, asked, pool):
    now = rounds(active, asked, [Silence()] * 3)
    now = rounds(active, asked, [Answer(200), Silence(), Answer(200)], now)
    assert pool.targets[0].held_out
    rounds(active, asked, [Answer(200)], now)
    assert pool.notes == [("out", "a", "active_health"), ("in", "a", "active_health")]


def test_requests_do_not_change_its_mind(active, pool):
    for target in pool.targets:
        see(active, target, [0] * 10)
    assert pool.notes == []


def test_closing_cancels_what_is_under_way_and_asks_no_more(active, asked):
    active.sweep(102.0)
    asked.answer("a", Answer(200))
    active.close()
    assert asked.waiting == {}
    active.sweep(200.0)
    assert len(asked.questions) == 3


# -- outlier ejection ---------------------------------------------------------------------------------------------


def outliers(pool, **rule):
    values = {"min_requests": 10, "interval_s": 10, "ejection_s": 30, "max_ejected_share": 0.4} | rule
    return OutlierEjection(upstreams.OutlierEjection(**values), pool, now=0.0)


def serve(judge, target, requests, failures, status=500):
    see(judge, target, [200] * (requests - failures) + [status] * failures)


@pytest.mark.parametrize("status", [0, 500, 503, 599])
def test_a_target_with_too_high_a_share_of_failures_is_ejected_at_the_end_of_the_interval(pool, status):
    judge = outliers(pool)
    serve(judge, pool.targets[0], 20, 10, status)
    judge.sweep(9.99)
    assert pool.notes == []
    judge.sweep(10.0)
    assert pool.notes == [("out", "a", "outlier_ejection")]


def test_a_share_below_the_limit_is_borne(pool):
    judge = outliers(pool)
    serve(judge, pool.targets[0], 20, 9)
    serve(judge, pool.targets[1], 20, 20, status=404)
    judge.sweep(10.0)
    assert pool.notes == []


def test_too_few_requests_prove_nothing_and_intervals_are_not_added_up(pool):
    judge = outliers(pool)
    for now in (10.0, 20.0, 30.0):
        serve(judge, pool.targets[0], 9, 9)
        judge.sweep(now)
    assert pool.notes == []


def test_of_several_outliers_the_worst_go_first_and_no_more_than_the_share_allows():
    pool = Pool(targets(*[1] * 5))
    judge = outliers(pool)
    for target, failures in zip(pool.targets, (12, 20, 15, 11, 0), strict=True):
        serve(judge, target, 20, failures)
    judge.sweep(10.0)
    assert [name for _, name, _ in pool.notes] == ["b", "c"]


def test_those_ejected_before_count_towards_the_share():
    pool = Pool(targets(*[1] * 5))
    judge = outliers(pool)
    for index, now in ((0, 10.0), (1, 20.0), (2, 30.0)):
        serve(judge, pool.targets[index], 20, 20)
        judge.sweep(now)
    assert [name for _, name, _ in pool.notes] == ["a", "b"]


def test_an_only_target_is_never_ejected():
    pool = Pool(targets(1))
    judge = outliers(pool, max_ejected_share=0.99)
    serve(judge, pool.targets[0], 20, 20)
    judge.sweep(10.0)
    assert pool.notes == []


def ejections(judge, pool, guilty, until):
    """Sweep every second; at the end of the intervals in `guilty` target a has failed. Return how long it was out."""
    lengths, out_since = [], None
    for second in range(1, until + 1):
        if second % 10 == 0 and second // 10 in guilty:
            serve(judge, pool.targets[0], 20, 20)
        judge.sweep(float(second))
        if pool.targets[0].held_out and out_since is None:
            out_since = second
        if not pool.targets[0].held_out and out_since is not None:
            lengths.append(second - out_since)
            out_since = None
    return lengths


def test_each_ejection_lasts_longer_than_the_last(pool):
    # Out from 10 to 40; guilty again in the interval that ends at 50; out for 60; and so on.
    assert ejections(outliers(pool), pool, {1, 5, 12}, 220) == [30, 60, 90]


def test_quiet_intervals_take_it_back_to_the_first_length(pool):
    # Ejected twice, back at 110; the intervals that end at 120 and 130 are quiet.
    assert ejections(outliers(pool), pool, {1, 5, 14}, 220) == [30, 60, 30]


def test_one_quiet_interval_takes_back_one_step(pool):
    assert ejections(outliers(pool), pool, {1, 5, 13}, 220) == [30, 60, 60]


def test_an_ejection_lasts_ten_times_the_first_at_most(pool):
    judge = outliers(pool, ejection_s=1)
    assert ejections(judge, pool, set(range(200)), 400)[-1] == 10


def test_failures_from_before_do_not_eject_it_again_when_it_is_back(pool):
    judge = outliers(pool, ejection_s=5)
    serve(judge, pool.targets[0], 20, 20)
    judge.sweep(10.0)
    serve(judge, pool.targets[0], 20, 20)  # they were in flight
    judge.sweep(15.0)
    judge.sweep(20.0)
    assert [what for what, _, _ in pool.notes] == ["out", "in"]
