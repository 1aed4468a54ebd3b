"""Finding fields in a raw head, where `Exchange.field` does not do: when a second line of the same name matters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Find = Callable[[bytes], list[bytes]]


def all_values(name: str) -> Find:
    """Return a search for the values of all lines of the field `name` (any case), white space around them included.

    The head was read by RequestReader: no folded lines, no bare LF, no white space before the colon.
    """
    return re.compile(rb"\r\n%b:([^\r]*)" % re.escape(name.encode("ascii")), re.IGNORECASE).findall


def lookalikes(names: Iterable[str]) -> Find:
    """Return a search for the names in a head, as spelt there, that an upstream may take for one of `names`.

    CGI and its heirs (WSGI, PHP, Rack) write `-` and `_` as the same character: RFC 3875 4.1.18.
    """
    spellings = (b"[-_]".join(map(re.escape, re.split(b"[-_]", name.encode("ascii")))) for name in names)
    return re.compile(rb"\r\n(%b):" % b"|".join(spellings), re.IGNORECASE).findall
