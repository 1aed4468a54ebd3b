"""What a claim kind provides, and the error for a claim that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from results.evidence import Evidence
from results.metrics import METRICS
from results.verdict import Word
from scenarios.model import Claim
from scenarios.modes import MODES

ARMS = (*MODES, "direct-null")


class ClaimProblem(Exception):  # noqa: N818 - the project's word for it
    """A claim that cannot be judged as it is written: unknown kind, missing or wrong `reads`, no band."""

    def __init__(self, claim: str, message: str) -> None:
        super().__init__(f"claim {claim}: {message}")
        self.claim = claim


def _one_of(choices: tuple[str, ...], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is no {what}: one of {', '.join(choices)}")
        return value

    return AfterValidator(check)


MetricName = Annotated[str, _one_of(tuple(METRICS), "metric")]
ArmName = Annotated[str, _one_of(ARMS, "arm")]
ModeName = Annotated[str, _one_of(tuple(MODES), "mode")]


class Reads(BaseModel):
    """A kind's own parameters, refused when one is missing or unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def flows(self) -> tuple[str, ...]:
        """Return the flows that are named, to be checked against the scenario."""
        return ()

    def targets(self) -> tuple[str, ...]:
        """Return the components that are named, to be checked against the scenario."""
        return ()

    def arms(self) -> tuple[str, ...] | None:
        """Return the arms and modes that are read; None when the kind does not say, so that it may be any."""
        return None


@dataclass(frozen=True)
class Quantity:
    """What was measured for a claim; `level` belongs to low and high."""

    point: float | None
    low: float | None
    high: float | None
    unit: str
    level: float | None = 0.95


@dataclass(frozen=True)
class Finding:
    """A kind's answer: the verdict, what was measured (as a quantity and in words) and why. `details`: its parts.

    `scope` says where the finding holds for another setting than the run's.
    """

    verdict: Word
    why: str
    measured: Quantity | None = None
    text: str = ""
    details: tuple[dict[str, Any], ...] = ()
    more_blocks: int | None = None
    blocks: int = 0
    scope: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A claim kind. `stands_on` names the tags of the doubts that would spoil its verdict (results.doubt).

    `claimed_ms` gives the difference in latency that the claim is about, for the generator's slip to be held against.
    `of_instances`: a fault on the gateway means one of its instances, not the gateway as a whole.
    """

    reads: type[Reads]
    judge: Callable[[Claim, Any, Evidence], Finding]
    stands_on: Callable[[Claim, Any, Evidence], frozenset[str]]
    needs_band: bool = False
    claimed_ms: Callable[[Claim, Any, Evidence], float | None] | None = None
    of_instances: bool = False


def read(claim: Claim, kind: Kind) -> Reads:
    """Return the claim's reads as the kind's own type. Raises ClaimProblem when they do not fit or a band lacks."""
    if kind.needs_band and (claim.band is None or (claim.band.low is None and claim.band.high is None)):
        raise ClaimProblem(claim.id, f"kind {claim.kind} needs a band with a low or a high end")
    try:
        return kind.reads.model_validate(claim.reads)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(["reads", *map(str, first["loc"])])
        raise ClaimProblem(claim.id, f"{where}: {first['msg']}") from wrong
