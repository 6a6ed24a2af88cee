"""Calls with a deadline that are repeated where the broker may be away."""

import random
import time

import grpc
from stubs import details_of

CALL_SECONDS = 30.0
WAIT_SECONDS_MIN = 0.1
WAIT_SECONDS_MAX = 2.0
OPTIONS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def open_channel(address):
    """A channel of its own to `http://host:port`."""
    return grpc.insecure_channel(address.removeprefix("http://"), OPTIONS)


def waits():
    """Seconds between tries: growing, with jitter, without an end."""
    wait = WAIT_SECONDS_MIN
    while True:
        yield wait * random.uniform(0.5, 1.0)
        wait = min(wait * 2, WAIT_SECONDS_MAX)


def repeat(call, request, seconds=CALL_SECONDS, is_over=lambda: False):
    """The answer to a call that may be repeated, within `seconds` in all; else grpc.RpcError."""
    end = time.monotonic() + seconds
    for wait in waits():
        try:
            # Nobody drives the connection while calls fail at once: one that waits for it does.
            left = max(0.001, end - time.monotonic())
            return call(request, timeout=left, wait_for_ready=True)
        except grpc.RpcError as error:
            _, _, again, asked = details_of(error)
            wait = max(wait, asked)
            if not again or is_over() or time.monotonic() + wait > end:
                raise
        time.sleep(wait)
