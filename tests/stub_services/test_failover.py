"""Equivalent addresses in turn: spread, passed over, put aside and tried again. Time is a number here."""

from hypothesis import given
from hypothesis import strategies as st

from stub_services.failover import Turns


def test_places_are_taken_in_turn():
    turns = Turns("ab", 10)
    assert [turns.take(0) for _ in range(5)] == list("ababa")


def test_a_request_that_failed_at_one_place_gets_each_of_the_others_once():
    turns = Turns("abc", 10)
    tried = []
    while (place := turns.take(0, tried)) is not None:
        tried.append(place)
    assert tried == list("abc")


def test_a_second_place_for_the_same_request_is_nobodys_turn():
    turns = Turns("abc", 10)
    assert [turns.take(0), turns.take(0, "a"), turns.take(0)] == list("abb")


def test_a_place_that_cannot_be_connected_to_is_passed_over_for_its_time_and_then_tried_by_one_request():
    turns = Turns("ab", 10)
    turns.failed("a", now=0)
    assert [turns.take(9) for _ in range(3)] == list("bbb")
    assert [turns.take(10) for _ in range(4)] == list("abbb")
    assert turns.is_doubtful("a")
    assert turns.take(20) == "a"


def test_a_place_that_is_reached_again_is_back_in_turn():
    turns = Turns("ab", 10)
    turns.failed("a", now=0)
    turns.reached("a")
    assert not turns.is_doubtful("a")
    assert sorted(turns.take(1) for _ in range(4)) == list("aabb")


def test_with_all_aside_the_one_that_would_be_back_first_is_tried_all_the_same():
    turns = Turns("ab", 10)
    turns.failed("b", now=0)
    turns.failed("a", now=1)
    assert turns.take(2) == "b"
    assert turns.take(2, tried=["b"]) == "a"
    assert turns.take(2, tried=["b", "a"]) is None


@given(st.integers(2, 5), st.lists(st.tuples(st.sampled_from(["take", "failed", "reached"]), st.integers(0, 4))))
def test_a_request_always_gets_every_place_at_most_once_whatever_happened_before(count, history):
    turns = Turns(range(count), 3)
    for now, (what, which) in enumerate(history):
        if what == "take":
            assert turns.take(now) in range(count)
        elif what == "failed":
            turns.failed(which % count, now)
        else:
            turns.reached(which % count)
    tried = []
    while (place := turns.take(len(history), tried)) is not None:
        tried.append(place)
    assert sorted(tried) == list(range(count))
