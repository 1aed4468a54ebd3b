"""Numbers as people read them: significant digits, intervals, bands, shares."""

from __future__ import annotations

import math

from scenarios.model import Band


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits and without an exponent; a dash for None or NaN."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(low: float | None, high: float | None) -> str:
    """Return `low to high`, or words when there is no interval."""
    return "no interval" if low is None or high is None else f"{number(low)} to {number(high)}"


def with_unit(text: str, unit: str) -> str:
    """Put the unit behind the text: `2.5x`, `4 ms`."""
    return text + unit if unit in {"x", "%"} else f"{text} {unit}".strip()


def quantity(point: float | None, low: float | None, high: float | None, unit: str) -> str:
    """Return a point with its interval: `2.5x (2.4 to 2.6)`."""
    if point is None:
        return with_unit(interval(low, high), unit) if low is not None else "-"
    around = "" if low is None or high is None else f" ({interval(low, high)})"
    return with_unit(number(point), unit) + around


def band_text(band: Band | None) -> str:
    """Return a band in words; an open end is `at least` or `at most`."""
    if band is None or (band.low is None and band.high is None):
        return "-"
    if band.high is None:
        return f"at least {number(band.low)}"
    if band.low is None:
        return f"at most {number(band.high)}"
    return number(band.low) if band.low == band.high else f"{number(band.low)} to {number(band.high)}"


def percent(share: float | None, digits: int = 3) -> str:
    """Return a share as per cent."""
    return "-" if share is None else f"{number(100 * share, digits)} %"


def plural(count: int, noun: str) -> str:
    """Return `1 block`, `2 blocks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def spoken(names: list[str] | tuple[str, ...]) -> str:
    """Return `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
