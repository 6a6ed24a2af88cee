"""Children of a task: a data loader's workers share neither connection nor signals with it."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from typing import Callable

from asyncflow.task.context import Context
from asyncflow.task.stop import CatchTerm

from .conftest import attempt
from .fake_worker import FakeWorker


def in_child(work: Callable[[], object]) -> int:
    """Forks; the child's wait status."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(5, exit=True)
        try:
            work()
        except BaseException:
            os._exit(3)
        os._exit(0)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


def test_a_child_has_a_connection_of_its_own(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    ctx.save(who="parent")
    for _ in range(3):
        assert in_child(lambda: ctx.save(who="child")) == 0
        ctx.save(who="parent")
    assert fake.connections == 4
    assert [context["who"] for context in fake.contexts()] == ["parent", *["child", "parent"] * 3]


def test_a_child_does_not_hang_on_what_a_thread_held(fake: FakeWorker) -> None:
    """Threads that save and report all the time, and forks in between."""
    ctx = attempt(fake)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            ctx.save(busy=True)
            ctx.metrics(loss=1.0)

    thread = threading.Thread(target=busy)
    thread.start()

    def work() -> None:
        ctx.metrics(loss=2.0)
        ctx.save(child=True)
        ctx.close()

    try:
        for _ in range(20):
            assert in_child(work) == 0
    finally:
        stop.set()
        thread.join()


def test_a_child_ends_on_sigterm(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    assert not ctx.should_stop
    with CatchTerm(ctx.stop_flag):

        def killed(ctx: Context = ctx) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

        assert os.WTERMSIG(in_child(killed)) == signal.SIGTERM
        assert not ctx.should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert ctx.should_stop
