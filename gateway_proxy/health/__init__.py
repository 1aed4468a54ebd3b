"""Which targets of an upstream are left alone: judges hear of every answer, and hold targets out or readmit them.

    active health      asks on its own; looks at no request
    passive health     failures in a row; a failure is no answer, 502, 503 or 504
    outlier ejection   a share of failures in an interval; a failure is no answer or any 5xx

They judge side by side: a target gets requests when none of them holds it out.
"""

from __future__ import annotations

import random
from typing import Any, Protocol, TypeVar

from gateway_proxy.config.upstreams import Upstream
from gateway_proxy.health.active import ActiveHealth, Ask
from gateway_proxy.health.outliers import OutlierEjection
from gateway_proxy.health.passive import PassiveHealth
from gateway_proxy.targets import T, Target, TargetPool

__all__ = ["ActiveHealth", "Ask", "Judge", "OutlierEjection", "PassiveHealth", "judges_for"]


T_contra = TypeVar("T_contra", bound=Target, contravariant=True)


class Judge(Protocol[T_contra]):
    """What one rule thinks of the targets of one upstream. Times are seconds of one monotonic clock."""

    def seen(self, target: T_contra, status: int, now: float) -> None:
        """Hear how an exchange ended: the status that the target answered, or 0 when it gave no (whole) answer.

        Not for what the gateway refused by itself, nor for a client that left.
        """

    def sweep(self, now: float) -> None:
        """Do what is due; called at every tick of the gateway's sweep."""

    def close(self) -> None:
        """Ask nothing more."""


def judges_for(
    upstream: Upstream, pool: TargetPool[T], ask: Ask, rng: random.Random, now: float
) -> tuple[Judge[T], ...]:
    """Return the judges that the configuration asks for; none, when it asks for none."""
    judges: list[Judge[Any]] = []
    if upstream.health.active is not None:
        judges.append(ActiveHealth(upstream.health.active, pool, ask, rng, now))
    if upstream.health.passive is not None:
        judges.append(PassiveHealth(upstream.health.passive, pool))
    if upstream.outlier_ejection is not None:
        judges.append(OutlierEjection(upstream.outlier_ejection, pool, now))
    return tuple(judges)
