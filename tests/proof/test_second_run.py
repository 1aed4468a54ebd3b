"""The proof itself is tested on made-up runs: it must be able to fail."""

from tests.proof.second_run import page, reversed_claims


def _run(verdict, *, gates=True):
    claim = {"id": "ratio", "gates": gates, "verdict": verdict, "measured": {"point": 1.2, "low": 1.0, "high": 1.4}}
    return {
        "claims": [claim],
        "environment": {"cpu": "some", "cores": 2},
        "run": {"gateway": "builtin", "work": "bare"},
    }


def test_a_verdict_that_turns_round_is_named():
    runs = [_run("confirmed"), _run("inconclusive"), _run("refuted")]
    assert reversed_claims(runs) == ["ratio"]
    assert "Reversed: ratio." in page(runs, ["ratio"])


def test_inconclusive_beside_a_verdict_is_no_reversal_and_claims_of_a_host_do_not_count():
    assert reversed_claims([_run("confirmed"), _run("inconclusive")]) == []
    assert reversed_claims([_run("confirmed", gates=False), _run("refuted", gates=False)]) == []
