"""The templates' shared environment."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from results.figures import number, percent


def environment(*, escape: bool) -> Environment:
    """Return an environment over the report templates; a name that a template mistypes is an error."""
    found = Environment(
        loader=PackageLoader("results.reports", "templates"),
        autoescape=escape,  # noqa: S701 - Markdown is not escaped, the page is
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = number
    found.filters["percent"] = percent
    return found
