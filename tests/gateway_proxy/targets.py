"""Targets and a pool for tests: what the data path keeps, without connections."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Target:
    authority: bytes
    weight: int = 1
    active: int = 0
    held_out: set[str] = field(default_factory=set)

    def __repr__(self):
        return self.authority.decode()


def targets(*weights):
    """Return targets named a, b, c and so on."""
    return [Target(bytes([97 + number]), weight) for number, weight in enumerate(weights)]


@dataclass
class Pool:
    """Notes what judges do: `notes` are (what, target's name, reason)."""

    targets: list[Target]
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    def hold_out(self, target, reason):
        target.held_out.add(reason)
        self.notes.append(("out", repr(target), reason))

    def readmit(self, target, reason):
        target.held_out.discard(reason)
        self.notes.append(("in", repr(target), reason))
