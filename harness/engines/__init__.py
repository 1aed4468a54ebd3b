"""Load engines. A new one is one new file and one line in ENGINES."""

from harness.engines import forked, locust_crew
from harness.engines.engine import Crew, CrewPlan, Engine, Pending

ENGINES: dict[str, Engine] = {
    "native": forked.ENGINE,
    "locust": locust_crew.ENGINE,
}

__all__ = ["ENGINES", "Crew", "CrewPlan", "Engine", "Pending"]
