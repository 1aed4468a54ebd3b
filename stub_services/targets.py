"""Where the peers' internal endpoints are, and what to answer when a peer that is needed fails."""

from __future__ import annotations

from stub_services.policies import Result
from stub_services.web import Refusal

PROFILE_CREATION = "/api/v1/user/internal/profile/create"
PROGRESS = "/api/v1/user/internal/progress/update"
SEND_NOTIFICATION = "/api/v1/notification/internal/send"


def statistics_of(skill: str) -> str:
    """Return where a submission in a skill is counted."""
    return f"/api/v1/user/internal/statistics/{skill}/update"


def profile_of(user_id: str) -> str:
    """Return where a learner's profile is read."""
    return f"/api/v1/user/internal/profile/{user_id}"


def peer_refusal(peer: str, result: Result) -> Refusal:
    """Say that a needed peer failed: 503 when nothing was asked of it, 502 when it answered badly or not at all."""
    status = 503 if result.outcome == "rejected" else 502
    return Refusal(status, f"{peer} could not do its part: {result.outcome}")
