"""Effects read from real SQLite files, each anomaly provoked in them."""

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from scenarios.load import load_scenario
from stub_services.learners import learner_id, new_name, new_user_id
from stub_services.stores import build_template, open_store, read_effects, store_path


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    build_template(folder, 40)
    return folder


@pytest.fixture
def stores(template, tmp_path):
    shutil.copytree(template, tmp_path / "stores")
    return tmp_path / "stores"


def change(stores, service, statement, *parameters):
    with closing(open_store(stores, service)) as store:
        assert store.execute(statement, parameters).rowcount == 1


def account(stores, index):
    user_id = new_user_id()
    change(stores, "auth", "INSERT INTO accounts VALUES (?, ?, x'00', x'00', 'e')", new_name(index), user_id)
    return user_id


def profile(stores, user_id):
    change(stores, "user", "INSERT INTO profiles VALUES (?, 'u', 'e', 'f')", user_id)


def notify(stores, user_id, kind):
    change(
        stores,
        "notification",
        "INSERT INTO notifications (user_id, kind, title, message) VALUES (?, ?, 't', 'm')",
        user_id,
        kind,
    )


def progress(stores, index, completed=1):
    change(stores, "user", "INSERT INTO progress VALUES (?, ?)", learner_id(index), completed)


def effect(stores, flow, index):
    return read_effects(stores, [(flow, index)])[0]


def test_a_fresh_template_misses_every_effect_and_has_no_anomaly(stores):
    flows = [flow.name for flow in load_scenario("ielts").flows]
    found = dict(zip(flows, read_effects(stores, [(flow, 1) for flow in flows]), strict=True))
    assert {found[flow] for flow in ("login", "view_profile", "browse_courses")} == {("none", "")}
    assert {finding for flow, finding in found.items() if finding[0] != "none"} == {("missing", "")}
    assert sum(finding[0] == "missing" for finding in found.values()) == 5


def test_register_is_met_by_a_profile_and_a_welcome(stores):
    user_id = account(stores, 3)
    profile(stores, user_id)
    notify(stores, user_id, "welcome")
    assert effect(stores, "register", 3) == ("met", "")


def test_an_account_without_a_profile_is_an_orphan(stores):
    notify(stores, account(stores, 3), "welcome")
    assert effect(stores, "register", 3) == ("missing", "orphan")


def test_a_registration_without_a_welcome_is_missing_and_no_anomaly(stores):
    profile(stores, account(stores, 3))
    assert effect(stores, "register", 3) == ("missing", "")


def test_a_second_welcome_is_a_duplicate(stores):
    user_id = account(stores, 3)
    profile(stores, user_id)
    notify(stores, user_id, "welcome")
    notify(stores, user_id, "welcome")
    assert effect(stores, "register", 3) == ("duplicate", "duplicate")


OWN_ROWS = {
    "complete_lesson": ("course", "INSERT INTO completions VALUES (?, 'l')"),
    "submit_exercise": ("exercise", "INSERT INTO submissions VALUES ('s', ?, 'e', 1)"),
    "progress_sync": ("exercise", "UPDATE pending_progress SET synced = 1 WHERE user_id = ?"),
}


def count(stores, flow, index, times):
    if flow == "submit_exercise":
        change(stores, "user", "INSERT INTO statistics VALUES (?, 'reading', ?)", learner_id(index), times)
    progress(stores, index, times)


@pytest.mark.parametrize("flow", OWN_ROWS)
@pytest.mark.parametrize(
    ("own_row", "times", "expected"),
    [
        (True, 1, ("met", "")),
        (True, 2, ("duplicate", "duplicate")),
        (True, 0, ("missing", "lost_update")),
        (False, 0, ("missing", "")),
        (False, 1, ("met", "")),
    ],
)
def test_increments_are_judged_with_the_callers_own_row(stores, flow, own_row, times, expected):
    if own_row:
        service, statement = OWN_ROWS[flow]
        change(stores, service, statement, learner_id(5))
    if times:
        count(stores, flow, 5, times)
    assert effect(stores, flow, 5) == expected


def test_submissions_ask_for_statistics_not_for_progress(stores):
    change(stores, "exercise", OWN_ROWS["submit_exercise"][1], learner_id(5))
    progress(stores, 5)
    assert effect(stores, "submit_exercise", 5) == ("missing", "lost_update")


@pytest.mark.parametrize(("times", "expected"), [(0, "missing"), (1, "met"), (2, "duplicate")])
def test_reminders_are_counted(stores, times, expected):
    for _ in range(times):
        notify(stores, learner_id(9), "reminder")
    notify(stores, learner_id(9), "lesson_completed")
    assert effect(stores, "study_reminders", 9)[0] == expected


def test_answers_come_in_the_order_planned(stores):
    progress(stores, 2)
    planned = [("complete_lesson", 1), ("login", 1), ("complete_lesson", 2)]
    assert [found for found, _ in read_effects(stores, planned)] == ["missing", "none", "met"]


def test_an_unknown_flow_is_an_error_and_a_missing_store_too(stores):
    with pytest.raises(KeyError):
        read_effects(stores, [("dance", 1)])
    store_path(stores, "user").unlink()
    with pytest.raises(sqlite3.Error):
        read_effects(stores, [])
    assert not store_path(stores, "user").exists()


WRITER = """
import os, sys
from pathlib import Path
from stub_services.learners import learner_id
from stub_services.stores import open_store
store = open_store(Path(sys.argv[1]), "user")
for index in range(30):
    store.execute("INSERT INTO progress VALUES (?, 1)", (learner_id(index),))
os.kill(os.getpid(), 9)
"""


def test_what_was_committed_before_a_sigkill_is_found(stores):
    done = subprocess.run([sys.executable, "-c", WRITER, str(stores)], check=False, timeout=20)
    assert done.returncode == -9
    assert store_path(stores, "user").with_name("user_db.sqlite-wal").stat().st_size > 0
    assert read_effects(stores, [("complete_lesson", index) for index in range(30)]) == [("met", "")] * 30


def test_stores_are_read_while_a_service_has_them_open(stores):
    with closing(open_store(stores, "user")) as store:
        store.execute("INSERT INTO progress VALUES (?, 1)", (learner_id(1),))
        assert effect(stores, "complete_lesson", 1) == ("met", "")
        store.execute("UPDATE progress SET completed = 2")
        assert effect(stores, "complete_lesson", 1) == ("duplicate", "duplicate")


def test_ten_thousand_requests_are_read_by_set(stores):
    with closing(open_store(stores, "user")) as store:
        store.execute("BEGIN")
        store.executemany("INSERT INTO progress VALUES (?, 1)", ((learner_id(index),) for index in range(10_000)))
        store.execute("COMMIT")
    planned = [("complete_lesson", index) for index in range(10_000)]
    begun = time.process_time()
    assert set(read_effects(stores, planned)) == {("met", "")}
    assert time.process_time() - begun < 0.5  # 0.02 s alone on a core; one query a row would take many times this
