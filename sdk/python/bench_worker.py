#!/usr/bin/env python3
"""What it costs to have a Python task run by its type: a process for each, or one of the pool.

    ASYNCFLOW_BIN_DIR=target/release PYTHON sdk/python/bench_worker.py

Starts `asyncflow dev --python` on a fresh directory (SQLite, on this disk) with this Python, which
needs gRPC, and prints a table: from the create of one task to its end, one after the other; and the
rate at which many are done, with as many slots as cores.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "src"))

from asyncflow import Client, State, TaskSpec  # noqa: E402

SINGLE, MANY, BATCH = 50, {"by_process": 200, "by_pool": 2000}, 200
MODULE = """
from asyncflow import task

@task("by_process")
def by_process():
    pass

@task("by_pool", warm=True)
def by_pool():
    pass
"""


def measure(client: Client, name: str) -> tuple[float, float, float]:
    """The median and the 99th percentile of one after the other in ms, and tasks/s."""
    spans = []
    # The first one starts a process, and imports.
    for _ in range(SINGLE + 3):
        begun = time.perf_counter()
        client.wait(client.create(name, {}), timeout=60)
        spans.append((time.perf_counter() - begun) * 1000)
    spans = sorted(spans[3:])
    count = MANY[name]
    done = client.count(name, states=[State.SUCCEEDED]).total
    begun = time.perf_counter()
    for _ in range(count // BATCH):
        client.create_many(TaskSpec(name, {}) for _ in range(BATCH))
    while client.count(name, states=[State.SUCCEEDED]).total < done + count:
        time.sleep(0.02)
    rate = count / (time.perf_counter() - begun)
    return statistics.median(spans), spans[int(len(spans) * 0.99)], rate


def main() -> None:
    folder = Path(os.environ.get("ASYNCFLOW_BIN_DIR") or HERE.parents[1] / "target" / "debug")
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as temporary:
        place = Path(temporary)
        (place / "bench_module.py").write_text(MODULE)
        words: list[Any] = [folder / "asyncflow", "dev", "--data-dir", place / "data"]
        words += ["--listen", "127.0.0.1:0", "--python", "bench_module"]
        words += [f"--set=worker.python.executable={sys.executable}"]
        words += [f'--set=worker.python.path=["{HERE / "src"}"]']
        with open(place / "log", "wb") as log:
            dev = subprocess.Popen(words, cwd=place, stdout=log, stderr=log)
        try:
            while not (place / "data" / "dev.json").exists():
                assert dev.poll() is None, (place / "log").read_text()
                time.sleep(0.05)
            address = json.loads((place / "data" / "dev.json").read_text())["broker"]
            with Client(address, timeout=60) as client:
                while not {"by_process", "by_pool"} <= {one.name for one in client.list_types()}:
                    time.sleep(0.05)
                print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {folder}")
                print("| a task that does nothing | one: median | p99 | many |")
                print("|---|---:|---:|---:|")
                for name in ("by_process", "by_pool"):
                    median, late, rate = measure(client, name)
                    print(f"| {name} | {median:.0f} ms | {late:.0f} ms | {rate:.0f} tasks/s |")
        finally:
            dev.terminate()
            dev.wait(timeout=60)


if __name__ == "__main__":
    main()
