#!/usr/bin/env python3
"""Celery on Redis: the four scenarios and one line of JSON.

The worker is a program of its own (`celery worker`, which imports this file), so moments are passed
on through Redis, as the wall clock of the machine has them.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time

import redis
from celery import Celery, signals

HERE = os.path.dirname(os.path.abspath(__file__))
REDIS_URL = os.environ["REDIS_URL"]
# Before the samples that count: connections, caches.
WARM_UP = 20
# Between two tasks, so that the worker is idle again.
PAUSE = 0.02
# How often the end of a drain is looked for.
LOOK = 0.005
# For tasks that do nothing, threads are faster than processes, which cost a pipe each way.
POOL = ["--pool", "threads", "--concurrency", "20"]
# There are no other workers to talk to.
ALONE = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
BEGINS, READY = "bench-begins", "bench-ready"


def number(name, otherwise):
    return int(os.environ.get(name, otherwise))


PAYLOAD = "x" * number("PAYLOAD_BYTES", 256)
IN_FLIGHT = number("IN_FLIGHT", 64)

app = Celery("bench", broker=REDIS_URL)
app.conf.update(
    broker_pool_limit=IN_FLIGHT,
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    # By default a message is acknowledged before its task runs, and is lost with the worker: the
    # other peers keep a task until it is completed.
    task_acks_late=True,
    worker_disable_rate_limits=True,
    worker_prefetch_multiplier=128,
)
client = redis.Redis.from_url(REDIS_URL)


@app.task
def noop(payload):
    pass


@app.task
def tell(payload):
    client.rpush(BEGINS, time.time())


@signals.worker_ready.connect
def say_ready(**_):
    client.rpush(READY, time.time())


def moment(key):
    answer = client.blpop([key], timeout=60)
    if answer is None:
        raise SystemExit("the worker has said nothing for a minute")
    return float(answer[1])


class Worker:
    """Runs for as long as the block; `ready` is when it began to ask for tasks."""

    def __enter__(self):
        celery = [sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "--app", "bench"]
        options = ["--loglevel", "ERROR", *POOL, *ALONE]
        command = [*celery, "worker", *options]
        self.process = subprocess.Popen(command, cwd=HERE, stdout=sys.stderr)
        self.ready = moment(READY)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def enqueue_one():
    noop.delay(PAYLOAD)


def rate():
    """Sends one task after the other in each thread; the first of each does not count."""
    counts, seconds = [], number("SECONDS", 5)
    barrier = threading.Barrier(IN_FLIGHT + 1)

    def call():
        enqueue_one()
        barrier.wait()
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            enqueue_one()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.monotonic()
    for thread in threads:
        thread.join()
    return {"count": sum(counts), "seconds": time.monotonic() - start}


def drain():
    count = number("COUNT", 20_000)
    for _ in range(count):
        enqueue_one()
    with Worker() as worker:
        end = None
        # A message on its way from the queue to the unacknowledged is in neither for a moment, so
        # the end is what a second look confirms.
        while True:
            now = time.time()
            if client.llen("celery") or client.hlen("unacked"):
                end = None
            elif end is None:
                end = now
            else:
                return {"count": count, "seconds": end - worker.ready}
            time.sleep(LOOK)


def latency():
    samples = []
    with Worker():
        for sample in range(number("SAMPLES", 200) + WARM_UP):
            time.sleep(PAUSE)
            sent = time.time()
            tell.delay(PAYLOAD)
            ms = (moment(BEGINS) - sent) * 1_000
            if sample >= WARM_UP:
                samples.append(ms)
    samples.sort()
    p50, p99 = (samples[max(math.ceil(part * len(samples)), 1) - 1] for part in (0.5, 0.99))
    return {"p50_ms": p50, "p99_ms": p99, "samples": len(samples)}


# There is no call for many tasks: a group of them is sent one by one.
SCENARIOS = {"enqueue_one": rate, "drain": drain, "latency": latency}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in SCENARIOS:
        sys.exit("usage: bench.py " + "|".join(SCENARIOS))
    result = SCENARIOS[sys.argv[1]]()
    print(json.dumps({"scenario": sys.argv[1], **result}))


if __name__ == "__main__":
    main()
