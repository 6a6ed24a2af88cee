"""What test_real_worker.py lets a real worker run: `python real_tasks.py NAME`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from asyncflow import Context, Fail, Preempted, Refused, Retry, task


@task("part")
def part(i: int) -> int:
    return i * i


@task("real")
def real(ctx: Context, how: str, folder: str) -> Any:
    if how == "trains":
        return trains(ctx, folder)
    if how == "reports":
        for _ in ctx.range(4, stage="fit"):
            ctx.metrics(loss=0.25)
            time.sleep(0.05)
        time.sleep(1.5)
        return ctx.saved.get("none")
    if how == "too_large":
        try:
            ctx.save(blob="x" * 9000)
        except Refused as error:
            return str(error)
    if how == "children":
        # Commands, so that any worker takes them.
        words = [sys.executable, __file__, "part"]
        command = {"program": words[0], "args": words[1:], "environment": environment()}
        parts = [{"task_type": "part", "command": command} for _ in range(3)]
        return [child.result for child in ctx.gather("parts", parts)]
    if how == "retry" and ctx.attempt == 1:
        raise Retry("not now", after="1s")
    if how == "fail":
        raise Fail("the data are bad")
    if how == "preempted" and ctx.attempt == 1:
        ctx.save(came="far")
        raise Preempted("enough")
    if how == "hand_over" and ctx.attempt == 1:
        ctx.hand_over("the disk is full", offset=7)
    return {"attempt": ctx.attempt, "saved": dict(ctx.saved)}


def trains(ctx: Context, folder: str) -> Any:
    """Notes in a file what was saved, and whether a broker has it."""
    begun = None
    for epoch in ctx.range(int(os.environ["EPOCHS"]), stage="fit"):
        begun = epoch if begun is None else begun
        time.sleep(float(os.environ["PACE"]))
        is_durable = ctx.save(epoch=epoch)
        with open(os.path.join(folder, "saved"), "a", encoding="ascii") as file:
            file.write(f"{ctx.attempt} {epoch} {int(is_durable)}\n")
        if ctx.attempt == 1 and epoch == int(os.environ.get("DIES_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
    return {"begun": begun, "attempt": ctx.attempt, "epoch": ctx.saved["epoch"]}


def environment() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]}


if __name__ == "__main__":
    if sys.argv[1] == "part":
        part(3)
    else:
        real(sys.argv[1], sys.argv[2])
