"""notification: appends what is to be sent. Calls nobody."""

from __future__ import annotations

import sqlite3

from starlette.routing import Route

from stub_services.service import Context
from stub_services.web import InternalEndpoint, Request, text

_INSERT = "INSERT INTO notifications (user_id, kind, title, message) VALUES (?, ?, ?, ?)"


def routes(context: Context) -> list[Route]:
    """Return the service's own routes."""
    send = InternalEndpoint(Notification(context).send, context.settings.internal_api_key)
    return [Route("/api/v1/notification/internal/send", send, methods=["POST"])]


class Notification:
    """The handler of notification."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._work = context.work

    async def send(self, request: Request) -> tuple[int, bytes]:
        """Append a notification; a repeat appends another, unless it carries a key that was seen."""
        fields = request.fields()
        row = (text(fields, "user_id"), text(fields, "kind"), text(fields, "title"), text(fields, "message"))
        if self._work is not None:
            await self._work.do("send")
        key = request.header(b"idempotency-key")
        number = self._append(row) if key is None else self._append_once(row, key.decode("latin-1"))
        return 201, (
            b'{"success": true, "message": "The notification is queued for sending", '
            b'"notification_id": "notification-%010d"}' % number
        )

    def _append(self, row: tuple[str, ...]) -> int:
        number = self._store.execute(_INSERT, row).lastrowid
        assert number is not None  # an INSERT that raised nothing has one
        return number

    def _append_once(self, row: tuple[str, ...], key: str) -> int:
        self._store.execute("BEGIN IMMEDIATE")
        try:
            number = self._append(row)
            self._store.execute("INSERT INTO idempotency_keys VALUES (?, ?)", (key, number))
        except sqlite3.IntegrityError:
            self._store.execute("ROLLBACK")
            seen = self._store.execute("SELECT id FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
            return int(seen[0])
        except sqlite3.Error:
            self._store.execute("ROLLBACK")
            raise
        self._store.execute("COMMIT")
        return number
