"""Who the learners are: everything about one follows from an index.

So whoever plans a request knows whose rows it will change, without asking a store. Seeded learners have the indices
0 .. n-1; planned registrations have indices of their own. PROBE_USER_ID belongs to neither.
"""

from __future__ import annotations

import secrets
import time

PROBE_USER_ID = f"{0xFFFFFFFF:032x}"
"""A learner with a profile that no trial plans requests for: probes may change it."""

FIRST_NEW_ID = f"{1 << 64:032x}"
"""Ids given at registration begin with the time and are never below; seeded ones always are."""

NEW_NAMES = ("new-", "new.")
"""Usernames of planned registrations lie between these two; seeded ones do not."""

SKILLS = ("listening", "reading", "writing", "speaking")
COURSES = 6
LESSONS_PER_COURSE = 8
EXERCISES = 40
QUESTIONS = 40


def learner_id(index: int) -> str:
    """Return the user id of a seeded learner."""
    return f"{index:032x}"


def learner_name(index: int) -> str:
    """Return a seeded learner's username."""
    return f"learner-{index:06d}"


def learner_password(index: int) -> str:
    """Return a seeded learner's password."""
    return f"correct-horse-{index:06d}"


def new_name(index: int) -> str:
    """Return the username of the planned registration with this index."""
    return f"new-{index:08d}"


def new_user_id() -> str:
    """Return an id for somebody who registers: the time first, as in UUIDv7, so that stores append in order."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def lesson_id(index: int) -> str:
    """Return the lesson that the learner with this index completes."""
    course, lesson = divmod(index % (COURSES * LESSONS_PER_COURSE), LESSONS_PER_COURSE)
    return f"course-{course + 1}-lesson-{lesson + 1}"


def exercise_id(index: int) -> str:
    """Return the exercise that the learner with this index submits."""
    return f"exercise-{index % EXERCISES + 1}"
