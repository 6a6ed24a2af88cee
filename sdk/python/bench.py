#!/usr/bin/env python3
"""Measures how many tasks a second this SDK creates, in each way that it has.

    cargo build --release -p asyncflow-broker
    ASYNCFLOW_BIN_DIR=target/release sdk/python/.venv/conformance/bin/python sdk/python/bench.py

It starts a broker on SQLite in a temporary directory, with its standard settings, and prints a
table with what it was measured on. With ASYNCFLOW_BENCH_BROKER=http://… that broker is measured
instead, which must have no worker for the type `bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import google.protobuf
import google.protobuf.internal.api_implementation
import grpc

from asyncflow import AsyncClient, Client, TaskSpec

sys.path.insert(0, str(Path(__file__).parent / "tests"))
from client import stack

TYPE = "bench"
PAYLOAD = {"lr": 3e-4, "path": "/data/runs/2026-11-26/17", "epochs": 90}
THREADS = 32
AT_ONCE = 256
BATCH = 500


def specs(count: int) -> Iterator[TaskSpec]:
    """So many tasks."""
    for number in range(count):
        yield TaskSpec(TYPE, {**PAYLOAD, "number": number})


def one_after_the_other(address: str, count: int) -> None:
    """A thread that waits for each."""
    with Client(address) as client:
        for spec in specs(count):
            client.create(spec)


def threads(address: str, count: int) -> None:
    """Many threads on one client."""
    with Client(address) as client:
        every = list(specs(count))

        def create(number: int) -> None:
            for spec in every[number::THREADS]:
                client.create(spec)

        running = [threading.Thread(target=create, args=(n,)) for n in range(THREADS)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()


def at_once(address: str, count: int) -> None:
    """Many coroutines on one client."""

    async def main() -> None:
        async with AsyncClient(address) as client:
            shared = specs(count)

            async def create() -> None:
                for spec in shared:
                    await client.create(spec)

            await asyncio.gather(*(create() for _ in range(AT_ONCE)))

    asyncio.run(main())


def batches(address: str, count: int) -> None:
    """Batches one after the other."""
    with Client(address) as client:
        for _ in range(count // BATCH):
            client.create_many(specs(BATCH))


def stream(address: str, count: int) -> None:
    """A stream."""
    with Client(address) as client:
        for created in client.stream(specs(count)):
            assert created.error is None, created.error


def async_stream(address: str, count: int) -> None:
    """A stream by asyncio."""

    async def main() -> None:
        async with AsyncClient(address) as client:
            async for created in client.stream(specs(count)):
                assert created.error is None, created.error

    asyncio.run(main())


WAYS: list[tuple[str, Callable[[str, int], None], int]] = [
    ("`Client.create`, one after the other", one_after_the_other, 2_000),
    (f"`Client.create`, {THREADS} threads", threads, 6_400),
    (f"`AsyncClient.create`, {AT_ONCE} at once", at_once, 10_240),
    (f"`Client.create_many`, {BATCH} a call", batches, 40_000),
    ("`Client.stream`", stream, 60_000),
    ("`AsyncClient.stream`", async_stream, 60_000),
]


def measured(address: str, count_of: Callable[[int], int]) -> None:
    """Prints a row for each way."""
    print("| way | tasks | creates/s | processor time of the client, a task |")
    print("|---|---:|---:|---:|")
    for name, way, count in WAYS:
        count = count_of(count)
        begin, used = time.perf_counter(), time.process_time()
        way(address, count)
        took, used = time.perf_counter() - begin, time.process_time() - used
        rate, each = f"{count / took:,.0f}", f"{used / count * 1e6:,.0f} µs"
        print(f"| {name} | {count:,} | {rate} | {each} |", flush=True)


@contextmanager
def broker() -> Iterator[tuple[str, str]]:
    """The broker to measure, and what it is."""
    given = os.environ.get("ASYNCFLOW_BENCH_BROKER")
    if given:
        yield given, f"the broker at {given}"
        return
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as folder:
        with stack.broker(Path(folder), log__filter="warn") as server:
            build = Path(stack.program("asyncflow-broker")).parent.name
            yield server.address, f"asyncflow-broker ({build} build), SQLite, standard settings"


def machine() -> str:
    """What it is measured on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = [line.partition(":")[2].strip() for line in info if "model name" in line]
        model = names[0] if names else model
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}, load {os.getloadavg()[0]:.1f} at the start"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of tasks")
    scale = parser.parse_args().scale
    with broker() as (address, what):
        print(f"Machine: {machine()}")
        print(f"Broker: {what}, on the same machine")
        print(
            f"Python {platform.python_version()}, grpcio {grpc.__version__}, protobuf "
            f"{google.protobuf.__version__} ({google.protobuf.internal.api_implementation.Type()})"
        )
        print(f"Payload: {len(str(PAYLOAD))} bytes of JSON\n")
        with Client(address) as client:
            client.ensure_type(TYPE)
        measured(address, lambda count: max(BATCH, int(count * scale) // BATCH * BATCH))


if __name__ == "__main__":
    main()
