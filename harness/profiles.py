"""How long a run takes: block counts and window lengths of the three profiles. Times in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Blocks and windows. A steady trial: warmup, open, saturation. A fault trial: warmup, before, fault, after."""

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


PROFILES: dict[str, Profile] = {
    "quick": Profile("quick", 8, 2, 0.15, 0.7, 0.35, 0.1, 0.15, 0.5, 0.35, 0.8),
    "standard": Profile("standard", 12, 4, 1.0, 5.0, 2.0, 0.5, 0.5, 2.0, 2.0, 1.0),
    "thorough": Profile("thorough", 24, 8, 2.0, 12.0, 4.0, 1.0, 1.0, 5.0, 5.0, 2.0),
}
