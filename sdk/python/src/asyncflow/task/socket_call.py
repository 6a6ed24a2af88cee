"""JSON over HTTP/1.1 on the worker's Unix socket. Nothing is retried here."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import threading
import time
import weakref
from typing import Any, Callable, Mapping, Optional, cast
from urllib.parse import urlencode

_ANSWER_BYTES_MAX = 8 * 1024 * 1024
_LOOK_S = 0.1


class NoAnswer(Exception):
    """The worker cannot be reached or has not answered in time. It may have done what was asked."""

    def __init__(self, message: str, *, is_passing: bool = True) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class CallError(Exception):
    """The worker has answered with an error."""

    def __init__(self, status: str, message: str, reason: str, *, may_be_retried: bool) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        # The same call may be answered a moment later. A worker that was restarted knows the token
        # again when it has taken the attempt over.
        passing = ("UNAVAILABLE", "UNAUTHENTICATED", "DEADLINE_EXCEEDED")
        self.is_passing = may_be_retried or status in passing


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class SocketCaller:
    """One connection that is kept open; calls of several threads wait for each other.

    A forked child gets a connection of its own: what two processes write to one would be mixed up.
    """

    def __init__(self, path: str, token: str) -> None:
        self._path = path
        self._headers = {
            "asyncflow-attempt-token": token,
            "content-type": "application/json",
        }
        self._lock = threading.Lock()
        self._connection: Optional[_UnixConnection] = None
        _callers.add(self)

    def call(
        self,
        verb: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        query: Optional[Mapping[str, Any]] = None,
        *,
        wait_s: float,
        give_up: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """The answer's body. Waits for at most `wait_s`, and not when `give_up` says so.

        Raises NoAnswer and CallError.
        """
        deadline = time.monotonic() + wait_s
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        with self._lock:
            # A kept connection may be one to a worker that is gone: then a fresh one is tried.
            for is_last in (self._connection is None, True):
                left_s = max(deadline - time.monotonic(), 0.05)
                try:
                    return self._exchange(verb, target, data, left_s, give_up)
                except (OSError, http.client.HTTPException) as error:
                    self._drop()
                    if is_last or isinstance(error, socket.timeout):
                        raise self._no_answer(error) from error
        raise AssertionError("unreachable")

    def _exchange(
        self,
        verb: str,
        target: str,
        data: Optional[bytes],
        wait_s: float,
        give_up: Callable[[], bool],
    ) -> dict[str, Any]:
        deadline = time.monotonic() + wait_s
        if self._connection is None:
            self._connection = _UnixConnection(self._path, wait_s)
        connection = self._connection
        connection.timeout = wait_s
        if connection.sock is not None:
            connection.sock.settimeout(wait_s)
        connection.request(verb, target, body=data, headers=self._headers)
        sock = cast("socket.socket", connection.sock)
        # Not select: a training may have more than 1,024 files open.
        arrived = select.poll()
        arrived.register(sock, select.POLLIN)
        while not arrived.poll(_LOOK_S * 1000):
            if time.monotonic() >= deadline:
                raise socket.timeout(f"no answer within {wait_s:.1f} s")
            if give_up():
                raise socket.timeout("no answer before it had to be given up")
        response = connection.getresponse()
        text = response.read(_ANSWER_BYTES_MAX + 1)
        if len(text) > _ANSWER_BYTES_MAX:
            raise http.client.HTTPException(f"an answer of more than {_ANSWER_BYTES_MAX:,} bytes")
        if response.will_close:
            self._drop()
        return _read(response.status, text)

    def _no_answer(self, error: Exception) -> NoAnswer:
        # Something that speaks no HTTP/1.1, e.g. an older worker, will not learn it while we wait.
        garbled = isinstance(error, http.client.BadStatusLine)
        is_passing = not garbled or isinstance(error, http.client.RemoteDisconnected)
        said = str(error) or type(error).__name__
        return NoAnswer(f"{self._path}: {said}", is_passing=is_passing)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """In the child: a thread that is not there any more may hold the locks.

        Its connection is not closed but put away: it holds a reader whose own lock may be taken.
        """
        self._lock = threading.Lock()
        connection, self._connection = self._connection, None
        if connection is not None:
            _put_away.append(connection)
            if connection.sock is not None:
                os.close(connection.sock.detach())


_put_away: list[_UnixConnection] = []
_callers: weakref.WeakSet[SocketCaller] = weakref.WeakSet()


def _after_fork() -> None:
    for caller in list(_callers):
        caller.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _read(http_status: int, text: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shown = text[:200].decode("utf-8", "replace")
        said = f"HTTP {http_status} without JSON: {shown!r}"
        raise CallError("UNKNOWN", said, "", may_be_retried=http_status == 503)
    answer = cast("dict[str, Any]", found)
    if http_status < 400:
        return answer
    error = cast("dict[str, Any]", answer.get("error") or {})
    details = cast("list[dict[str, Any]]", error.get("details") or [])
    reasons = [str(detail["reason"]) for detail in details if detail.get("reason")]
    message = str(error.get("message") or f"HTTP {http_status}")
    status = str(error.get("status") or "UNKNOWN")
    may_be_retried = any("RetryInfo" in str(detail.get("@type")) for detail in details)
    raise CallError(status, message, reasons[0] if reasons else "", may_be_retried=may_be_retried)
