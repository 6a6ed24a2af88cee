"""A task that was submitted. The only module of the task half that imports the client half."""

from __future__ import annotations

import base64
import codecs
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, Mapping, Optional, TypeVar, cast

from asyncflow.task.bar import as_postfix
from asyncflow.task.duration import Span

if TYPE_CHECKING:
    from asyncflow.client import Client, State
    from asyncflow.client import Task as TaskView
    from asyncflow.task.definition import Task

R = TypeVar("R")


class Handle(Generic[R]):
    """A task at a broker, as the submitter has it in hand."""

    def __init__(self, client: Client, task_id: str) -> None:
        self.client = client
        self.id = task_id

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def get(self) -> TaskView:
        """The task as it is now: state, progress, attempt, failure …"""
        return self.client.get(self.id)

    @property
    def state(self) -> State:
        """The state as it is now."""
        return self.get().state

    def wait(self, timeout: Optional[Span] = None) -> TaskView:
        """Waits until the task has ended, for `timeout` at most, and gives it as it is then."""
        return self.client.wait(self.id, timeout)

    def result(self, timeout: Optional[Span] = None) -> R:
        """Waits until the task has ended, and gives what it returned, as JSON gives it.

        Raises TaskFailed, TaskCancelled, and TimeoutError when it has not ended in time.
        """
        return cast(R, self.client.result(self.id, timeout))

    def cancel(self, reason: str = "") -> TaskView:
        """Cancels it; one that runs is told to stop, and stopped if it does not."""
        return self.client.cancel(self.id, reason)

    def follow(self) -> R:
        """Shows what the task writes, and how far it is, until it has ended; gives its result.

        Its output goes to the standard output, progress and states to the standard error. Raises as
        `result`. Interrupted by Ctrl-C it stops to show: the task goes on.
        """
        left = threading.Event()
        watching = threading.Thread(target=self._show_changes, args=(left,), daemon=True)
        watching.start()
        try:
            self._show_log()
            found = self.result()
            watching.join(timeout=2)
            return found
        finally:
            left.set()

    def _show_log(self) -> None:
        # A character may be cut in two.
        decoders: dict[tuple[int, str], codecs.IncrementalDecoder] = {}
        for chunk in self.client.logs(self.id, follow=True):
            stream = sys.stdout if chunk.stream == "stdout" else sys.stderr
            which = (chunk.attempt, chunk.stream)
            if which not in decoders:
                decoders[which] = codecs.getincrementaldecoder("utf-8")("replace")
            stream.write(decoders[which].decode(chunk.data))
            stream.flush()

    def _show_changes(self, left: threading.Event) -> None:
        shown = ""
        # The log and the result tell the rest, and what is wrong with the connection.
        with contextlib.suppress(Exception):
            for change in self.client.watch(self.id):
                if change.task is None or left.is_set():
                    return
                line = described(change.task)
                if line != shown:
                    shown = line
                    print(line, file=sys.stderr, flush=True)


def described(task: TaskView) -> str:
    """A task on one line, e.g. `train-1-0an6… RUNNING attempt 2: 37 % fit 37/100, loss=0.31`."""
    words = f"{task.id} {task.state}"
    if task.attempt > 1:
        words += f" attempt {task.attempt}"
    progress = task.progress
    percent = f" {progress.percent:.0f} %" if progress.percent is not None else ""
    message = f" {progress.message}" if progress.message else ""
    said = percent + message + as_postfix(progress.metrics)
    return f"{words}:{said}" if said else words


def submit(task: Task[..., Any, R], spec: Mapping[str, Any], arguments: str) -> Handle[R]:
    """Creates a task from a message TaskSpec in JSON, and its payload. A type that is missing is
    made."""
    from google.protobuf import json_format

    from asyncflow.errors import NotFound
    from asyncflow.v1 import task_pb2

    client: Client = task.default.client or _default_client()
    payload = {
        "data": base64.b64encode(arguments.encode()).decode("ascii"),
        "content_type": "application/json",
    }
    message = task_pb2.TaskSpec()
    json_format.ParseDict({**spec, "payload": payload}, message)
    try:
        made = client.create(message, request_id=task.default.request_id)
    except NotFound as error:
        if error.reason != "UNKNOWN_TASK_TYPE":
            raise
        client.ensure_type(task.type)
        made = client.create(message, request_id=task.default.request_id)
    return Handle(client, made.id)


_client: Optional[Client] = None
_client_of = 0
_making = threading.Lock()


def _default_client() -> Client:
    """One for the process, by its environment."""
    global _client, _client_of
    from asyncflow.client import Client

    with _making:
        if _client is None or _client_of != os.getpid():
            _client, _client_of = Client(), os.getpid()
        return _client
