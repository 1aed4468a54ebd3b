"""The five stores: one SQLite file a service, their schemas, and the template that every trial starts from.

WAL with synchronous=OFF: a commit is in the page cache when a request is answered, which a SIGKILL of the process does
not undo (a power failure would; trials do not survive one anyway). No statement waits for a disk.

Learners have the indices 0 .. n-1 (see learners.py).
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from stub_services.effects import read_effects, store_path
from stub_services.learners import (
    COURSES,
    EXERCISES,
    LESSONS_PER_COURSE,
    PROBE_USER_ID,
    QUESTIONS,
    SKILLS,
    exercise_id,
    learner_id,
    learner_name,
    learner_password,
    lesson_id,
)
from stub_services.settings import SERVICE_NAMES

__all__ = ["build_template", "hash_password", "open_store", "read_effects", "store_path"]

SALT_BYTES = 16

SCHEMAS: dict[str, str] = {
    "auth": """
        CREATE TABLE accounts (
            username TEXT PRIMARY KEY, user_id TEXT NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL,
            email TEXT NOT NULL
        ) WITHOUT ROWID;
    """,
    "user": """
        CREATE TABLE profiles (
            user_id TEXT PRIMARY KEY, username TEXT NOT NULL, email TEXT NOT NULL, full_name TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE progress (user_id TEXT PRIMARY KEY, completed INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE statistics (
            user_id TEXT, skill TEXT, submissions INTEGER NOT NULL, PRIMARY KEY (user_id, skill)
        ) WITHOUT ROWID;
        CREATE TABLE idempotency_keys (key TEXT PRIMARY KEY) WITHOUT ROWID;
    """,
    "course": """
        CREATE TABLE courses (course_id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE lessons (lesson_id TEXT PRIMARY KEY, course_id TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE completions (
            user_id TEXT, lesson_id TEXT, PRIMARY KEY (user_id, lesson_id)
        ) WITHOUT ROWID;
    """,
    "exercise": """
        CREATE TABLE exercises (exercise_id TEXT PRIMARY KEY, skill TEXT NOT NULL, answers TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE submissions (
            submission_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, exercise_id TEXT NOT NULL, score INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE pending_progress (
            user_id TEXT PRIMARY KEY, lesson_id TEXT NOT NULL, synced INTEGER NOT NULL
        ) WITHOUT ROWID;
    """,
    "notification": """
        CREATE TABLE notifications (
            id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL,
            message TEXT NOT NULL
        );
        CREATE TABLE idempotency_keys (key TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    """,
}


def open_store(folder: Path, service: str) -> sqlite3.Connection:
    """Open a service's store, made with its catalogue when it is not there. Every statement is a transaction.

    Raises sqlite3.Error as it comes (no folder, no permission, not a database).
    """
    store = sqlite3.connect(store_path(folder, service), isolation_level=None, cached_statements=64)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = OFF")
    store.execute("PRAGMA busy_timeout = 5000")
    if store.execute("PRAGMA user_version").fetchone()[0] == 0:
        _create(store, service)
    return store


def _create(store: sqlite3.Connection, service: str) -> None:
    store.executescript(f"BEGIN IMMEDIATE; {SCHEMAS[service]} PRAGMA user_version = 1;")
    if service == "course":
        store.executemany("INSERT INTO courses VALUES (?, ?)", _courses())
        store.executemany("INSERT INTO lessons VALUES (?, ?)", _lessons())
    elif service == "exercise":
        store.executemany("INSERT INTO exercises VALUES (?, ?, ?)", _exercises())
    store.execute("COMMIT")


def build_template(folder: Path, learners: int) -> None:
    """Create the five stores with `learners` learners, each store one file that may be copied as it is.

    Raises sqlite3.Error or OSError as they come; sqlite3.OperationalError when a store is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for service in SERVICE_NAMES:
        store = open_store(folder, service)
        try:
            store.execute("BEGIN IMMEDIATE")
            _seed(store, service, learners)
            store.execute("COMMIT")
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            store.close()  # the last connection takes -wal and -shm away


def _seed(store: sqlite3.Connection, service: str, learners: int) -> None:
    if service == "auth":
        store.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", map(_account, range(learners)))
    elif service == "user":
        store.executemany("INSERT INTO profiles VALUES (?, ?, ?, ?)", map(_profile, range(learners)))
        store.execute("INSERT INTO profiles VALUES (?, 'probe', 'probe@example.org', 'Probe')", (PROBE_USER_ID,))
    elif service == "exercise":
        rows = ((learner_id(index), lesson_id(index), 0) for index in range(learners))
        store.executemany("INSERT INTO pending_progress VALUES (?, ?, ?)", rows)


def hash_password(password: str, salt: bytes) -> bytes:
    """Return a salted hash, fast on purpose: bcrypt's cost is modelled as a pause (see work.py), not spent."""
    return hashlib.blake2b(password.encode(), salt=salt, digest_size=32).digest()


def _account(index: int) -> tuple[str, str, bytes, bytes, str]:
    salt = index.to_bytes(SALT_BYTES, "big")
    name = learner_name(index)
    return name, learner_id(index), salt, hash_password(learner_password(index), salt), f"{name}@example.org"


def _profile(index: int) -> tuple[str, str, str, str]:
    name = learner_name(index)
    return learner_id(index), name, f"{name}@example.org", f"Learner {index}"


def _courses() -> Iterator[tuple[str, str]]:
    """Yield courses whose list is about 8 kB on the wire."""
    for number in range(1, COURSES + 1):
        lessons = [
            {
                "id": f"course-{number}-lesson-{lesson}",
                "title": f"Lesson {lesson}: {SKILLS[lesson % 4]} in practice, part {lesson}",
                "minutes": 15 + 5 * (lesson % 3),
            }
            for lesson in range(1, LESSONS_PER_COURSE + 1)
        ]
        course = {
            "id": f"course-{number}",
            "title": f"IELTS preparation, band {number + 3} to {number + 4}",
            "description": "Strategies, vocabulary and timed practice for all four papers of the test. " * 5,
            "skill": SKILLS[number % 4],
            "level": f"band-{number + 3}",
            "lessons": lessons,
        }
        yield f"course-{number}", json.dumps(course)


def _lessons() -> Iterator[tuple[str, str]]:
    for index in range(COURSES * LESSONS_PER_COURSE):
        lesson = lesson_id(index)
        yield lesson, lesson.rpartition("-lesson-")[0]


def _exercises() -> Iterator[tuple[str, str, str]]:
    """Yield exercises with the letters that are right, from a source of their own: the same in every store."""
    rng = random.Random(40)
    for index in range(EXERCISES):
        yield exercise_id(index), SKILLS[index % 2], "".join(rng.choices("ABCD", k=QUESTIONS))
