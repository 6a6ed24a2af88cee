"""The handlers of the scenarios, as tasks are written with the SDK. A payload that they do not look
at may be anything."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from asyncflow import Context, Fail, Preempted, Retry


def echo(ctx: Context, *_: Any, **__: Any) -> Any:
    """Returns the payload, which an object of it gives as arguments by name."""
    return json.loads(ctx.payload) if ctx.payload else None


def stages(ctx: Context, *_: Any, **__: Any) -> Any:
    """Saves a stage and fails; then tells what it found."""
    if ctx.attempt == 1:
        # `ctx.save` and `ctx.stage` keep their own notes in the context, which the scenario does
        # not know.
        ctx._link.save('{"step": 1}', "one")
        raise RuntimeError("the first attempt fails")
    stage = os.environ["ASYNCFLOW_STAGE"]
    return {"stage": stage, "step": ctx.saved["step"], "attempt": ctx.attempt}


def until_stopped(ctx: Context, *_: Any, **__: Any) -> None:
    """Waits for the stop signal, and ends as what was stopped: `Preempted` would ask for more."""
    ctx.progress(10)
    while not ctx.should_stop:
        time.sleep(0.05)
    sys.exit(128 + signal.SIGTERM)


def retry_later(ctx: Context, *_: Any, **__: Any) -> Any:
    """Asks to be tried again after a second."""
    if ctx.attempt == 1:
        raise Retry("later", after=1)
    return {"attempt": ctx.attempt}


def permanent(ctx: Context, *_: Any, **__: Any) -> None:
    """Fails for good."""
    raise Fail("for good")


def save_until_lost(ctx: Context, *_: Any, **__: Any) -> Any:
    """Saves until the lease is lost."""
    if ctx.attempt > 1:
        return {"attempt": ctx.attempt}
    number = 0
    while not ctx.should_stop:
        number += 1
        ctx.save(n=number)
        time.sleep(0.1)
    raise Preempted
