"""auth: accounts and tokens."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import sqlite3

from starlette.routing import Route

from stub_services import tokens
from stub_services.client import PROFILE_CREATE, SEND
from stub_services.learners import new_user_id
from stub_services.service import Context
from stub_services.stores import SALT_BYTES, hash_password
from stub_services.targets import PROFILE_CREATION, SEND_NOTIFICATION
from stub_services.web import Endpoint, Refusal, Request, text


def routes(context: Context) -> list[Route]:
    """Return the service's own routes."""
    auth = Auth(context)
    return [
        Route("/api/v1/auth/register", Endpoint(auth.register), methods=["POST"]),
        Route("/api/v1/auth/login", Endpoint(auth.login), methods=["POST"]),
        Route("/api/v1/auth/verify", Endpoint(auth.verify), methods=["GET"]),
    ]


class Auth:
    """The handlers of auth."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._client = context.client
        self._secret = context.settings.jwt_secret
        self._work = context.work

    async def register(self, request: Request) -> tuple[int, bytes]:
        """Create an account, then a profile at user and a welcome at notification.

        The account is what counts: when the profile or the welcome fails that is only logged, the answer stays 201,
        and an orphan is left behind.
        """
        fields = request.fields()
        username, password = text(fields, "username"), text(fields, "password")
        email, full_name = text(fields, "email"), text(fields, "full_name")
        if self._work is not None:
            await self._work.hash_password()
        user_id = self._create(username, password, email)
        profile = {"user_id": user_id, "username": username, "email": email, "full_name": full_name}
        await self._client.call(PROFILE_CREATE, PROFILE_CREATION, json.dumps(profile).encode(), user_id)
        await self._client.call(SEND, SEND_NOTIFICATION, _welcome(user_id, username), f"welcome:{user_id}")
        return 201, self._session(user_id, username, email)

    async def login(self, request: Request) -> tuple[int, bytes]:
        """Check the password and issue a token; 401 says nothing about which of the two was wrong."""
        fields = request.fields()
        username, password = text(fields, "username"), text(fields, "password")
        if self._work is not None:
            await self._work.hash_password()
        row = self._store.execute(
            "SELECT user_id, salt, hash, email FROM accounts WHERE username = ?", (username,)
        ).fetchone()
        if row is None or not hmac.compare_digest(hash_password(password, row[1]), row[2]):
            raise Refusal(401, "unknown username or wrong password")
        return 200, self._session(row[0], username, row[3])

    async def verify(self, request: Request) -> tuple[int, bytes]:
        """Judge a bearer token for somebody who does not check it: 204 for a good one, 401 otherwise."""
        request.learner(self._secret)
        return 204, b""

    def _create(self, username: str, password: str, email: str) -> str:
        user_id = new_user_id()
        salt = os.urandom(SALT_BYTES)
        try:
            self._store.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?)",
                (username, user_id, salt, hash_password(password, salt), email),
            )
        except sqlite3.IntegrityError:
            raise Refusal(409, f"the username {username!r} is taken") from None
        return user_id

    def _session(self, user_id: str, username: str, email: str) -> bytes:
        session = {
            "access_token": tokens.sign(user_id, self._secret),
            "refresh_token": secrets.token_hex(32),
            "token_type": "bearer",
            "expires_in": tokens.LIFETIME_S,
            "user": {"id": user_id, "username": username, "email": email, "role": "learner"},
        }
        return json.dumps(session).encode()


def _welcome(user_id: str, username: str) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "kind": "welcome",
            "title": "Welcome to your IELTS preparation",
            "message": f"Hello {username}! Your account is ready. Take the placement test, choose a course for your "
            "target band and practise every single day.",
        }
    ).encode()
