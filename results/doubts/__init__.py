"""What may be wrong with a run. A new check is one new function and one line in CHECKS.

The null control and the generator's slip are judged claim by claim (per_claim.py): they spoil one claim, not a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from results.blocks import BlockTable
from results.doubt import Doubt
from results.doubts import design, generator, host
from results.loaded import Loaded

CHECKS: tuple[Callable[[Loaded, BlockTable], Iterable[Doubt]], ...] = (
    design.unusable_trials,
    design.missing_trials,
    design.few_blocks,
    design.uncontrolled_capacity,
    design.unsteady_windows,
    design.unobserved_faults,
    generator.busy,
    generator.busy_at_saturation,
    generator.behind,
    generator.in_flight_cap,
    generator.not_started,
    generator.errors,
    host.from_harness,
    host.from_trials,
    host.one_core,
    host.steal,
)


def find_doubts(loaded: Loaded, blocks: BlockTable) -> tuple[Doubt, ...]:
    """Run every check over the record; fatal doubts first."""
    found = [doubt for check in CHECKS for doubt in check(loaded, blocks)]
    return tuple(sorted(found, key=lambda doubt: not doubt.fatal))
