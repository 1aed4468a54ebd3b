"""How long the services work: not at all (bare), or as long as the platform's own services do (realistic).

Realistic service times are lognormal with sigma 0.4 around the medians below, drawn from a seeded source. They are
pauses, not CPU: what is measured is communication, and a core that hashes passwords would hide it. The same goes for
bcrypt, whose 84 ms (cost 10) are pure CPU in the original and a constant pause in here.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import Literal

SIGMA = 0.4
BCRYPT_MS = 84.0

Job = Literal["profile/create", "progress/update", "statistics/update", "send", "lesson", "submit", "courses"]

MEDIAN_MS: dict[Job, float] = {
    "profile/create": 2.0,
    "progress/update": 4.0,
    "statistics/update": 1.5,
    "send": 2.5,
    "lesson": 3.0,
    "submit": 40.0,
    "courses": 4.0,
}


class Realistic:
    """Pauses as long as the real services work."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def do(self, job: Job) -> None:
        """Be busy with a job for a lognormal time around its median."""
        await asyncio.sleep(self._rng.lognormvariate(math.log(MEDIAN_MS[job]), SIGMA) / 1000)

    async def hash_password(self) -> None:
        """Be busy as long as bcrypt is."""
        await asyncio.sleep(BCRYPT_MS / 1000)
