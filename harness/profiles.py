"""How long a run takes: block counts and window lengths of the three profiles. Times in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchProfile:
    """The capacity search: of what unless a run says otherwise (none, mix, flows), in how many blocks, how finely.

    `null`: whether the null control is searched as well. `votes`: windows that must agree about a rate.
    """

    what: str
    blocks: int
    null: bool
    flow_blocks: int
    window_s: float  # at least
    least_requests: int  # of a window: a p99 rests on the worst hundredth of them
    precision: float
    votes: int
    most_windows: int


@dataclass(frozen=True)
class Profile:
    """Blocks and windows. A steady trial: warmup, open, and saturation in the first `saturation_blocks` blocks.

    A fault trial: warmup, before, fault, after.
    """

    name: str
    steady_blocks: int  # a multiple of four, so that the order of the four arms balances
    fault_blocks: int
    warmup_s: float
    open_s: float
    saturation_s: float
    fault_warmup_s: float
    before_s: float
    fault_s: float
    after_s: float
    pilot_s: float
    saturation_blocks: int
    search: SearchProfile
    experiment_blocks: int = 1  # in so many of the first blocks the scenario's experiments are tried


PROFILES: dict[str, Profile] = {
    "quick": Profile(
        "quick",
        *(8, 2, 0.15, 0.7, 0.35, 0.1, 0.15, 0.5, 0.3, 0.6, 3),
        SearchProfile("mix", 3, False, 2, 0.35, 350, 0.12, 1, 7),
    ),
    "standard": Profile(
        "standard",
        *(12, 4, 1.0, 5.0, 2.0, 0.5, 0.5, 2.0, 2.0, 1.0, 12),
        SearchProfile("mix", 9, True, 2, 1.0, 1000, 0.05, 2, 20),
        experiment_blocks=4,
    ),
    "thorough": Profile(
        "thorough",
        *(24, 8, 2.0, 12.0, 4.0, 1.0, 1.0, 5.0, 5.0, 2.0, 24),
        SearchProfile("flows", 12, True, 3, 2.0, 1000, 0.03, 2, 24),
        experiment_blocks=4,
    ),
}
