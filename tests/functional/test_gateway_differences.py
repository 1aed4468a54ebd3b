"""The same odd bytes to our gateway, nginx and HAProxy: ours smuggles nothing, and each difference has its reason."""

import pytest

from harness.gateways import GATEWAYS
from tests.functional.differences.answers import ANSWERS
from tests.functional.differences.lab import CONTENDERS
from tests.functional.differences.page import TARGET, THEMES, measure, page, versions
from tests.fuzz.readers import disagreement
from tests.fuzz.strict import read_answers, read_requests

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def themes(tmp_path_factory):
    missing = [problem for name in CONTENDERS if (problem := GATEWAYS[name].missing())]
    if missing:
        pytest.skip("; ".join(missing))
    return measure(tmp_path_factory.mktemp("differences"))


@pytest.fixture(scope="module")
def rows(themes):
    return [row for listed in themes.values() for row in listed]


def _texts(rows):
    return {row.name: row.outcomes["builtin"].text for row in rows}


def _sent_upstream(rows):
    return [(row.name, data) for row in rows for data in row.exchanges["builtin"].upstream]


def _answers(row):
    exchange = row.exchanges["builtin"]
    return read_answers(exchange.received, row.case.asked(), exchange.end == "closed")


def test_every_case_stands_once():
    for theme, cases in THEMES.items():
        assert len({case.name for case in cases}) == len(cases), theme
        assert len({(case.sends, case.answers, case.then) for case in cases}) == len(cases), theme


def test_every_reader_finds_the_same_requests_in_what_our_gateway_sends_upstream(rows):
    found = [(name, what) for name, data in _sent_upstream(rows) if (what := disagreement(data))]
    assert found == []


def test_a_reader_by_the_letter_refuses_nothing_that_our_gateway_sends_upstream(rows):
    found = [(name, broken) for name, data in _sent_upstream(rows) if (broken := read_requests(data).broken)]
    assert found == []


def test_a_reader_by_the_letter_refuses_nothing_that_our_gateway_sends_to_clients(rows):
    assert [(row.name, broken) for row in rows if (broken := _answers(row).broken)] == []


def test_our_gateway_sends_no_request_upstream_that_it_does_not_answer_for(rows):
    """One request that became two would show as a request more than there are answers."""
    for row in rows:
        answers = _answers(row)
        finals = [answer for answer in answers.messages if not answer.interim]
        whole = [message for data in row.exchanges["builtin"].upstream for message in read_requests(data).messages]
        assert b"smuggled" not in b"".join(message.target for message in whole), row.name
        cut_short = bool(answers.partial or answers.broken) or row.exchanges["builtin"].end != "open"
        waits = row.theme in ANSWERS  # for more of an odd answer
        assert len(whole) <= len(finals) + (cut_short or waits), row.name


def test_our_gateway_does_what_a_case_says_it_has_to(rows):
    assert {row.name: (row.outcomes["builtin"].text, row.case.ours) for row in rows if row.is_wrong} == {}


def test_every_difference_is_explained_and_nothing_else_is(rows):
    right = [row for row in rows if not row.is_wrong]
    assert _texts(row for row in right if row.differs and not row.case.why) == {}
    assert _texts(row for row in right if row.case.why and not row.differs) == {}


def test_the_page_is_current(themes):
    text = TARGET.read_text(encoding="utf-8")
    if versions() not in text:
        pytest.skip(f"{TARGET.name} is about other versions than {versions()}")
    assert page(themes) == text, "run: python -m tests.functional.differences --write"
