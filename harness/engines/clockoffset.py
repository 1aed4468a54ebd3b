"""How far the monotonic clock of another machine is from ours, from messages that went there and back.

A message sent at s by our clock, answered at w by theirs and back at r by ours was answered between s and r. The middle
is wrong by at most half the round trip, whatever the two ways took. The estimate with the smallest bound is kept; a
bound grows with its age, because clocks run at different speeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DRIFT = 500e-6  # the most by which NTP slews a clock; quartz itself is ten times better
_KEPT = 64


@dataclass(frozen=True)
class Exchange:
    """One message there and back, in ns: sent and received by our clock, answered by theirs."""

    sent_ns: int
    answered_ns: int
    received_ns: int

    @property
    def offset_ns(self) -> int:
        """Their clock less ours."""
        return self.answered_ns - (self.sent_ns + self.received_ns) // 2

    def error_ns(self, now_ns: int) -> int:
        """Return by how much the offset may be wrong at `now_ns` of our clock."""
        return (self.received_ns - self.sent_ns + 1) // 2 + int(DRIFT * (now_ns - self.received_ns))


@dataclass
class ClockOffset:
    """The last exchanges with one machine."""

    exchanges: list[Exchange] = field(default_factory=list)

    def add(self, exchange: Exchange) -> None:
        """Take note of an exchange; old ones are forgotten."""
        self.exchanges = [*self.exchanges[1 - _KEPT :], exchange]

    def best(self, now_ns: int) -> tuple[int, int]:
        """Return (their clock less ours, by how much it may be wrong) in ns. Raises ValueError before any exchange."""
        best = min(self.exchanges, key=lambda exchange: exchange.error_ns(now_ns))
        return best.offset_ns, best.error_ns(now_ns)
