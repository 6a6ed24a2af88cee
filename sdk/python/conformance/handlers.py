"""The handlers of the scenarios, as tasks are written with the SDK."""

from __future__ import annotations

import os
import time
from typing import Any

from asyncflow import Context, Fail, Preempted, Retry


def echo(ctx: Context, payload: Any = None) -> Any:
    """Returns the payload."""
    return payload


def stages(ctx: Context) -> Any:
    """Saves a stage and fails; then tells what it found."""
    if ctx.attempt == 1:
        # `ctx.save` and `ctx.stage` keep their own notes in the context, which the scenario does
        # not know.
        ctx._link.save('{"step": 1}', "one")
        raise RuntimeError("the first attempt fails")
    stage = os.environ["ASYNCFLOW_STAGE"]
    return {"stage": stage, "step": ctx.saved["step"], "attempt": ctx.attempt}


def until_stopped(ctx: Context) -> None:
    """Waits for the stop signal."""
    ctx.progress(10)
    while not ctx.should_stop:
        time.sleep(0.05)
    raise Preempted


def retry_later(ctx: Context) -> Any:
    """Asks to be tried again after a second."""
    if ctx.attempt == 1:
        raise Retry("later", after=1)
    return {"attempt": ctx.attempt}


def permanent(ctx: Context) -> None:
    """Fails for good."""
    raise Fail("for good")


def save_until_lost(ctx: Context) -> Any:
    """Saves until the lease is lost."""
    if ctx.attempt > 1:
        return {"attempt": ctx.attempt}
    number = 0
    while not ctx.should_stop:
        number += 1
        ctx.save(n=number)
        time.sleep(0.1)
    raise Preempted
