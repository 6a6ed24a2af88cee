"""When a call is repeated, and what is sent with it. Pure: no waiting, no sending."""

from __future__ import annotations

import dataclasses
import logging
import random
import secrets
import uuid
from collections.abc import Sequence
from typing import Any, Optional, TypeVar

from google.protobuf.message import Message

from asyncflow.client.status import is_untrusted
from asyncflow.errors import BrokerError

Q = TypeVar("Q", bound=Message)

WAIT_MIN_S = 0.1
WAIT_MAX_S = 2.0
TOLD_AT = 8
LIVED_S = 2.0

_log = logging.getLogger("asyncflow")

# A second one of these would do a second thing: they are repeated only when it is known that the
# broker did nothing.
_ONCE = frozenset(("RetryTask", "RetryWorkflow", "BackfillSchedule", "HandOverTask"))
_NOTHING_DONE = frozenset(
    ("SHUTTING_DOWN", "DATABASE_UNAVAILABLE", "OVERLOADED", "CONTENTION", "STORAGE_FULL")
)


class Backoff:
    """Waits that grow and are jittered, for as long as patience lasts after the first failure."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._opened_at: Optional[float] = None
        self.succeeded()

    def succeeded(self) -> None:
        """Something came through: the next failure is a first one again."""
        self._deadline: Optional[float] = None
        self._base = WAIT_MIN_S

    def opened(self, now: float) -> None:
        """A stream was opened: if it then lives for a while, that counts as success.

        That it was opened does not: something before the broker may open each and end it at once.
        """
        self._opened_at = now

    def wait_after(self, error: BrokerError, now: float) -> float:
        """Seconds to wait before the next try. Raises the error when there shall be none."""
        lived_s, self._opened_at = now - (self._opened_at or now), None
        if lived_s >= min(LIVED_S, self._patience_s / 10):
            self.succeeded()
        if not error.retryable or is_untrusted(error.message):
            raise error
        if self._deadline is None:
            self._deadline = now + self._patience_s
        wait = self._base * random.uniform(0.5, 1.0)
        self._base = min(self._base * 2, WAIT_MAX_S)
        if error.retry_after is not None:
            # On top of it: the broker asks the same of everybody.
            wait += error.retry_after.total_seconds()
        if now + wait >= self._deadline:
            raise error
        self._tell(error, self._deadline - now)
        return wait

    def _tell(self, error: BrokerError, left_s: float) -> None:
        # The first waits pass unnoticed; who waits for longer wants to know why.
        if self._base == WAIT_MIN_S * TOLD_AT:
            _log.warning("%s; trying again for %.0f s", str(error).partition("\n")[0], left_s)


class Tries:
    """The tries of one unary call: one trace and one request id for all of them."""

    def __init__(
        self,
        method: str,
        timeout_s: float,
        now: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._method = method.rpartition("/")[2]
        self._end = now + timeout_s
        self._backoff = Backoff(timeout_s)
        self._may_be_done = False
        self.metadata = traced(metadata)

    def time_left(self, now: float) -> float:
        """The deadline of the next try, in seconds from now."""
        return max(0.0, self._end - now)

    def wait_after(self, error: BrokerError, now: float) -> float:
        """Seconds to wait before the next try. Raises the error when there shall be none."""
        if self._may_be_done:
            error.refusal = dataclasses.replace(error.refusal, may_be_done=True)
        self._may_be_done = self._may_be_done or not is_undone(error)
        if self._method in _ONCE and not is_undone(error):
            raise error
        wait = self._backoff.wait_after(error, now)
        if now + wait >= self._end:
            raise error
        return wait


def is_undone(error: BrokerError) -> bool:
    """Whether it is known that the broker did nothing of what it was asked for."""
    if error.reason:
        return error.reason in _NOTHING_DONE
    return error.code == "UNAVAILABLE" and "failed to connect" in error.message.lower()


def traced(metadata: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The metadata with a W3C `traceparent`, unless there is one: the logs of client, broker and
    worker are found together by it."""
    given = list(metadata)
    if not any(key == "traceparent" for key, _ in given):
        given.append(("traceparent", f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"))
    return given


def new_request_id() -> str:
    """A fresh request id."""
    return str(uuid.uuid4())


def identified(request: Q) -> Q:
    """The request with a request id in each place for one, so that it may be repeated. A copy,
    unless nothing is missing: the caller may send the same message again and mean another."""
    if not _lacks_id(request):
        return request
    copy: Any = type(request)()
    copy.CopyFrom(request)
    if "request_id" in copy.DESCRIPTOR.fields_by_name:
        copy.request_id = new_request_id()
    for inner in _inner(copy):
        inner.request_id = inner.request_id or new_request_id()
    same: Q = copy
    return same


def _lacks_id(request: Any) -> bool:
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        return not request.request_id
    return any(not inner.request_id for inner in _inner(request))


def _inner(request: Any) -> Sequence[Any]:
    field = request.DESCRIPTOR.fields_by_name.get("requests")
    if field is None or "request_id" not in field.message_type.fields_by_name:
        return ()
    inner: Sequence[Any] = request.requests
    return inner


def seconds(timeout: Optional[float], default: float) -> float:
    """A timeout that may be left out."""
    return default if timeout is None else timeout
