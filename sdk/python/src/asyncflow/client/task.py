"""What the broker tells of tasks, as plain values of Python.

Each is a read-only view of a message of the protocol, which is at hand as `proto` with all that has
no name here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Optional, TypeVar

from asyncflow.client import values
from asyncflow.v1 import broker_service_pb2, host_service_pb2, task_pb2

M = TypeVar("M")


class State(str, enum.Enum):
    """The state of a task. docs/STATE-MACHINE.md has the edges."""

    SUCCEEDED = "SUCCEEDED"
    """Ended well; its result is kept."""
    FAILED = "FAILED"
    """Ended for good without a result; `failure` says why."""
    CANCELLED = "CANCELLED"
    """Stopped because somebody asked for it."""
    PAUSED = "PAUSED"
    """Taken out of the queue by hand."""
    BLOCKED = "BLOCKED"
    """Waits for other tasks or a signal."""
    SCHEDULED = "SCHEDULED"
    """Waits for a time: not_before, back-off."""
    RUNNING = "RUNNING"
    """Leased by one attempt."""
    CANCELLING = "CANCELLING"
    """Cancel was asked for; the worker is stopping it."""
    PENDING = "PENDING"
    """Ready to be claimed."""
    UNKNOWN = "UNKNOWN"
    """A state that a newer broker has and this package does not know."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows but a retry by hand."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    def __str__(self) -> str:
        return self.value


_STATES: dict[int, State] = {
    number: State(name[len("TASK_STATE_") :])
    for name, number in task_pb2.TaskState.items()
    if name[len("TASK_STATE_") :] in State.__members__
}


def state_of(number: int) -> State:
    """The state of this number."""
    return _STATES.get(number, State.UNKNOWN)


def state_number(state: State) -> task_pb2.TaskState.ValueType:
    """The number of this state. Errors: ValueError for UNKNOWN."""
    return task_pb2.TaskState.Value(f"TASK_STATE_{State(state).value}")


def enum_name(kind: Any, prefix: str, number: int) -> str:
    """The name of a value without its prefix; its number where this package does not know it."""
    try:
        name: str = kind.Name(number)
    except ValueError:
        return str(number)
    short = name[len(prefix) :]
    return "" if short == "UNSPECIFIED" else short


class View(Generic[M]):
    """A read-only view of a message."""

    __slots__ = ("proto",)

    proto: M
    """The message. It is shared, not copied: do not change it."""

    def __init__(self, proto: M) -> None:
        object.__setattr__(self, "proto", proto)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is read-only; it shows what the broker said")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.proto == getattr(other, "proto", None)

    def __reduce__(self) -> tuple[type[View[M]], tuple[M]]:
        return type(self), (self.proto,)


class Failure(View[task_pb2.Failure]):
    """Why a task or an attempt failed."""

    __slots__ = ()

    @property
    def reason(self) -> str:
        """For programs: `ERROR`, `PERMANENT`, `TIMED_OUT`, `LEASE_LOST`, `OUT_OF_MEMORY`, …"""
        return enum_name(task_pb2.FailureReason, "FAILURE_REASON_", self.proto.reason)

    @property
    def message(self) -> str:
        """For people."""
        return self.proto.message

    def __repr__(self) -> str:
        return f"<Failure {self.reason}: {self.message}>"


class Progress(View[task_pb2.Progress]):
    """What a running task last said of itself."""

    __slots__ = ()

    @property
    def percent(self) -> Optional[float]:
        """0 to 100; None until the task says something."""
        return self.proto.percent if self.proto.HasField("percent") else None

    @property
    def message(self) -> str:
        """For people."""
        return self.proto.message

    @property
    def metrics(self) -> Mapping[str, float]:
        """The latest value of each named metric."""
        return dict(self.proto.metrics)

    def __repr__(self) -> str:
        return f"<Progress {self.percent} % {self.message} {self.metrics}>"


class Task(View[task_pb2.Task]):
    """A task as it was when the broker answered. `proto` has what has no name here."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """`<type>-<shard>-<13 characters>`."""
        return self.proto.id

    @property
    def task_type(self) -> str:
        """The task type."""
        return self.proto.task_type

    @property
    def name(self) -> str:
        """What people call it."""
        return self.proto.name

    @property
    def user(self) -> str:
        """Who owns it."""
        return self.proto.user

    @property
    def state(self) -> State:
        """The state."""
        return state_of(self.proto.state)

    @property
    def done(self) -> bool:
        """Whether it has ended: SUCCEEDED, FAILED or CANCELLED."""
        return self.state.is_terminal

    @property
    def priority(self) -> int:
        """Seniority in seconds."""
        return self.proto.priority

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        return dict(self.proto.labels)

    @property
    def payload(self) -> object:
        """What it works on: JSON is parsed, anything else is bytes; None where it has none, and in
        lists and watches, which leave it out."""
        return self._value("payload")

    @property
    def context(self) -> object:
        """What it last saved, like `payload`."""
        return self._value("context")

    @property
    def result(self) -> object:
        """What it returned, like `payload`; None unless it has SUCCEEDED."""
        return self._value("result")

    def _value(self, name: str) -> object:
        if not self.proto.HasField(name):  # type: ignore[arg-type]
            return None
        return values.value_of(getattr(self.proto, name))

    @property
    def stage(self) -> str:
        """The stage that was last saved; empty before the first."""
        return self.proto.stage

    @property
    def failure(self) -> Optional[Failure]:
        """Why it failed, or why its last attempt did."""
        return Failure(self.proto.failure) if self.proto.HasField("failure") else None

    @property
    def progress(self) -> Progress:
        """What it last said of itself."""
        return Progress(self.proto.progress)

    @property
    def attempt(self) -> int:
        """The attempt in force or the last one; 0 before the first claim."""
        return self.proto.attempt

    @property
    def failures(self) -> int:
        """Failures of this run, counted against its retries."""
        return self.proto.failures

    @property
    def run(self) -> int:
        """+1 at every retry by hand."""
        return self.proto.run

    @property
    def max_running_time(self) -> Optional[timedelta]:
        """Limit of one attempt's running time; None = none."""
        return values.timedelta_in(self.proto, "max_running_time")

    @property
    def worker_id(self) -> str:
        """The worker that holds, or last held, it."""
        return self.proto.worker_id

    @property
    def workflow_id(self) -> str:
        """The workflow that it is an item of; empty for most."""
        return self.proto.workflow_id

    @property
    def waits_for(self) -> Sequence[str]:
        """What a BLOCKED task waits for: ids of tasks, `signal NAME`, `children`."""
        return tuple(self.proto.waits_for)

    @property
    def create_time(self) -> Optional[datetime]:
        """When it was created."""
        return values.moment(self.proto, "create_time")

    @property
    def start_time(self) -> Optional[datetime]:
        """When the attempt in force or the last one started."""
        return values.moment(self.proto, "start_time")

    @property
    def finish_time(self) -> Optional[datetime]:
        """When it ended."""
        return values.moment(self.proto, "finish_time")

    @property
    def due_time(self) -> Optional[datetime]:
        """When a SCHEDULED task becomes PENDING."""
        return values.moment(self.proto, "due_time")

    @property
    def etag(self) -> str:
        """Changes with every write; give it to `update` to change only what you have seen."""
        return self.proto.etag

    def __repr__(self) -> str:
        return f"<Task {self.id or '(not created)'} {self.state}>"


