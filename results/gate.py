"""The regression gate: whether a run may pass, given the one that was accepted before.

Exit codes: 0 fine, 3 a regression or a changed verdict, 4 inconclusive under --strict, 5 invalid measurement. The gate
looks at changes, so that a claim known to be refuted does not keep CI red. Only ratios between modes of one run are
compared: they move far less from host to host than absolute figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from results.figures import number, percent, plural
from results.files import BadInput, Data, load_results
from results.gate_further import FURTHER, with_further
from results.gate_rule import MARGIN, TOLERANCE, Answer, LogRatio, Slowdown, answers, slowdown

FINE, CHANGED, INCONCLUSIVE, INVALID = 0, 3, 4, 5
SAME_SETTING = ("scenario", "gateway", "gateway_replicas", "work", "policy")
BEFORE = {"gateway_replicas": 1}  # what results say that were written before there was such a setting
DETERMINED = ("confirmed", "refuted")
NULL = "direct-null"

Source = Path | Data


@dataclass(frozen=True)
class RatioCheck:
    """One gated ratio of both runs. `low` and `high` are one-sided 97.5 % bounds of the slowdown, as shares."""

    metric: str
    arms: str
    current: float
    baseline: float
    slowdown: float | None
    low: float | None
    high: float | None
    answer: Answer
    why: str


@dataclass(frozen=True)
class VerdictChange:
    """A claim whose verdict is not what it was. Only a change between confirmed and refuted fails the gate."""

    claim: str
    before: str
    now: str
    fails: bool


@dataclass(frozen=True)
class GateOutcome:
    """The gate's answer. `says` is one sentence; the rest is its evidence."""

    exit_code: int
    says: str
    verdicts: dict[str, int]
    ratios: tuple[RatioCheck, ...] = ()
    changes: tuple[VerdictChange, ...] = ()
    invalid: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparisonRow:
    """One ratio of two runs side by side; None where a run does not have it."""

    metric: str
    flow: str
    component: str
    arms: str
    first: tuple[float, float | None, float | None] | None
    second: tuple[float, float | None, float | None] | None


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side, and the claims whose verdict differs."""

    rows: tuple[ComparisonRow, ...]
    changes: tuple[VerdictChange, ...]


def check(
    current: Source,
    baseline: Source | None = None,
    tolerance: float = TOLERANCE,
    margin: float = MARGIN,
    *,
    strict: bool = False,
) -> GateOutcome:
    """Judge a run, against a baseline if there is one. Raises BadInput for what is no run or not comparable."""
    if not 0 <= tolerance < margin:
        raise BadInput(f"the tolerance ({tolerance:g}) must be at least 0 and below the margin ({margin:g})")
    now = _data(current)
    before = None if baseline is None else _data(baseline)
    if before is not None:
        _refuse_incomparable(now, before)
        now, before = with_further(now, before)
    else:
        now, _ = with_further(now, now)
    invalid = tuple(_invalid(now))
    ratios = () if before is None else tuple(_ratio_checks(now, before, tolerance, margin))
    changes = () if before is None else tuple(_changes(now, before))
    unsettled = _unsettled(now) if before is None else _undecided(ratios, changes)
    outcome = GateOutcome(FINE, "", _counts(now), ratios, changes, invalid)
    return _decide(outcome, unsettled, strict=strict, compared=before is not None)


def compare(first: Source, second: Source) -> RunComparison:
    """Set two runs side by side. Raises BadInput for what is no run or of another scenario."""
    one, other = _data(first), _data(second)
    if one["run"]["scenario"] != other["run"]["scenario"]:
        raise BadInput(f"the runs are of different scenarios: {one['run']['scenario']} and {other['run']['scenario']}")
    one, other = with_further(one, other)
    left, right = _by_key(one), _by_key(other)
    rows = tuple(_row(key, left.get(key), right.get(key)) for key in {**left, **right})
    return RunComparison(rows, tuple(_changes(other, one)))


def _data(source: Source) -> Data:
    return load_results(source) if isinstance(source, Path) else source


def _refuse_incomparable(now: Data, before: Data) -> None:
    for name in SAME_SETTING:
        then, this = (run["run"].get(name, BEFORE.get(name)) for run in (before, now))
        if then != this:
            raise BadInput(
                f"the baseline was measured with another {name} ({then}, now {this}):"
                " even ratios move with it, so the two cannot be compared"
            )


def _invalid(now: Data) -> Iterator[str]:
    """Name what is invalid: the run as a whole, with a further gateway, or claims that gate."""
    for where, validity in {"the run": now["validity"], **now.get(FURTHER, {})}.items():
        if not validity["valid"]:
            fatal = [doubt["name"] for doubt in validity["doubts"] if doubt["fatal"]]
            yield f"{where} ({', '.join(fatal)})"
    yield from (claim["id"] for claim in now["claims"] if claim["verdict"] == "invalid" and claim["gates"])


def _counts(now: Data) -> dict[str, int]:
    verdicts = [claim["verdict"] for claim in now["claims"]]
    return {word: verdicts.count(word) for word in dict.fromkeys(verdicts)}


def _unsettled(now: Data) -> list[str]:
    return [claim["id"] for claim in now["claims"] if claim["gates"] and claim["verdict"] == "inconclusive"]


def _undecided(ratios: tuple[RatioCheck, ...], changes: tuple[VerdictChange, ...]) -> list[str]:
    open_ratios = [f"{ratio.metric} {ratio.arms}" for ratio in ratios if ratio.answer == "inconclusive"]
    return open_ratios + [change.claim for change in changes if change.now == "inconclusive"]


def _decide(outcome: GateOutcome, unsettled: list[str], *, strict: bool, compared: bool) -> GateOutcome:
    slower = [f"{ratio.metric} {ratio.arms}" for ratio in outcome.ratios if ratio.answer == "fail"]
    changed = [f"{change.claim} ({change.before} to {change.now})" for change in outcome.changes if change.fails]
    if outcome.invalid:
        return replace(outcome, exit_code=INVALID, says=f"The measurement is invalid: {', '.join(outcome.invalid)}.")
    if slower or changed:
        parts = [f"slower: {', '.join(slower)}"] * bool(slower) + [f"changed: {', '.join(changed)}"] * bool(changed)
        return replace(outcome, exit_code=CHANGED, says=f"Not as before; {'; '.join(parts)}.")
    if unsettled:
        says = f"Nothing is shown to be worse, but this is not settled: {', '.join(unsettled)}."
        return replace(outcome, exit_code=INCONCLUSIVE if strict else FINE, says=says)
    count = plural(len(outcome.ratios), "ratio")
    held = f"{count} held and no verdict changed" if compared else "valid, and every gating claim is settled"
    return replace(outcome, says=f"Passed: {held}.")


def _changes(now: Data, before: Data) -> Iterator[VerdictChange]:
    verdicts = {claim["id"]: claim for claim in now["claims"]}
    known = {claim["id"] for claim in before["claims"]}
    for claim in before["claims"]:
        found = verdicts.get(claim["id"])
        word = found["verdict"] if found else "missing"
        if word != claim["verdict"]:
            flipped = claim["verdict"] in DETERMINED and word in (*DETERMINED, "missing")
            yield VerdictChange(claim["id"], claim["verdict"], word, claim["gates"] and flipped)
    for claim in now["claims"]:
        if claim["id"] not in known:
            yield VerdictChange(claim["id"], "new", claim["verdict"], fails=False)


Key = tuple[str, str, str, str, str]


def _by_key(data: Data) -> dict[Key, dict[str, Any]]:
    names = ("metric", "flow", "component", "numerator", "denominator")
    return {
        (one[names[0]], one[names[1]], one.get(names[2], ""), one[names[3]], one[names[4]]): one
        for one in data["comparisons"]
    }


def _row(key: Key, first: dict[str, Any] | None, second: dict[str, Any] | None) -> ComparisonRow:
    ends = [None if one is None else (one["ratio"], one["low"], one["high"]) for one in (first, second)]
    return ComparisonRow(*key[:3], f"{key[3]}/{key[4]}", *ends)


def _ratio_checks(now: Data, before: Data, tolerance: float, margin: float) -> Iterator[RatioCheck]:
    """Check every gated ratio; a metric that the current run lacks, or that has one block only, stays open."""
    found, known = _by_key(now), _by_key(before)
    gated = [key for key, one in known.items() if one.get("gated") and key[3] != NULL]
    pairs = {key: (_log_ratio(found.get(key)), _log_ratio(known[key])) for key in gated}
    slowdowns = {
        key: slowdown(mine, theirs, worse_is_higher=known[key].get("worse") != "lower")
        for key, (mine, theirs) in pairs.items()
        if mine is not None and theirs is not None
    }
    judged = dict(zip(slowdowns, answers(list(slowdowns.values()), tolerance, margin), strict=True))
    for key in gated:
        if key in judged:
            off = _null_off(key, found, known, tolerance)
            yield _check(key, found[key], known[key], slowdowns[key], judged[key], off)
        else:
            yield _open(key, found.get(key), known[key])


def _log_ratio(one: dict[str, Any] | None) -> LogRatio | None:
    if one is None or one["n"] < 2 or one.get("sd_log") is None:
        return None
    return LogRatio(math.log(one["ratio"]), one["sd_log"], one["n"])


def _null_off(key: Key, found: dict[Key, Any], known: dict[Key, Any], tolerance: float) -> float | None:
    """Return how far the null control of the metric is off in either run, if that is more than the tolerance."""
    null = (*key[:3], NULL, key[4])
    off = max((abs(math.log(run[null]["ratio"])) for run in (found, known) if null in run), default=0.0)
    return math.expm1(off) if off > math.log1p(tolerance) else None


def _check(
    key: Key, mine: dict[str, Any], theirs: dict[str, Any], slow: Slowdown, answer: Answer, off: float | None
) -> RatioCheck:
    low, high = slow.bound(upper=False), slow.bound(upper=True)
    why = f"{percent(math.expm1(slow.mean))} slower, between {percent(low)} and {percent(high)}"
    verdict: Literal["pass", "fail", "inconclusive"] = answer
    if answer == "fail" and off is not None:
        verdict, why = "inconclusive", f"{why}; but direct against itself is off by {percent(off)}"
    arms, change = f"{key[3]}/{key[4]}", math.expm1(slow.mean)
    return RatioCheck(_name(key), arms, mine["ratio"], theirs["ratio"], change, low, high, verdict, why)


def _open(key: Key, mine: dict[str, Any] | None, theirs: dict[str, Any]) -> RatioCheck:
    why = "this run does not have it" if mine is None else f"{number(mine['n'])} against {number(theirs['n'])} blocks"
    ratio = float("nan") if mine is None else mine["ratio"]
    arms = f"{key[3]}/{key[4]}"
    return RatioCheck(_name(key), arms, ratio, theirs["ratio"], None, None, None, "inconclusive", why)


def _name(key: Key) -> str:
    return " ".join(part for part in key[:3] if part)
