import sqlite3
import time
from contextlib import closing

import pytest

from stub_services.learners import PROBE_USER_ID, learner_id, learner_name, learner_password
from stub_services.settings import SERVICE_NAMES
from stub_services.stores import build_template, hash_password, open_store, store_path


def test_a_template_is_one_file_a_service(tmp_path):
    build_template(tmp_path, 10)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}_db.sqlite" for name in SERVICE_NAMES}


def test_a_template_of_eight_thousand_learners_is_quick(tmp_path):
    begun = time.process_time()
    build_template(tmp_path, 8000)
    assert time.process_time() - begun < 2.0  # 0.15 s alone on a core


def test_learners_can_log_in_and_have_profiles(tmp_path):
    build_template(tmp_path, 10)
    with closing(open_store(tmp_path, "auth")) as auth:
        user_id, salt, hashed = auth.execute(
            "SELECT user_id, salt, hash FROM accounts WHERE username = ?", (learner_name(7),)
        ).fetchone()
    assert user_id == learner_id(7)
    assert hash_password(learner_password(7), salt) == hashed
    with closing(open_store(tmp_path, "user")) as user:
        assert user.execute("SELECT COUNT(*) FROM profiles").fetchone() == (11,)
        assert user.execute("SELECT 1 FROM profiles WHERE user_id = ?", (PROBE_USER_ID,)).fetchone()


def test_templates_of_one_size_hold_the_same(tmp_path):
    dumps = []
    for name in ("one", "two"):
        build_template(tmp_path / name, 20)
        with closing(sqlite3.connect(store_path(tmp_path / name, "exercise"))) as store:
            dumps.append(list(store.iterdump()))
    assert dumps[0] == dumps[1]


def test_a_store_that_is_there_is_not_seeded_again(tmp_path):
    build_template(tmp_path, 5)
    with pytest.raises(sqlite3.IntegrityError):
        build_template(tmp_path, 5)


def test_a_store_without_a_template_has_its_catalogue(tmp_path):
    with closing(open_store(tmp_path, "course")) as course:
        assert course.execute("SELECT COUNT(*) FROM courses").fetchone() == (6,)
    with closing(open_store(tmp_path, "course")) as again:
        assert again.execute("SELECT COUNT(*) FROM lessons").fetchone() == (48,)
