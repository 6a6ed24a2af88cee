"""`python -m asyncflow.task serve`: runs tasks in a process that has imported the modules already,
one after the other. A worker starts it with a Unix socket as standard input. They talk in lines:

    process ▶ worker   {"ready": true}
    worker ▶ process   {"environment": {…}, "directory": "…"}
    process ▶ worker   {"exit": 0, "spent": false, "cpu_seconds": 0.1, "memory_peak_bytes": 1}

It ends when the socket does: with its worker. While it is idle it does nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence, cast

from asyncflow.task import errors
from asyncflow.task.current import say
from asyncflow.task.discover import NotFound, load
from asyncflow.task.run import run_in_worker
from asyncflow.task.surroundings import Surroundings

if TYPE_CHECKING:
    from asyncflow.task.definition import Task

    AnyTask = Task[..., Any, Any]

_LINE_BYTES_MAX = 16 * 1024 * 1024
# The SDK's own thread ends a moment after its task.
_OWN_THREAD = "asyncflow-reporter"


def main(modules: Sequence[str]) -> int:
    """Serves until the worker is gone."""
    if not _is_socket(0):
        say("a worker starts this, with a socket as standard input")
        return errors.BAD_SETUP
    worker = socket.socket(fileno=os.dup(0))
    # What a task reads is nothing, as in a process of its own.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _tie_to_worker()
    try:
        tasks = load(modules)
    except NotFound as error:
        say(str(error))
        return errors.FAILED
    Server(worker, tasks).run()
    return errors.SUCCEEDED


class Server:
    """The life of the process, once it has imported everything."""

    def __init__(self, worker: socket.socket, tasks: Mapping[str, AnyTask]) -> None:
        self._worker = worker
        self._lines = worker.makefile("rb")
        self._tasks = tasks
        self._place = _Place()

    def run(self) -> None:
        """One task after the other."""
        self._tell({"ready": True})
        while True:
            line = self._lines.readline(_LINE_BYTES_MAX)
            if not line.endswith(b"\n"):
                return
            request = cast("dict[str, Any]", json.loads(line))
            self._tell(self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        used_s = _used_s()
        code = self._run_one(request)
        is_spent = self._place.restore()
        return {
            "exit": code,
            "spent": is_spent,
            "cpu_seconds": max(0.0, _used_s() - used_s),
            "memory_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _run_one(self, request: Mapping[str, Any]) -> int:
        environment = cast("dict[str, str]", request["environment"])
        os.environ.clear()
        os.environ.update(environment)
        try:
            os.chdir(request["directory"])
            found = Surroundings.read()
            task = self._tasks.get(found.task_type)
            if task is None:
                say(f"no task {found.task_type!r} in the modules as they were imported here")
                return errors.FAILED
            return run_in_worker(task, found)
        except BaseException as error:
            # SIGTERM between the lines, or a bug: nothing of it may end this loop.
            say(f"{type(error).__name__}: {error}")
            return errors.RUN_AGAIN if isinstance(error, errors.Preempted) else errors.FAILED

    def _tell(self, answer: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._worker.sendall(json.dumps(answer).encode() + b"\n")


class _Place:
    """What a task may have changed of the process, and what is there again afterwards."""

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._output = os.dup(1)
        self._errors = os.dup(2)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._path = list(sys.path)
        self._arguments = list(sys.argv)
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._signals = {number: signal.getsignal(number) for number in (2, 10, 12, 14, 15)}
        self._libc_flush = _libc("fflush")

    def restore(self) -> bool:
        """Whether something is left that cannot be undone: then no other task may come here."""
        for stream in (*self._streams[1:], sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if self._libc_flush is not None:
            self._libc_flush(None)
        sys.stdin, sys.stdout, sys.stderr = self._streams
        os.dup2(self._output, 1)
        os.dup2(self._errors, 2)
        os.chdir(self._directory)
        os.umask(self._umask)
        sys.path[:] = self._path
        sys.argv[:] = self._arguments
        for number, handler in self._signals.items():
            if handler is not None:
                signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        others = [one for one in threading.enumerate() if one.name != _OWN_THREAD]
        is_closed = any(stream is None or stream.closed for stream in self._streams[1:])
        return is_closed or len(others) > 1 or _has_children()


def _has_children() -> bool:
    """Whether a process is left that the task has started; those that have ended are none."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def _used_s() -> float:
    """Time on cores, of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


# --- what Python does not have -------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _libc(name: str) -> Optional[Callable[..., Any]]:
    try:
        import ctypes

        return cast("Callable[..., Any]", getattr(ctypes.CDLL(None), name))
    except (ImportError, AttributeError, OSError):
        return None


def _tie_to_worker() -> None:
    """It ends with its worker also in the middle of a task; what its tasks leave behind becomes its
    own children, where it is found. Linux only."""
    prctl = _libc("prctl") if sys.platform == "linux" else None
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
