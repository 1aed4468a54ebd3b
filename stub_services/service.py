"""What the five services have in common: a store, a client, their routes, and perhaps a sweep of their own."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable

from stub_services.calllog import CallLog
from stub_services.client import Client
from stub_services.policies import Result
from stub_services.settings import Settings
from stub_services.stores import open_store
from stub_services.work import Realistic

SweepFlow = Callable[[int], Awaitable[Result]]
"""Run the internally started flow for the learner with this index."""


class Context:
    """The running service's own things. Must be made inside the running loop.

    `work` is None when handlers do nothing but their business (bare). Raises sqlite3.Error or OSError when the store
    or the logs cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = CallLog(settings.log_dir, settings.name)
        self.store: sqlite3.Connection = open_store(settings.store_dir, settings.name)
        self.client = Client(settings, self.log)
        self.work = Realistic(random.Random(settings.seed)) if settings.work == "realistic" else None

    def close(self) -> None:
        """Close connections, store and logs."""
        self.client.close()
        self.store.close()
        self.log.close()
