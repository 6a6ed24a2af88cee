"""What `ctx.range` gives: a loop that goes on where an earlier attempt has saved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Iterator, Optional

from asyncflow.task import bar as bars

if TYPE_CHECKING:
    from asyncflow.task.context import Context


class Loop:
    """An iteration over a range, once."""

    def __init__(self, ctx: Context, name: str, numbers: range) -> None:
        self._ctx = ctx
        self.name = name
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
        ctx = self._ctx
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
