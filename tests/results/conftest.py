"""Shared runs: the usual world is written and computed once."""

from __future__ import annotations

import pytest

from results.build import build, write_reports
from results.outcome import Results
from tests.results.synthetic import World, write_record


@pytest.fixture(scope="session")
def usual_run(tmp_path_factory):
    run = write_record(tmp_path_factory.mktemp("usual"), World())
    write_reports(run)
    return run


@pytest.fixture(scope="session")
def usual(usual_run) -> Results:
    return build(usual_run)


@pytest.fixture
def judged(tmp_path):
    """Judge claims in a world; return claim id -> finding."""

    def run(world: World):
        results = build(write_record(tmp_path / "run", world))
        return {verdict.claim.id: verdict.finding for verdict in results.verdicts}

    return run
