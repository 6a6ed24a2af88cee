"""What `ctx.range` gives: a loop that goes on where an earlier attempt has saved."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING, Iterator, Optional

from asyncflow.task import bar as bars

if TYPE_CHECKING:
    from asyncflow.task.context import Context


# Those around what runs here, outermost first. A thread begins with none; a task of asyncio with
# those around the place where it was made.
_around: contextvars.ContextVar[tuple[Loop, ...]] = contextvars.ContextVar(
    "asyncflow_loops", default=()
)


def around(ctx: Context) -> list[Loop]:
    """The loops of this context that are around what runs here, outermost first."""
    return [loop for loop in _around.get() if loop.ctx is ctx and loop.is_open]


def told(loops: list[Loop]) -> list[Loop]:
    """Those of the open loops that are reported: of several beside each other the first."""
    loops = loops.copy()
    return [loop for loop in loops if loop.root is loops[0].root]


class Loop:
    """An iteration over a range, once."""

    def __init__(self, ctx: Context, name: str, numbers: range) -> None:
        self.ctx = ctx
        self.name = name
        self.is_open = False
        # The outermost one of those that it is in; itself if it is in none.
        self.root = self
        self._numbers = numbers
        self._is_used = False
        self.total = len(numbers)
        # In this attempt it began here; so many are behind it; in a body, that one is not.
        self.first = 0
        self.done = 0
        self._begun_at = 0.0

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        if self._is_used:
            raise RuntimeError(f"the loop {self.name!r} was used before; call ctx.range again")
        self._is_used = True
        ctx = self.ctx
        first = ctx.enter_loop(self)
        if first is None:
            return
        self.first = self.done = first
        self._begun_at = time.monotonic()
        bar = ctx.bar
        try:
            for done in range(first, self.total):
                self.done = done
                ctx.between_iterations()
                if bar is not None:
                    now = time.monotonic()
                    if bar.is_due(now):
                        bar.draw(ctx.shown(), now)
                yield self._numbers[done]
            self.done = max(self.total, first)
            if bar is not None:
                bar.end(ctx.shown())
            ctx.loop_ended(self)
        finally:
            ctx.leave_loop(self)

    def open(self, outer: list[Loop]) -> None:
        """It begins, inside of these."""
        self.root = outer[0] if outer else self
        self.is_open = True
        _around.set((*outer, self))

    def close(self) -> None:
        """It is over. Perhaps elsewhere than where it began: where a generator is cleared away."""
        self.is_open = False
        _around.set(tuple(loop for loop in _around.get() if loop is not self))

    def part(self) -> float:
        """How much of it is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 1.0

    def shown(self, outer: str, numbers: dict[str, float]) -> str:
        """As a line for people."""
        done = min(self.done, self.total)
        elapsed_s = time.monotonic() - self._begun_at
        name = f"{outer}{self.name}"
        return bars.line(name, done, self.total, done - self.first, elapsed_s, numbers)


def described(loops: list[Loop]) -> tuple[Optional[float], str]:
    """Percent and message of loops, each inside of the one before it."""
    percent, share = 0.0, 100.0
    for loop in loops:
        percent += share * loop.part()
        share /= max(loop.total, 1)
    words = [f"{loop.name} {min(loop.done, loop.total)}/{loop.total}" for loop in loops]
    return (min(percent, 100.0), ", ".join(words)) if loops else (None, "")
