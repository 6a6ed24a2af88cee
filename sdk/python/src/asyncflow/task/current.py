"""Which task runs here."""

from __future__ import annotations

import contextvars
import sys
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from asyncflow.task.context import Context

_current: contextvars.ContextVar[Optional[Context]] = contextvars.ContextVar("asyncflow_context")
# For threads, which do not inherit context variables.
_of_worker: list[Context] = []


def current() -> Context:
    """The context of the task that runs here. Raises LookupError outside of one."""
    found = current_or_none()
    if found is None:
        raise LookupError("no task runs here: call the task, or submit it")
    return found


def current_or_none() -> Optional[Context]:
    """The same, or None."""
    found = _current.get(None)
    return found if found is not None else (_of_worker[-1] if _of_worker else None)


class Entered:
    """While it is entered, `current` answers this context."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __enter__(self) -> Context:
        self._token = _current.set(self._ctx)
        if self._ctx.in_worker:
            _of_worker.append(self._ctx)
        return self._ctx

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        if self._ctx in _of_worker:
            _of_worker.remove(self._ctx)
        self._ctx.close()


def say(text: str) -> None:
    """A line of asyncflow's own in the task's log."""
    print(f"asyncflow: {text}", file=sys.stderr, flush=True)
