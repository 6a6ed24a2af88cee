"""The tasks of test_warm_worker.py, which may share a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from asyncflow import Context, Fail, task

print("imported", flush=True)
_seen: list[str] = []


def where() -> dict[str, Any]:
    """Which process this is, and how it was started."""
    words = Path("/proc/self/cmdline").read_text().split("\0")
    return {"pid": os.getpid(), "verb": words[words.index("asyncflow.task") + 1]}


@task("warm_where", warm=True)
def tells_where() -> Any:
    """Tells where it is."""
    return where()


@task("warm_memory", warm=True, memory=64 << 20)
def with_limit() -> Any:
    """Has a limit of its own, and so a process."""
    return where()


@task("warm_changes", warm=True)
def changes(ctx: Context) -> Any:
    """Changes what it can, and tells what it found."""
    _seen.append(ctx.task_id)
    found = {
        "left": os.environ.get("LEFT"),
        "id": os.environ["ASYNCFLOW_TASK_ID"],
        "here": os.getcwd() == os.environ["ASYNCFLOW_WORK_DIR"],
        "signal": signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,
        "path": "/left" in sys.path,
        "seen": len(_seen),
    }
    os.environ["LEFT"] = "yes"
    os.chdir("/")
    sys.path.append("/left")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return found


@task("warm_says", warm=True)
def says(word: str, count: int = 1) -> None:
    """Writes, itself and by a child."""
    for _ in range(count):
        print(word)
    subprocess.run(["sh", "-c", f"echo child {word}; echo error {word} >&2"], check=True)


@task("warm_dies", warm=True, max_retries=2, retry_interval="10ms")
def dies(ctx: Context, how: str) -> Any:
    """Takes its process with it, once."""
    if ctx.attempt == 1:
        print("dies", flush=True)
        if how == "exit":
            os._exit(3)
        if how == "close":
            os.closerange(0, 64)
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGSEGV if how == "crash" else signal.SIGKILL)
    return where()


@task("warm_leaves", warm=True)
def leaves(what: str) -> Any:
    """Leaves something running."""
    if what == "child":
        child = subprocess.Popen(["sleep", "600"])
        return {**where(), "child": child.pid}
    if what == "daemon":
        script = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
        said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        return {**where(), "child": int(said.stdout)}
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return where()


@task("warm_waits", warm=True, max_retries=3, retry_interval="10ms")
def waits(ctx: Context, folder: str, asks: bool = True) -> Any:
    """Says that it runs, and does until the file `go` is there, or it is told to stop."""
    here = Path(folder)
    (here / "pid").write_text(str(os.getpid()))
    while not (here / "go").exists():
        if asks:
            ctx.raise_if_stopped()
        time.sleep(0.02)
    return {"attempt": ctx.attempt}


@task("warm_stubborn", warm=True)
def stubborn(folder: str) -> None:
    """Cannot be stopped but by force."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (Path(folder) / "pid").write_text(str(os.getpid()))
    time.sleep(600)


@task("warm_slow", warm=True, max_time="500ms", max_retries=0)
def slow() -> None:
    """Runs for too long."""
    time.sleep(600)


@task("warm_fails", warm=True)
def fails() -> None:
    """Fails for good."""
    raise Fail("bad data")
