"""How a task ends when it does not return: exceptions that the runner turns into exit codes.

What asks for another run (`Preempted`, `Waiting`, `HandedOver`, `LeaseLost`) derives from
`SystemExit`: an `except Exception` around a training step does not swallow it, and a script that is
not started by the runner still leaves with the code that its worker understands.
"""

from __future__ import annotations

from typing import Union

from asyncflow.errors import AsyncflowError
from asyncflow.task.duration import Span, seconds

# The exit codes of docs/guide/script-protocol.md.
SUCCEEDED = 0
FAILED = 1
BAD_DATA = 65
RETRY_LATER = 75
BAD_SETUP = 78
RUN_AGAIN = 85


class Retry(AsyncflowError):
    """Not now: the attempt fails and is tried again, at the earliest after `after`.

    `after` is a number of seconds, a `timedelta` or a text such as "30s"; None leaves the wait to
    the task's retry policy. It counts against `max_retries` as any failure.
    """

    def __init__(self, message: str = "", *, after: Union[Span, None] = None) -> None:
        super().__init__(message or "it asked to be tried again later")
        self.after_s = None if after is None else seconds(after)


class Fail(AsyncflowError):
    """The attempt has failed; unless `permanent` is False it is not tried again."""

    def __init__(self, message: str = "", *, permanent: bool = True) -> None:
        super().__init__(message or "it failed")
        self.permanent = permanent


class Preempted(SystemExit):
    """The task was told to stop, and has: run it again from its saved context (exit code 85)."""

    def __init__(self, message: str = "told to stop") -> None:
        super().__init__(RUN_AGAIN)
        self.message = message

    def __str__(self) -> str:
        return self.message


class LeaseLost(Preempted):
    """The task is not this process's any more: nothing that it says is accepted. Leave at once."""


class Waiting(Preempted):
    """The task gives its slot back until what it waits for is there; see `Context.wait`."""


class HandedOver(Preempted):
    """The task gives itself away: another host goes on with it; see `Context.hand_over`."""


class Refused(AsyncflowError, ValueError):
    """What was to be saved or returned is not accepted: too large, no JSON, a bad name."""
