"""Tables of a run with several gateways: a column for each of them."""

from __future__ import annotations

from collections.abc import Iterator

from results.across import ClaimAcross, across
from results.blocks import ALL_EXTERNAL, Key
from results.estimate import Measured
from results.figures import interval, number
from results.outcome import Comparison, Results
from results.reports.tables import Table, gateway_says, label_of, table_of
from results.summary import VerdictRow, verdict_rows

SAME = "same"
KEYS = (
    Key("call_latency_mean"),
    Key("flow_latency_mean", ALL_EXTERNAL),
    Key("cpu_per_request", "", "total"),
    Key("capacity"),
    Key("saturation_throughput"),
)
MODES = ("gateway", "hybrid")


def verdicts(results: Results) -> Table:
    """Return the claims with what each is about and, for each gateway, the verdict above what was measured."""
    columns = [verdict_rows(one) for one in results.every]
    rows = [
        (cells[0].claim, cells[0].says, _about(claim), cells[0].band, *_cells(claim, cells))
        for claim, cells in zip(across(results), zip(*columns, strict=True), strict=True)
    ]
    note = (
        "Measured figures stand with their 95 % interval. About: the same settled verdict with every gateway, verdicts"
        " that contradict each other, a verdict with some of them only, a claim that experiments try with a gateway of"
        " their own, or one that reads no gateway."
    )
    return table_of("Verdicts", note, ("Claim", "The document says", "About", "Band", *names(results)), rows)


def names(results: Results) -> tuple[str, ...]:
    """Return the gateways of the run, by name, the first one first."""
    return tuple(one.plan.gateway for one in results.every)


def titles(results: Results) -> list[tuple[str, dict[str, str]]]:
    """Return, for each gateway, name, version and pool profile, and its configuration by mode."""
    gateways = results.plan.every_gateway
    configs = [one.plan.gateway_config for one in results.every]
    return [(gateway_says(gateway), config) for gateway, config in zip(gateways, configs, strict=True)]


def _about(claim: ClaimAcross) -> str:
    return "-" if claim.about == "not testable" else claim.about


def _cells(claim: ClaimAcross, rows: tuple[VerdictRow, ...]) -> Iterator[str]:
    """Yield a cell for each gateway; what no gateway can change is said once."""
    first = _cell(rows[0])
    for at, row in enumerate(rows):
        once = at > 0 and claim.about in ("no gateway", "not testable") and _cell(row) == first
        yield SAME if once else _cell(row)


def _cell(row: VerdictRow) -> str:
    return row.verdict if row.measured == "-" else f"{row.verdict}\n{row.measured}"


def reasons(results: Results) -> Table:
    """Return why each verdict is what it is, for each gateway."""
    columns = [verdict_rows(one) for one in results.every]
    rows = [
        (row.claim, name, row.verdict, row.measured, row.why)
        for cells in zip(*columns, strict=True)
        for name, row in zip(names(results), cells, strict=True)
    ]
    note = "The verdicts of the table above, each with its reason."
    return table_of("Why", note, ("Claim", "Gateway", "Verdict", "Measured", "Why"), rows)


def ratios(results: Results) -> Table:
    """Return what each gateway costs over direct calls, and over the gateway that it varies."""
    rows = [
        (label_of(key), f"{mode} / direct", *(_ratio(one.comparisons, key, mode) for one in results.every))
        for key in KEYS
        for mode in MODES
    ]
    rows += [
        (label_of(key), f"{mode} / other", *(_over_base(one, key, mode) for one in results.every))
        for key in KEYS
        for mode in MODES
    ]
    note = (
        "Ratios block by block with their 95 % interval. Other: the gateway named in the cell, which is the same"
        " product with its connections kept where the run has it, and the first gateway of the run otherwise."
    )
    filled = [row for row in rows if any(cell != "-" for cell in row[2:])]
    return table_of("Gateway by gateway", note, ("What", "Arms", *names(results)), filled)


def _ratio(comparisons: tuple[Comparison, ...], key: Key, mode: str) -> str:
    found = next((one for one in comparisons if (one.key, one.numerator) == (key, mode)), None)
    return "-" if found is None else _interval(found.measured)


def _over_base(results: Results, key: Key, mode: str) -> str:
    arm = f"{mode}@{results.plan.gateway}"
    found = next((one for one in results.over_base if (one.key, one.numerator) == (key, arm)), None)
    if found is None:
        return "-"
    other = found.denominator.partition("@")[2] or results.plan.every_gateway[0].name
    return f"{_interval(found.measured)} over {other}"


def _interval(measured: Measured) -> str:
    around = "one block" if measured.at95.low is None else interval(measured.at95.low, measured.at95.high)
    return f"{number(measured.point)}x ({around})"
