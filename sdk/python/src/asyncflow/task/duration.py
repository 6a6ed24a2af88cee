"""Durations as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Union

Span = Union[int, float, str, timedelta]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])\s*")


def seconds(span: Span) -> float:
    """The number of seconds of 90, 1.5, "12h", "1h 30m", "250ms", or a `timedelta`.

    Raises ValueError for a negative or endless one, and for a text that says no duration.
    """
    if isinstance(span, timedelta):
        found = span.total_seconds()
    elif isinstance(span, str):
        found = _parsed(span)
    else:
        found = float(span)
    if not math.isfinite(found) or found < 0:
        raise ValueError(f"{span!r} is no duration: it must be finite and not negative")
    return found


def _parsed(text: str) -> float:
    stripped = text.strip()
    position, total = 0, 0.0
    while position < len(stripped):
        part = _PART.match(stripped, position)
        if part is None:
            break
        total += float(part.group(1)) * _UNITS[part.group(2)]
        position = part.end()
    if position == 0 or position < len(stripped):
        raise ValueError(f'{text!r} is no duration; write e.g. "90s", "12h" or "1h 30m"')
    return total


def proto_json(span: Span) -> str:
    """The same as the JSON of a google.protobuf.Duration, e.g. "43200s"."""
    return f"{seconds(span):.9f}".rstrip("0").rstrip(".") + "s"
