"""Between the values of Python and those of the protocol."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Optional, Union

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from asyncflow.task.duration import Span as Span
from asyncflow.task.duration import seconds
from asyncflow.v1.task_pb2 import Content

Moment = Union[datetime, timedelta, str]
"""A time: a datetime with its zone, or a span from now."""

JSON_TYPE = "application/json"

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?\s*", re.IGNORECASE)


def span(value: Span) -> timedelta:
    """Reads a span. Errors: ValueError that says how to write one."""
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds(value))


def size(value: Union[int, str]) -> int:
    """Bytes of a number or a text such as `10GiB` or `512M`: powers of 1,024 with and without the
    `i`, because memory is meant. Errors: ValueError that says how to write one."""
    if isinstance(value, int):
        return value
    parts = _SIZE.fullmatch(value)
    if parts is None:
        raise ValueError(f"{value!r} is no size: write it as 10GiB, 512MiB or a number of bytes")
    power = " kmgt".index(parts[2].lower()) if parts[2] else 0
    return int(float(parts[1]) * 1024**power)


def duration(value: Span) -> Duration:
    """A span as the protocol has it."""
    message = Duration()
    message.FromTimedelta(span(value))
    return message


def timestamp(value: Moment) -> Timestamp:
    """A time as the protocol has it; a span is counted from now by this machine's clock. Errors:
    ValueError for a datetime without a zone, of which nobody knows when it is."""
    if not isinstance(value, datetime):
        value = datetime.now(timezone.utc) + span(value)
    if value.tzinfo is None:
        raise ValueError(
            f"{value!r} has no time zone: give it one, e.g. datetime.now(timezone.utc) or "
            ".astimezone()"
        )
    message = Timestamp()
    message.FromDatetime(value.astimezone(timezone.utc))
    return message


def moment(message: object, name: str) -> Optional[datetime]:
    """The time in this field of a message, in UTC; None where it is unset."""
    if not message.HasField(name):  # type: ignore[attr-defined]
        return None
    value: Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=timezone.utc)


def timedelta_in(message: object, name: str) -> Optional[timedelta]:
    """The span in this field of a message; None where it is unset."""
    if not message.HasField(name):  # type: ignore[attr-defined]
        return None
    value: Duration = getattr(message, name)
    return value.ToTimedelta()


def content(value: object, what: str) -> Content:
    """Bytes are sent as they are, a Content too, anything else as JSON. Errors: TypeError and
    ValueError that name `what` JSON cannot hold."""
    if isinstance(value, Content):
        return value
    if isinstance(value, (bytes, bytearray)):
        return Content(data=bytes(value))
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what} is no JSON: {error}") from None
    return Content(data=text.encode(), content_type=JSON_TYPE)


def value_of(message: Content) -> object:
    """What `content` was given: JSON is parsed where the content says that it is JSON, and text is
    decoded; anything else stays bytes, and so does what is not what it says."""
    media_type = message.content_type.partition(";")[0].strip().lower()
    try:
        if media_type == JSON_TYPE or media_type.endswith("+json"):
            parsed: object = json.loads(message.data)
            return parsed
        if media_type.startswith("text/"):
            return message.data.decode()
    except (ValueError, RecursionError):
        pass
    return message.data
