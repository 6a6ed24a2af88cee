"""Whether the task should stop: a file appears and SIGTERM comes, both at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Optional

from asyncflow.task.errors import Preempted

# SIGTERM tells at once; the file is for programs in which something else catches the signal.
_LOOK_EVERY_S = 0.25


class StopFlag:
    """Cheap to ask: no call, and a look for the file a few times a second."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._is_set = False
        self._look_at = 0.0
        # Somebody asks, and so will leave by itself.
        self.was_asked = False

    def __bool__(self) -> bool:
        self.was_asked = True
        return self._is_set or self.peek()

    def peek(self) -> bool:
        """The same; it does not count as having asked."""
        if self._is_set or not self._path:
            return self._is_set
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._is_set = os.path.exists(self._path)
        return self._is_set

    def set(self) -> None:
        """From now on the task should stop."""
        self._is_set = True

    def reason(self) -> str:
        """Why, for people; empty if nobody has said."""
        with contextlib.suppress(OSError), open(self._path, encoding="utf-8") as file:
            return file.read(4096).strip()
        return ""


class CatchTerm:
    """While it is entered, SIGTERM sets the flag instead of ending the process.

    A task that has never asked whether it should stop is ended all the same, by Preempted, wherever
    it is: waiting for SIGKILL would be of no use. Does nothing in a thread that is not the main
    one. Children that are forked meanwhile end on SIGTERM as they always do: workers of a data
    loader must not survive it.
    """

    def __init__(self, flag: StopFlag) -> None:
        self._flag = flag
        self._before: Any = None
        self._is_in_force = False

    def __enter__(self) -> None:
        global _catching
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._on_signal)
            self._is_in_force = True
            _catching = self

    def __exit__(self, *_: object) -> None:
        global _catching
        if self._is_in_force:
            _catching = None
            self._is_in_force = False
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def _on_signal(self, _number: int, _frame: Optional[FrameType]) -> None:
        self._flag.set()
        if not self._flag.was_asked:
            raise Preempted("told to stop, before it asked whether it should")

    def in_child(self) -> None:
        """Gives the signal back."""
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)


_catching: Optional[CatchTerm] = None


def _after_fork() -> None:
    if _catching is not None:
        _catching.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
