"""A process dies without warning (SIGKILL) and is started again later on the same port and store."""

from dataclasses import dataclass

from scenarios.faults.fault import Component, FaultKind


@dataclass(frozen=True)
class Crash:
    """Kill, then restart; the fault is there while nobody serves on the component's port."""

    name: str = "crash"
    says: str = "SIGKILL, later a restart on the same port and store"

    def inject(self, component: Component) -> None:
        """Kill the component's process."""
        component.kill()

    def lift(self, component: Component) -> None:
        """Start the component again."""
        component.restart()

    def present(self, component: Component) -> bool:
        """Say whether the component refuses connections."""
        return not component.is_serving()


KIND: FaultKind = Crash()
