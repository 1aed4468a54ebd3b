"""Several gateways in one run: which claims are about gateways, which about one, and which about none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from results.figures import spoken
from results.judge import Verdict, needs_gateway
from results.outcome import Results
from results.verdict import WORDS, Word
from scenarios.model import Claim

About = Literal[
    "gateways", "one gateway", "some gateways", "its own gateway", "no gateway", "not settled", "not testable"
]

SETTLED = ("confirmed", "refuted")
_LEADS: dict[About, str] = {
    "gateways": "The same verdict with every gateway, so about gateways",
    "one gateway": "Confirmed with one gateway and refuted with another, so about one gateway",
    "some gateways": "Shown with some of the gateways and open with the others, so perhaps about one gateway",
    "its own gateway": "Tried with the same gateway of the experiment's own in every arm, so not compared",
    "not settled": "Not settled with any gateway",
    "no gateway": "Not dependent on a gateway",
}


@dataclass(frozen=True)
class ClaimAcross:
    """One claim with its verdict for each gateway, in the order of the run, and what it is therefore about."""

    claim: str
    about: About
    verdicts: tuple[tuple[str, Word], ...]


def across(results: Results) -> tuple[ClaimAcross, ...]:
    """Set the verdicts of all gateways side by side; nothing for a run with one gateway."""
    if not results.further:
        return ()
    names = [one.plan.gateway for one in results.every]
    return tuple(_claim(names, verdicts) for verdicts in zip(*(one.verdicts for one in results.every), strict=True))


def _claim(names: Sequence[str], verdicts: Sequence[Verdict]) -> ClaimAcross:
    words = [verdict.finding.verdict for verdict in verdicts]
    claim = verdicts[0].claim
    return ClaimAcross(claim.id, _about(claim, verdicts), tuple(zip(names, words, strict=True)))


def _about(claim: Claim, verdicts: Sequence[Verdict]) -> About:
    if claim.not_testable:
        return "not testable"
    if not needs_gateway(claim):
        return "no gateway"
    if _stand_in(verdicts):
        return "its own gateway"
    return _about_words([verdict.finding.verdict for verdict in verdicts])


def _stand_in(verdicts: Sequence[Verdict]) -> bool:
    """Say whether an experiment put one gateway of its own in the place of every arm's."""
    used = {verdict.finding.scope.get("gateway") for verdict in verdicts}
    return len(used) == 1 and None not in used


def _about_words(words: Sequence[Word]) -> About:
    settled = {word for word in words if word in SETTLED}
    if set(words) == {"not testable"}:
        return "not testable"
    if not settled:
        return "not settled"
    if len(settled) > 1:
        return "one gateway"
    return "gateways" if all(word in SETTLED for word in words) else "some gateways"


def statements(claims: Sequence[ClaimAcross]) -> list[str]:
    """Return a sentence for each thing that claims can be about, with the claims and their verdicts."""
    groups = {about: [claim for claim in claims if claim.about == about] for about in _LEADS}
    return [f"{_LEADS[about]}: {'; '.join(_listed(about, group))}." for about, group in groups.items() if group]


def _listed(about: About, claims: Sequence[ClaimAcross]) -> Iterator[str]:
    """Yield claims of one verdict together, and those whose verdict differs one by one."""
    for word in WORDS:
        same = [claim.claim for claim in claims if {verdict for _, verdict in claim.verdicts} == {word}]
        if same:
            yield f"{spoken(same)} ({word})"
    for claim in claims:
        if len({verdict for _, verdict in claim.verdicts}) > 1:
            doubt = ", for a doubt about the trials of one gateway" if about == "no gateway" else ""
            yield f"{claim.claim} ({by_word(claim)}{doubt})"


def by_word(claim: ClaimAcross) -> str:
    """Return the verdicts in words: `refuted with builtin and traefik, confirmed with nginx`; one word if all agree."""
    groups: dict[Word, list[str]] = {}
    for name, word in claim.verdicts:
        groups.setdefault(word, []).append(name)
    if len(groups) == 1:
        return next(iter(groups))
    return ", ".join(f"{word} with {spoken(names)}" for word, names in groups.items())
