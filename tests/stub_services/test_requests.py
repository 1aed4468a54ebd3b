import json

import pytest

from scenarios.load import load_scenario
from stub_services import tokens
from stub_services.learners import PROBE_USER_ID, learner_id
from stub_services.requests import RequestBook, internal_probes

SECRET = "a secret of the tests, long enough"


@pytest.fixture
def book():
    return RequestBook(10, SECRET)


def test_every_external_flow_has_a_request_and_an_answer_it_accepts(book):
    scenario = load_scenario("ielts")
    for flow in scenario.flows:
        if flow.origin == "internal":
            with pytest.raises(KeyError):
                book.request(flow.name, 1)
            continue
        _, path, _, _ = book.request(flow.name, 1)
        assert any(path.startswith(prefix) for prefix in scenario.service(flow.service).public)
        assert book.accepts(flow.name) <= {200, 201}


@pytest.mark.parametrize(("flow", "low", "high"), [("register", 130, 170), ("submit_exercise", 5500, 5800)])
def test_bodies_have_the_platforms_sizes(book, flow, low, high):
    assert low <= len(book.request(flow, 3)[3]) <= high


def test_bodies_are_json_and_differ_from_learner_to_learner(book):
    for flow in ("register", "login", "submit_exercise"):
        first, second = (json.loads(book.request(flow, index)[3]) for index in (1, 2))
        assert first != second


def test_tokens_are_those_of_the_learner_and_are_signed_once(book):
    fields = dict(book.request("view_profile", 4)[2])
    assert tokens.verify(fields["Authorization"].encode(), SECRET) == learner_id(4)
    assert book.request("view_profile", 4)[2] == book.request("view_profile", 4)[2]


@pytest.mark.parametrize("flow", ["login", "view_profile", "complete_lesson", "submit_exercise"])
def test_a_learner_who_is_not_seeded_is_refused(book, flow):
    with pytest.raises(IndexError):
        book.request(flow, 10)


def test_probes_reach_every_internal_operation_and_touch_nobody():
    scenario = load_scenario("ielts")
    probes = internal_probes()
    assert len(probes) == len({(call.to, call.operation) for flow in scenario.flows for call in flow.calls})
    for probe in probes:
        assert any(probe.path.startswith(prefix) for prefix in scenario.service(probe.service).internal)
        assert PROBE_USER_ID in probe.path + (probe.body or b"").decode()


@pytest.mark.parametrize("field", [None, b"", b"Bearer", b"Bearer x.y.z", b"Basic abc"])
def test_what_is_no_token_is_refused(field):
    with pytest.raises(tokens.BadTokenError):
        tokens.verify(field, SECRET)


def test_an_expired_token_and_one_signed_by_somebody_else_are_refused():
    for token in (tokens.sign("x", SECRET, now=0), tokens.sign("x", "another secret, as long as the first")):
        with pytest.raises(tokens.BadTokenError):
            tokens.verify(b"Bearer " + token.encode(), SECRET)
