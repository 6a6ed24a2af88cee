#!/usr/bin/env python3
"""What the task half costs a training: an iteration of `ctx.range` with `ctx.metrics`, and a save.

    ASYNCFLOW_BIN_DIR=target/release python3 sdk/python/bench_task.py

Starts `asyncflow dev` on a fresh directory (SQLite, on this disk), runs itself there as a command,
so that every call goes to a real worker and broker, and prints a table.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "src"))

from asyncflow import Context, task  # noqa: E402
from asyncflow.task.socket_call import SocketCaller  # noqa: E402
from asyncflow.task.surroundings import Surroundings  # noqa: E402

ITERATIONS, SAVES = 500_000, 300


def per_call_us(count: int, work: Callable[[], Any]) -> float:
    """The best of three, in microseconds for each of `count`."""
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best / count * 1e6


def bare() -> None:
    loss = 0.0
    for step in range(ITERATIONS):
        loss = 1.0 / (step + 1)
    assert loss > 0


@task("bench")
def bench(ctx: Context) -> dict[str, float]:
    rounds = iter(range(100))

    def with_range() -> None:
        loss = 0.0
        for step in ctx.range(ITERATIONS, stage=f"range-{next(rounds)}"):
            loss = 1.0 / (step + 1)
        assert loss > 0

    def with_metrics() -> None:
        for step in ctx.range(ITERATIONS, stage=f"metrics-{next(rounds)}"):
            ctx.metrics(loss=1.0 / (step + 1), step=step)

    def with_stop() -> None:
        for step in ctx.range(ITERATIONS, stage=f"stop-{next(rounds)}"):
            ctx.metrics(loss=1.0 / (step + 1), step=step)
            if ctx.should_stop:
                raise AssertionError

    base = per_call_us(ITERATIONS, bare)
    found = {
        "range": per_call_us(ITERATIONS, with_range) - base,
        "range_metrics": per_call_us(ITERATIONS, with_metrics) - base,
        "range_metrics_stop": per_call_us(ITERATIONS, with_stop) - base,
    }
    surroundings = Surroundings.read()
    caller = SocketCaller(surroundings.socket_path, surroundings.token)

    def round_trip(_: int) -> None:
        caller.call("GET", "/v1/attempt:shouldStop", wait_s=10)

    def save(epoch: int) -> None:
        if not ctx.save(epoch=epoch, checkpoint=f"/shared/run/epoch-{epoch:03}.pt"):
            raise AssertionError("not at the broker")

    for name, call in (("round_trip", round_trip), ("save", save)):
        found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = percentiles_ms(call)
    return found


def percentiles_ms(call: Callable[[int], None]) -> tuple[float, float]:
    """Median and 99th percentile of one call after the other."""
    times = []
    for number in range(SAVES):
        begun = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - begun) * 1e3)
        time.sleep(0.002)
    times.sort()
    return times[SAVES // 2], times[SAVES * 99 // 100]


def asyncflow(*words: str, broker: str = "") -> str:
    folder = os.environ.get("ASYNCFLOW_BIN_DIR", str(HERE.parent.parent / "target" / "debug"))
    environment = {**os.environ, "ASYNCFLOW_BROKER": broker, "NO_COLOR": "1"}
    done = subprocess.run(
        [os.path.join(folder, "asyncflow"), *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def main() -> int:
    if "ASYNCFLOW_TASK_ID" in os.environ:
        bench()
        return 0
    folder = os.environ.get("ASYNCFLOW_BIN_DIR", str(HERE.parent.parent / "target" / "debug"))
    program = os.path.join(folder, "asyncflow")
    with tempfile.TemporaryDirectory() as data:
        words = [program, "dev", "--data-dir", data, "--listen", "127.0.0.1:0"]
        with open(os.path.join(data, "log"), "wb") as log:
            server = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            ready = Path(data) / "dev.json"
            while not ready.exists():
                assert server.poll() is None, (Path(data) / "log").read_text()
                time.sleep(0.05)
            broker = json.loads(ready.read_text())["broker"]
            command = ["run", "--detach", "-o", "id", "--", sys.executable, __file__]
            task_id = asyncflow(*command, broker=broker).split()[-1]
            asyncflow("task", "wait", task_id, broker=broker)
            found = json.loads(asyncflow("task", "get", task_id, "-o", "json", broker=broker))
        finally:
            server.terminate()
            server.wait()
    figures = json.loads(found["result"]["text"])
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()};")
    print(f"asyncflow of {folder}, SQLite on this disk")
    rows = (
        ("ctx.range, an iteration", "range", "µs"),
        ("ctx.range + ctx.metrics", "range_metrics", "µs"),
        ("ctx.range + ctx.metrics + ctx.should_stop", "range_metrics_stop", "µs"),
        ("a call to the worker that does nothing, p50", "round_trip_p50_ms", "ms"),
        ("the same, p99", "round_trip_p99_ms", "ms"),
        ("ctx.save, p50", "save_p50_ms", "ms"),
        ("ctx.save, p99", "save_p99_ms", "ms"),
    )
    for shown, name, unit in rows:
        print(f"{shown:45}{figures[name]:8.2f} {unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
