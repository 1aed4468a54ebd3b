"""What planned requests left in the stores: read from the stores themselves, never from answers.

Every planned request that changes something has a learner of its own (or, for `register`, a username of its own), so
that the counts of that learner are the counts of that request. A handful of set queries reads a whole trial.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stub_services.learners import FIRST_NEW_ID, NEW_NAMES, learner_id, new_name

Finding = tuple[
    Literal["met", "missing", "duplicate", "none"],
    Literal["", "orphan", "lost_update", "duplicate"],
]


def store_path(folder: Path, service: str) -> Path:
    """Return the file of a service's store."""
    return folder / f"{service}_db.sqlite"


def read_effects(store_dir: Path, planned: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Return (effect, anomaly) for each planned (flow, learner or registration index).

    effect: met | missing | duplicate | none (the flow leaves nothing). anomaly: "" | orphan (an account without a
    profile) | lost_update (the caller's own row stands, the peer never counted it) | duplicate (done twice).
    Works while services run and after they were killed: SQLite recovers the WAL on opening. Raises KeyError for an
    unknown flow and sqlite3.Error when a store cannot be read.
    """
    found = _read(store_dir)
    return [_FINDINGS[flow](found, index) for flow, index in planned]


@dataclass(frozen=True)
class _Found:
    """What stands in the stores. Counts are by user id; `accounts` maps new usernames to user ids."""

    accounts: dict[str, str]
    profiles: set[str]
    progress: dict[str, int]
    statistics: dict[str, int]
    completions: set[str]
    submissions: set[str]
    synced: set[str]
    welcomes: Counter[str]
    reminders: Counter[str]


def _read(store_dir: Path) -> _Found:
    with closing(_open(store_dir, "auth")) as auth:
        accounts = dict(
            auth.execute("SELECT username, user_id FROM accounts WHERE username BETWEEN ? AND ?", NEW_NAMES).fetchall()
        )
    with closing(_open(store_dir, "user")) as user:
        profiles = _first(user, "SELECT user_id FROM profiles WHERE user_id >= ?", FIRST_NEW_ID)
        progress = dict(user.execute("SELECT user_id, completed FROM progress").fetchall())
        statistics = dict(user.execute("SELECT user_id, SUM(submissions) FROM statistics GROUP BY user_id").fetchall())
    with closing(_open(store_dir, "course")) as course:
        completions = _first(course, "SELECT user_id FROM completions")
    with closing(_open(store_dir, "exercise")) as exercise:
        submissions = _first(exercise, "SELECT user_id FROM submissions")
        synced = _first(exercise, "SELECT user_id FROM pending_progress WHERE synced")
    with closing(_open(store_dir, "notification")) as notification:
        sent = "SELECT user_id FROM notifications WHERE kind = ?"
        welcomes = Counter(_first(notification, sent, "welcome"))
        reminders = Counter(_first(notification, sent, "reminder"))
    return _Found(
        accounts=accounts,
        profiles=set(profiles),
        progress=progress,
        statistics=statistics,
        completions=set(completions),
        submissions=set(submissions),
        synced=set(synced),
        welcomes=welcomes,
        reminders=reminders,
    )


def _open(store_dir: Path, service: str) -> sqlite3.Connection:
    """Open for reading and writing, since only that may recover a WAL; a missing store stays missing."""
    path = store_path(store_dir, service).absolute()
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=5)


def _first(store: sqlite3.Connection, query: str, *parameters: Any) -> list[str]:
    return [row[0] for row in store.execute(query, parameters)]


def _register(found: _Found, index: int) -> Finding:
    user_id = found.accounts.get(new_name(index))
    if user_id is None:
        return "missing", ""
    if user_id not in found.profiles:
        return "missing", "orphan"
    return _once(found.welcomes[user_id])


def _complete_lesson(found: _Found, index: int) -> Finding:
    user_id = learner_id(index)
    return _counted(found.progress.get(user_id, 0), own_row=user_id in found.completions)


def _submit_exercise(found: _Found, index: int) -> Finding:
    user_id = learner_id(index)
    return _counted(found.statistics.get(user_id, 0), own_row=user_id in found.submissions)


def _progress_sync(found: _Found, index: int) -> Finding:
    user_id = learner_id(index)
    return _counted(found.progress.get(user_id, 0), own_row=user_id in found.synced)


def _study_reminders(found: _Found, index: int) -> Finding:
    return _once(found.reminders[learner_id(index)])


def _nothing(found: _Found, index: int) -> Finding:
    del found, index
    return "none", ""


def _once(count: int) -> Finding:
    if count > 1:
        return "duplicate", "duplicate"
    return ("met" if count else "missing"), ""


def _counted(count: int, *, own_row: bool) -> Finding:
    """Judge an increment at a peer that belongs to a row of the caller's own."""
    if count == 0 and own_row:
        return "missing", "lost_update"
    return _once(count)


_FINDINGS: dict[str, Callable[[_Found, int], Finding]] = {
    "register": _register,
    "login": _nothing,
    "view_profile": _nothing,
    "browse_courses": _nothing,
    "complete_lesson": _complete_lesson,
    "submit_exercise": _submit_exercise,
    "study_reminders": _study_reminders,
    "progress_sync": _progress_sync,
}
