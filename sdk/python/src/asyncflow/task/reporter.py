"""Sends progress and metrics from a thread of its own: the training never waits for it."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import weakref
from typing import Any, Callable, Optional

from asyncflow.task.link import Link

Described = tuple[Optional[float], str]

METRICS_MAX = 32
NAME_BYTES_MAX = 64
MESSAGE_BYTES_MAX = 1024
_EVERY_S = 1.0


class Reporter:
    """Keeps the latest word of everything, and passes it on about once a second.

    What is called in each iteration stores a value and returns. Nothing here raises.
    """

    def __init__(self, link: Link, *, is_heard: bool = True, every_s: float = _EVERY_S) -> None:
        self._link = link
        self._every_s = every_s
        self._is_heard = is_heard
        self._metrics: dict[str, Any] = {}
        self._said: Described = (None, "")
        self._source: Optional[Callable[[], Described]] = None
        self._warned: set[str] = set()
        self._reset()
        _reporters.add(self)

    def _reset(self) -> None:
        """Also in a forked child, where the thread is not."""
        # To nobody nothing is ever due.
        self._is_due = not self._is_heard
        self._closed = False
        self._wake = threading.Event()
        self._sending = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def metrics(self, values: dict[str, Any]) -> None:
        """The latest values. Numbers of torch and the like are read when they are sent."""
        for name, value in values.items():
            if not isinstance(value, (float, int)):
                # Only the number: not the graph that it is the end of.
                detach = getattr(value, "detach", None)
                value = detach() if callable(detach) else value
            self._metrics[str(name)] = value
        if not self._is_due:
            self._poke()

    def say(self, percent: Optional[float], message: str) -> None:
        """Percent and message; None and "" leave what was said before. Counts before the loop's."""
        before = self._said
        self._said = (before[0] if percent is None else percent, message or before[1])
        if not self._is_due:
            self._poke()

    def follow(self, source: Optional[Callable[[], Described]]) -> None:
        """From now on asks `source` how far it is, when something is due."""
        if source is not None:
            self._said = (None, "")
        self._source = source

    def touch(self) -> None:
        """What the source says has changed."""
        if not self._is_due:
            self._poke()

    def described(self) -> Described:
        """What would be sent now."""
        percent, message = self._source() if self._source is not None else (None, "")
        said_percent, said_message = self._said
        return (percent if said_percent is None else said_percent, said_message or message)

    def numbers(self) -> dict[str, float]:
        """The metrics as they would be sent now."""
        found: dict[str, float] = {}
        for name, value in self._metrics.copy().items():
            number = self._number(name, value)
            if number is not None:
                if len(found) == METRICS_MAX:
                    self._warn(f"only {METRICS_MAX} metrics are kept; {name!r} is none of them")
                    break
                found[name] = number
        return found

    def _number(self, name: str, value: Any) -> Optional[float]:
        if not name.isprintable() or not 0 < len(name.encode("utf-8")) <= NAME_BYTES_MAX:
            self._warn(f"the metric {name!r} is not sent: a name is a line of 1 to 64 bytes")
            return None
        try:
            number = float(value)
        except Exception as error:  # Whatever a strange tensor raises.
            self._warn(f"the metric {name!r} is not sent: {error}")
            return None
        if not math.isfinite(number):
            self._warn(f"the metric {name!r} is {number}, which is not sent")
            return None
        return number

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            print(f"asyncflow: {text}", file=sys.stderr, flush=True)

    def _poke(self) -> None:
        self._is_due = True
        if self._thread is None and not self._closed:
            thread = threading.Thread(target=self._run, name="asyncflow-reporter", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:
                return  # The interpreter ends; `close` sends what is left.
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            self._send()
            time.sleep(self._every_s)

    def _send(self) -> None:
        with self._sending:
            if not self._is_due or not self._is_heard:
                return
            # Before it is read: what changes from now on is sent next time.
            self._is_due = False
            try:
                percent, message = self.described()
                if percent is not None:
                    percent = min(max(float(percent), 0.0), 100.0)
                self._link.report(percent, cut(message, MESSAGE_BYTES_MAX), self.numbers())
            except Exception as error:
                self._warn(f"progress cannot be sent: {error}")

    def flush(self) -> None:
        """Sends what has not been sent."""
        self._send()

    def close(self) -> None:
        """The same, and the thread ends."""
        self._closed = True
        self._wake.set()
        self._send()

    def after_fork(self) -> None:
        """In a child."""
        self._reset()


def cut(text: str, most: int) -> str:
    """The text, or as much of it as fits into so many bytes."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most else data[: most - 3].decode("utf-8", "ignore") + "…"


_reporters: weakref.WeakSet[Reporter] = weakref.WeakSet()


def _after_fork() -> None:
    for reporter in list(_reporters):
        reporter.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
