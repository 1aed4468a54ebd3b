"""What a fault is: a kind, a target component and how it is applied and lifted."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


class Component(Protocol):
    """What a fault may do to a component; the harness provides it."""

    def kill(self) -> None:
        """Stop the process at once, without a chance to tidy up (SIGKILL)."""

    def restart(self) -> None:
        """Start a fresh process of the same component on the same port and store."""

    def is_serving(self) -> bool:
        """Say whether the component accepts connections just now."""


class FaultKind(Protocol):
    """One kind of fault. `present` says whether the observed component shows the fault."""

    @property
    def name(self) -> str:
        """The word before the colon in KIND:TARGET."""

    @property
    def says(self) -> str:
        """What it does, in a line."""

    def inject(self, component: Component) -> None:
        """Apply the fault."""

    def lift(self, component: Component) -> None:
        """Take the fault away."""

    def present(self, component: Component) -> bool:
        """Say whether the fault is observed to be there."""


@dataclass(frozen=True)
class FaultSpec:
    """A fault to inject: its kind and the component it hits."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"


def parse_fault(text: str, kinds: Collection[str], targets: Collection[str]) -> FaultSpec:
    """Read `KIND:TARGET`. Raises ValueError with the choices when either part is unknown."""
    kind, _, target = text.partition(":")
    if kind not in kinds or target not in targets:
        raise ValueError(
            f"unknown fault {text!r}: write KIND:TARGET with KIND one of {', '.join(sorted(kinds))}"
            f" and TARGET one of {', '.join(sorted(targets))}"
        )
    return FaultSpec(kind, target)
