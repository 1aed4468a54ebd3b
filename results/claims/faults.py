"""Shared by the kinds that judge what a fault did."""

from __future__ import annotations

from results.doubt import LOAD, RECORD, fault_tag
from results.figures import percent, plural
from results.impact import Case, FlowImpact, more_fault_blocks


def fault_tags(cases: list[Case]) -> frozenset[str]:
    """Return what a verdict on these cases stands on."""
    return frozenset({RECORD, LOAD, *(fault_tag(*case) for case in cases)})


def name(case: Case) -> str:
    """Return the case in words."""
    return f"{case.fault} of {case.target} in {case.mode} mode"


def describe(impact: FlowImpact) -> str:
    """Return a flow's state with its impact."""
    return f"{impact.flow.name} is {impact.state}, impact {percent(impact.point)}"


def blocks_behind(impacts: list[FlowImpact]) -> int:
    """Return the number of blocks of the flow that has least."""
    return min((len(impact.counts) for impact in impacts), default=0)


def blocks_hint(impacts: list[FlowImpact]) -> tuple[int | None, str]:
    """Say how many more fault blocks would settle the undetermined flows, as a number and as a sentence."""
    needed = [more_fault_blocks(impact) for impact in impacts if impact.state == "undetermined"]
    if not needed or any(more is None for more in needed):
        return None, ""
    most = max(more for more in needed if more is not None)
    return most, f" About {plural(most, 'more fault block')} of this length would settle it if the shares stay."
