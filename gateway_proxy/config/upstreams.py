"""What stands behind the gateway: targets, how they are chosen, and when one is left alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gateway_proxy.config.kinds import (
    Address,
    Count,
    FieldName,
    Frozen,
    Path,
    PositiveShare,
    Seconds,
    Size,
    Status,
    Weight,
)
from scenarios.files import LocatedError

Balance = Literal["round_robin", "least_connections", "two_choices", "consistent_hash"]


class Target(Frozen):
    """One address, which gets `weight` shares of what comes to its upstream. Written alone, it is the address."""

    address: Address
    weight: Weight = 1

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value


class ActiveHealth(Frozen):
    """Ask every target at an interval; so many answers in a row, right or wrong, change what is thought of it."""

    path: Path
    interval_s: Seconds = 2.0
    timeout_s: Seconds = 1.0
    healthy_after: Count = 2
    unhealthy_after: Count = 3
    statuses: tuple[Status, ...] = Field(default=(200,), min_length=1)


class PassiveHealth(Frozen):
    """Leave a target alone for `retry_after_s` after so many failures in a row (no answer, 502, 503 or 504)."""

    unhealthy_after: Count = 5
    retry_after_s: Seconds = 10.0


class Health(Frozen):
    """Which targets get requests. When none is left, all do: answering badly is better than not asking."""

    active: ActiveHealth | None = None
    passive: PassiveHealth | None = None


class OutlierEjection(Frozen):
    """Eject a target whose share of failures (no answer, 5xx) in an interval is too high; longer each time."""

    error_share: PositiveShare = 0.5
    min_requests: Count = 20
    interval_s: Seconds = 10.0
    ejection_s: Seconds = 30.0
    max_ejected_share: PositiveShare = 0.5


class CircuitBreaker(Frozen):
    """Refuse with 503 for `open_s` after so many failures in a row (no answer, 5xx); then try a few requests."""

    failures: Count = 6
    open_s: Seconds = 30.0
    half_open_requests: Count = 3


class Upstream(Frozen):
    """A service behind the gateway.

    `response_timeout_s` bounds the wait for the next bytes of an answer, and for the peer to take bytes of a request.
    `hash_on` says what a consistent hash is taken of: the client's address, the path, or a field.
    """

    targets: tuple[Target, ...] = Field(min_length=1)
    balance: Balance = "round_robin"
    hash_on: Literal["client", "path"] | Annotated[FieldName, Field()] = "client"
    connect_timeout_s: Seconds = 1.0
    response_timeout_s: Seconds = 10.0
    max_idle_per_target: Size = 128
    max_connections_per_target: Count | None = None
    idle_timeout_s: Seconds = 90.0
    health: Health = Health()
    outlier_ejection: OutlierEjection | None = None
    circuit_breaker: CircuitBreaker | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        addresses = [target.address for target in self.targets]
        for index, address in enumerate(addresses):
            if address in addresses[:index]:
                raise LocatedError(("targets", index), f"{address!r} is a target already; give it a weight")
        return self
