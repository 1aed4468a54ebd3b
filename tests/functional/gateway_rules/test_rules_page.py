"""The page of rules names tests that exist, and every test in this folder."""

from tests.functional.gateway_rules.page import HERE, TARGET, existing, named, page
from tests.functional.gateway_rules.rules import RULES

OURS = "rules_page::"


def test_every_test_that_a_rule_names_exists():
    assert named() - {*existing(HERE), *existing(HERE.parent)} == set()


def test_every_test_of_a_rule_is_named():
    assert {test for test in existing(HERE) if not test.startswith(OURS)} - named() == set()


def test_every_rule_but_the_tunnels_has_proof():
    assert set(RULES) == set(range(1, 17)) - {14}
    assert all(proof.tests for rule in RULES.values() for proof in rule.proofs)


def test_the_page_is_current():
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python -m tests.functional.gateway_rules --write"