class Attempt(View[task_pb2.Attempt]):
    """One attempt to run a task."""

    __slots__ = ()

    @property
    def number(self) -> int:
        """1, 2, 3 … over all runs."""
        return self.proto.attempt

    @property
    def worker_id(self) -> str:
        """The worker."""
        return self.proto.worker_id

    @property
    def outcome(self) -> str:
        """`SUCCEEDED`, `FAILED`, `CANCELLED`, `RELEASED` or `LOST`; empty while it runs."""
        return enum_name(task_pb2.AttemptOutcome, "ATTEMPT_OUTCOME_", self.proto.outcome)

    @property
    def failure(self) -> Optional[Failure]:
        """Why it did not succeed."""
        return Failure(self.proto.failure) if self.proto.HasField("failure") else None

    @property
    def exit_code(self) -> Optional[int]:
        """Of its process, −signal when a signal ended it; None without a process."""
        return self.proto.exit_code if self.proto.HasField("exit_code") else None

    @property
    def start_time(self) -> Optional[datetime]:
        """When it started; None if it never did."""
        return values.moment(self.proto, "start_time")

    @property
    def end_time(self) -> Optional[datetime]:
        """When it ended; None while it runs."""
        return values.moment(self.proto, "end_time")

    def __repr__(self) -> str:
        return f"<Attempt {self.number} of {self.proto.task_id} {self.outcome or 'running'}>"


class LogChunk(View[broker_service_pb2.StreamTaskLogsResponse]):
    """A piece of what a task wrote, at most 64 KiB, cut anywhere."""

    __slots__ = ()

    @property
    def data(self) -> bytes:
        """What was written."""
        return self.proto.data

    @property
    def stream(self) -> str:
        """Where to: `stdout`, `stderr`, or `system` for what asyncflow says about the attempt."""
        return enum_name(broker_service_pb2.LogStream, "LOG_STREAM_", self.proto.stream).lower()

    @property
    def attempt(self) -> int:
        """The attempt that wrote it."""
        return self.proto.attempt

    @property
    def offset(self) -> int:
        """Where `data` begins in all that the attempt wrote; a gap means it was not kept."""
        return self.proto.offset

    @property
    def time(self) -> Optional[datetime]:
        """When the worker read it."""
        return values.moment(self.proto, "time")

    def __repr__(self) -> str:
        return f"<LogChunk attempt {self.attempt} {self.stream} {self.offset} {self.data!r}>"


class Change(View[broker_service_pb2.WatchTasksResponse]):
    """A task as a watch sees it."""

    __slots__ = ()

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.proto.task.id or self.proto.deleted_task_id

    @property
    def task(self) -> Optional[Task]:
        """The task as it is now, without payload, context and result; None when it is deleted."""
        return Task(self.proto.task) if self.proto.HasField("task") else None

    @property
    def is_deleted(self) -> bool:
        """It was deleted, or there never was such a task."""
        return bool(self.proto.deleted_task_id)

    @property
    def resume_token(self) -> str:
        """Give it to `watch` to go on from here, in another process too."""
        return self.proto.resume_token

    def __repr__(self) -> str:
        return f"<Change {self.task or f'{self.task_id} is gone'}>"


class Explanation(View[host_service_pb2.ExplainTaskResponse]):
    """Why a task is where it is; `str` of it is one sentence."""

    __slots__ = ()

    @property
    def reasons(self) -> Sequence[str]:
        """What the sentence is made from, the most important first."""
        return tuple(reason.message for reason in self.proto.explanations)

    @property
    def queue_position(self) -> Optional[int]:
        """Tasks of its type that are taken before it; None = not in the queue, or not known."""
        return self.proto.queue_position if self.proto.HasField("queue_position") else None

    @property
    def task(self) -> Task:
        """The task."""
        return Task(self.proto.task)

    def __str__(self) -> str:
        return self.proto.summary

    def __repr__(self) -> str:
        return f"<Explanation {self.proto.summary}>"
