"""Tasks that the tests run by `python -m asyncflow.task run`."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import sys
import time
from typing import Any, Optional, cast

from asyncflow import Context, Fail, Outcome, Preempted, Refused, Retry, task


@task("work", gpus=1, max_retries=3, max_time="12h", warm=True)
def work(ctx: Context, x: int, *, y: int = 1) -> dict[str, Any]:
    """Multiplies.

    This is not told.
    """
    print("works")
    ctx.metrics(x=x)
    return {"product": x * y, "attempt": ctx.attempt}


@task("plain")
def plain(x: int = 5) -> Optional[int]:
    return x or None


@task("asynchronous")
async def asynchronous(ctx: Context, x: int) -> int:
    await asyncio.sleep(0)
    return x + ctx.attempt


@task("whole")
@dataclasses.dataclass
class Whole:
    """In three methods."""

    n: int
    seen: int = 0

    def load_context(self, ctx: Context) -> None:
        self.seen = ctx.saved.get("seen", 0)

    def process(self, ctx: Context) -> int:
        if self.n < 0:
            raise Fail("negative")
        if self.n == 1000:
            raise Refused("nobody takes it")
        if self.n > 1000:
            return cast(int, "x" * 70_000)
        ctx.save(seen=self.seen + 1)
        return self.n + self.seen

    def finish(self, ctx: Context, outcome: Outcome) -> None:
        print(f"finished: {outcome.result} {outcome.error}")


@task("async_whole")
@dataclasses.dataclass
class AsyncWhole:
    n: int

    async def load_context(self, ctx: Context) -> None:
        self.base = 100

    async def process(self, ctx: Context) -> int:
        await asyncio.sleep(0)
        return self.base + self.n


@task("ends")
def ends(how: str) -> Any:
    endings: dict[str, BaseException] = {
        "retry": Retry("the server is busy", after="5s"),
        "fail": Fail("the data are bad"),
        "fail_once": Fail("bad luck", permanent=False),
        "preempted": Preempted("enough for now"),
        "error": ValueError("a bug"),
        "exit_0": SystemExit(),
        "exit_7": SystemExit(7),
        "exit_text": SystemExit("it ends here"),
        "interrupt": KeyboardInterrupt(),
    }
    if how == "large":
        return "x" * 70_000
    if how == "no_json":
        return object()
    raise endings[how]


@task("trains")
def trains(ctx: Context, epochs: int, pace: float = 0.01) -> int:
    for epoch in ctx.range(epochs, stage="fit"):
        time.sleep(pace)
        if ctx.save_due("1h"):
            ctx.save(epoch=epoch)
    return epochs


@task("deaf")
def deaf() -> None:
    print("deaf", flush=True)
    time.sleep(30)


def in_child() -> None:
    print("child:", work(1, y=1), trains(epochs=2), flush=True)


@task("spawns")
def spawns(ctx: Context) -> str:
    ctx.save(of="the task itself")
    child = multiprocessing.get_context("spawn").Process(target=in_child)
    child.start()
    child.join()
    return f"its child left with {child.exitcode}"


if __name__ == "__main__":
    how = sys.argv[1]
    if how == "work":
        print(work(6, y=7))
    elif how == "async":
        print(asyncio.run(asynchronous(1)))
    elif how == "spawns":
        print(spawns())
    elif how == "twice":
        print(work(6, y=7))
        print(work(1, y=1))
    elif how == "trains":
        print(trains(epochs=int(os.environ.get("EPOCHS", "3"))))
    else:
        ends(how)
