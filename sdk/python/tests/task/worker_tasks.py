"""The tasks of test_python_worker.py; types with `made_` are made by the worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from asyncflow import Context, Fail, task


@task("made_add", max_retries=5, retry_interval="250ms", max_time="2h", priority=7)
def add(a: int, b: int = 1) -> int:
    """Adds two numbers.

    Nothing more.
    """
    print(f"adds {a} and {b}")
    return a + b


@task("made_gpu", gpus=2, preemptible=True)
def on_gpus() -> None:
    """Is never run here."""


@task("made_before", max_retries=5)
def made_before() -> None:
    """Its type is there already."""


@task("made_trains", max_retries=3, retry_interval="10ms")
def trains(ctx: Context, epochs: int, dies_at: int) -> Any:
    """Is killed once, behind its save."""
    begun = ctx.saved.get("epoch", -1) + 1
    for epoch in ctx.range(epochs, stage="fit"):
        ctx.save(epoch=epoch)
        if epoch == dies_at and ctx.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"begun": begun, "attempt": ctx.attempt}


@task("made_waits", max_retries=0)
def waits(ctx: Context, folder: str, asks: bool = True) -> Any:
    """Says that it runs, and does until the file `go` is there, or it is told to stop."""
    here = Path(folder)
    (here / "pid").write_text(str(os.getpid()))
    print("begun")
    while not (here / "go").exists():
        if asks and ctx.should_stop:
            sys.exit(1)
        time.sleep(0.02)
    print("ended")
    return {"pid": os.getpid(), "attempt": ctx.attempt}


@task("made_fails", max_retries=3)
def fails() -> None:
    """Fails for good."""
    raise Fail("bad data")


@task("made_environment")
def environment() -> Any:
    """Tells where it is."""
    names = ("ASYNCFLOW_WORK_DIR", "ASYNCFLOW_TASK_ID", "SECRET_OF_THE_WORKER")
    found = {name: os.environ.get(name) for name in names}
    return {"cwd": os.getcwd(), "pid": os.getpid(), **found}
