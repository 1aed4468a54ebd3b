"""user: profiles, progress and statistics. Calls nobody."""

from __future__ import annotations

import json
import sqlite3

from starlette.routing import Route

from stub_services.learners import SKILLS
from stub_services.service import Context
from stub_services.web import Endpoint, InternalEndpoint, Refusal, Request, text

_CREATED = json.dumps(
    {"success": True, "message": "Profile created; its progress and statistics begin with the first lesson completed"}
).encode()
_PROGRESS = json.dumps({"success": True, "message": "Progress has been counted."}).encode()
_STATISTICS = json.dumps({"success": True, "message": "Statistics have been updated"}).encode()

# An unknown learner inserts nothing: the SELECT finds no profile.
_COUNT_PROGRESS = """
    INSERT INTO progress SELECT user_id, 1 FROM profiles WHERE user_id = ?
    ON CONFLICT (user_id) DO UPDATE SET completed = completed + 1
"""
_COUNT_SUBMISSION = """
    INSERT INTO statistics SELECT user_id, ?, 1 FROM profiles WHERE user_id = ?
    ON CONFLICT (user_id, skill) DO UPDATE SET submissions = submissions + 1
"""
_READ_PROFILE = """
    SELECT username, email, full_name, completed FROM profiles LEFT JOIN progress USING (user_id) WHERE user_id = ?
"""


def routes(context: Context) -> list[Route]:
    """Return the service's own routes."""
    user = User(context)
    key = context.settings.internal_api_key
    internal = "/api/v1/user/internal"
    return [
        Route(f"{internal}/profile/create", InternalEndpoint(user.create_profile, key), methods=["POST"]),
        Route(f"{internal}/progress/update", InternalEndpoint(user.update_progress, key), methods=["PUT"]),
        Route("/api/v1/user/profile", Endpoint(user.own_profile), methods=["GET"]),
        Route(
            f"{internal}/statistics/{{skill}}/update", InternalEndpoint(user.update_statistics, key), methods=["PUT"]
        ),
        Route(f"{internal}/profile/{{user_id}}", InternalEndpoint(user.read_profile, key), methods=["GET"]),
    ]


class User:
    """The handlers of user. Progress and statistics are increments: a repeat counts again, unless it carries a key."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._secret = context.settings.jwt_secret
        self._work = context.work

    async def create_profile(self, request: Request) -> tuple[int, bytes]:
        """Create a profile; idempotent by user_id, the first one stays."""
        fields = request.fields()
        row = (text(fields, "user_id"), text(fields, "username"), text(fields, "email"), text(fields, "full_name"))
        if self._work is not None:
            await self._work.do("profile/create")
        self._store.execute("INSERT INTO profiles VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        return 201, _CREATED

    async def update_progress(self, request: Request) -> tuple[int, bytes]:
        """Count a completion."""
        user_id = text(request.fields(), "user_id")
        if self._work is not None:
            await self._work.do("progress/update")
        self._count(_COUNT_PROGRESS, (user_id,), request)
        return 200, _PROGRESS

    async def update_statistics(self, request: Request) -> tuple[int, bytes]:
        """Count a submission in one skill."""
        skill = request.path["skill"]
        if skill not in SKILLS:
            raise Refusal(404, f"no skill {skill!r}")
        user_id = text(request.fields(), "user_id")
        if self._work is not None:
            await self._work.do("statistics/update")
        self._count(_COUNT_SUBMISSION, (skill, user_id), request)
        return 200, _STATISTICS

    async def own_profile(self, request: Request) -> tuple[int, bytes]:
        """Show the profile of the token's learner."""
        return 200, self._profile(request.learner(self._secret))

    async def read_profile(self, request: Request) -> tuple[int, bytes]:
        """Show a learner's profile to another service."""
        return 200, self._profile(request.path["user_id"])

    def _profile(self, user_id: str) -> bytes:
        row = self._store.execute(_READ_PROFILE, (user_id,)).fetchone()
        if row is None:
            raise Refusal(404, "no such profile")
        username, email, full_name, completed = row
        return json.dumps(
            {
                "user_id": user_id,
                "username": username,
                "email": email,
                "full_name": full_name,
                "completed": completed or 0,
            }
        ).encode()

    def _count(self, statement: str, parameters: tuple[str, ...], request: Request) -> None:
        """Add one, in one transaction; nothing when the request's key was seen before. Raises Refusal 404."""
        key = request.header(b"idempotency-key")
        if key is None:
            changed = self._store.execute(statement, parameters).rowcount
        else:
            changed = self._count_once(statement, parameters, key.decode("latin-1"))
        if not changed:
            raise Refusal(404, "no such learner")

    def _count_once(self, statement: str, parameters: tuple[str, ...], key: str) -> int:
        self._store.execute("BEGIN IMMEDIATE")
        try:
            self._store.execute("INSERT INTO idempotency_keys VALUES (?)", (key,))
            changed = self._store.execute(statement, parameters).rowcount
        except sqlite3.IntegrityError:
            self._store.execute("ROLLBACK")
            return 1  # counted by the request that brought the key first
        except sqlite3.Error:
            self._store.execute("ROLLBACK")
            raise
        self._store.execute("COMMIT" if changed else "ROLLBACK")
        return changed
