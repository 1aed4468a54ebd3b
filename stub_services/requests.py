"""How an outside client speaks to the services: the request of each flow, and what counts as an acceptable answer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import NamedTuple

from stub_services import targets, tokens
from stub_services.learners import (
    PROBE_USER_ID,
    QUESTIONS,
    exercise_id,
    learner_id,
    learner_name,
    learner_password,
    lesson_id,
    new_name,
)

WireRequest = tuple[str, str, list[tuple[str, str]], bytes | None]
"""(method, path, headers, body)"""

TOKEN_LIFETIME_S = 24 * 3600  # longer than any run

_JSON = ("Content-Type", "application/json")

_ACCEPTED: dict[str, frozenset[int]] = {
    "register": frozenset({201}),
    "login": frozenset({200}),
    "view_profile": frozenset({200}),
    "browse_courses": frozenset({200}),
    "complete_lesson": frozenset({200}),
    "submit_exercise": frozenset({200}),
}


class InternalProbe(NamedTuple):
    """A harmless valid request to an internal endpoint; send it with and without the internal key."""

    service: str
    method: str
    path: str
    body: bytes | None


class RequestBook:
    """The requests of the external flows, by learner (or, for `register`, registration) index.

    `jwt_secret` signs the learners' tokens, which is what a login before the run would have brought; they are signed
    when first asked for and kept.
    """

    def __init__(self, learners: int, jwt_secret: str) -> None:
        self._learners = learners
        self._secret = jwt_secret
        self._tokens: dict[int, tuple[str, str]] = {}
        self._builders: dict[str, Callable[[int], WireRequest]] = {
            "register": _register,
            "login": self._login,
            "view_profile": self._view_profile,
            "browse_courses": _browse_courses,
            "complete_lesson": self._complete_lesson,
            "submit_exercise": self._submit_exercise,
        }

    def request(self, flow: str, index: int) -> WireRequest:
        """Return the request of a flow for a learner.

        Raises KeyError for a flow that is not started from outside, IndexError for a learner that is not seeded.
        """
        return self._builders[flow](index)

    def flows(self) -> tuple[str, ...]:
        """Return the flows that are started from outside."""
        return tuple(self._builders)

    def accepts(self, flow: str) -> frozenset[int]:
        """Return the statuses that are an acceptable answer. Raises KeyError for a flow not started from outside."""
        return _ACCEPTED[flow]

    def _authorization(self, index: int) -> tuple[str, str]:
        field = self._tokens.get(index)
        if field is None:
            token = tokens.sign(learner_id(self._seeded(index)), self._secret, lifetime_s=TOKEN_LIFETIME_S)
            field = self._tokens[index] = ("Authorization", f"Bearer {token}")
        return field

    def _seeded(self, index: int) -> int:
        if not 0 <= index < self._learners:
            raise IndexError(f"learner {index} is not seeded; there are {self._learners}")
        return index

    def _login(self, index: int) -> WireRequest:
        self._seeded(index)
        body = {"username": learner_name(index), "password": learner_password(index)}
        return "POST", "/api/v1/auth/login", [_JSON], json.dumps(body).encode()

    def _view_profile(self, index: int) -> WireRequest:
        return "GET", "/api/v1/user/profile", [self._authorization(index)], None

    def _complete_lesson(self, index: int) -> WireRequest:
        path = f"/api/v1/courses/lessons/{lesson_id(index)}/complete"
        return "POST", path, [_JSON, self._authorization(index)], b'{"minutes_spent": 25}'

    def _submit_exercise(self, index: int) -> WireRequest:
        path = f"/api/v1/exercises/{exercise_id(index)}/submit"
        body = b'{"submission_id": "submission-%08d", %s}' % (index, _ANSWERS)
        return "POST", path, [_JSON, self._authorization(index)], body


def internal_probes() -> list[InternalProbe]:
    """Return one request for each internal endpoint; what it changes belongs to a learner no flow is planned for."""
    profile = {"user_id": PROBE_USER_ID, "username": "probe", "email": "probe@example.org", "full_name": "Probe"}
    learner = json.dumps({"user_id": PROBE_USER_ID}).encode()
    note = {"user_id": PROBE_USER_ID, "kind": "probe", "title": "Probe", "message": "Nobody reads this."}
    return [
        InternalProbe("user", "POST", targets.PROFILE_CREATION, json.dumps(profile).encode()),
        InternalProbe("user", "PUT", targets.PROGRESS, learner),
        InternalProbe("user", "PUT", targets.statistics_of("reading"), learner),
        InternalProbe("user", "GET", targets.profile_of(PROBE_USER_ID), None),
        InternalProbe("notification", "POST", targets.SEND_NOTIFICATION, json.dumps(note).encode()),
    ]


def _register(index: int) -> WireRequest:
    name = new_name(index)
    body = {
        "username": name,
        "email": f"{name}@example.org",
        "password": f"correct-horse-{index:08d}",
        "full_name": f"New Learner {index:08d}",
    }
    return "POST", "/api/v1/auth/register", [_JSON], json.dumps(body).encode()


def _browse_courses(index: int) -> WireRequest:
    del index
    return "GET", "/api/v1/courses", [], None


def _answers() -> bytes:
    """Render the 40 answers that every submission gives: which are right makes no difference to the work."""
    rng = random.Random(41)
    answers = [
        {
            "question_id": f"question-{number:03d}",
            "answer": rng.choice("ABCD"),
            "text": "the writer argues that the evidence of the early studies was mixed",
            "seconds": rng.randint(20, 99),
        }
        for number in range(1, QUESTIONS + 1)
    ]
    return b'"answers": ' + json.dumps(answers).encode()


_ANSWERS = _answers()
