"""The calls that a client makes: how each is asked for and how its answer is read. Pure."""

from __future__ import annotations

import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from google.protobuf.message import Message

from asyncflow.client import status, values
from asyncflow.client.spec import (
    SpecLike,
    TaskChanges,
    TaskRef,
    TypeSettings,
    changes_proto,
    spec_proto,
    task_id,
    type_proto,
)
from asyncflow.client.streams import Logs, Watch
from asyncflow.client.task import Attempt, Explanation, State, Task, state_number, state_of
from asyncflow.client.values import Span
from asyncflow.errors import (
    BrokerError,
    DeadlineExceeded,
    ResultExpired,
    TaskCancelled,
    TaskFailed,
)
from asyncflow.v1 import broker_service_pb2 as pb
from asyncflow.v1 import host_service_pb2, signal_pb2, task_pb2

T = TypeVar("T")

# One round of waiting at the broker, and how much later its answer may come.
ROUND_S = 30.0
SLACK_S = 15.0
# Before the next round, when one has ended early.
PAUSE_S = 0.2

_PAGE_SIZE = 200
# Of a batch of creates. A message to a broker may have 8 MiB; and what comes slowly goes out early.
_BATCH_BYTES_MAX = 2 * 1024 * 1024
_LINGER_S = 0.2


@dataclass(frozen=True)
class Call(Generic[T]):
    """One unary call."""

    method: str
    request: Message
    read: Callable[[Any], T]
    service: str = "broker"
    timeout_s: Optional[float] = None
    """None = the client's."""


if TYPE_CHECKING:
    Page = Call[tuple[Iterable[T], str]]


@dataclass(frozen=True)
class Pages(Generic[T]):
    """A list that comes page by page."""

    method: str
    request: Any
    read: Callable[[Any], Iterable[T]]

    def first(self) -> Page[T]:
        """The call for the first page; it answers entries and the token of the next page."""
        return self._page("")

    def after(self, token: str) -> Optional[Page[T]]:
        """The call for the next page; None after the last."""
        return self._page(token) if token else None

    def _page(self, token: str) -> Page[T]:
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = token
        return Call(self.method, request, lambda page: (self.read(page), page.next_page_token))


def _task(answer: Any) -> Task:
    if not answer.HasField("task"):
        raise status.broken("the broker's answer holds no task")
    return Task(answer.task)


def create(
    spec: SpecLike, request_id: Optional[str] = None, validate_only: bool = False
) -> Call[Task]:
    """See Client.create."""
    request = pb.CreateTaskRequest(
        task=spec_proto(spec), request_id=request_id or "", validate_only=validate_only
    )
    return Call("CreateTask", request, _task)


CreateRequest = pb.CreateTaskRequest
"""A create with a request id of the caller's, for `create_many` and `stream`."""


def create_request(
    spec: Union[SpecLike, CreateRequest], request_id: Optional[str] = None
) -> CreateRequest:
    """A create; without a request id it gets one when it is sent."""
    if isinstance(spec, CreateRequest):
        return spec
    return pb.CreateTaskRequest(task=spec_proto(spec), request_id=request_id or "")


def create_many(specs: Iterable[Union[SpecLike, CreateRequest]]) -> Call[list[Task]]:
    """See Client.create_many."""
    request = pb.BatchCreateTasksRequest(requests=[create_request(spec) for spec in specs])
    return Call(
        "BatchCreateTasks",
        request,
        lambda answer: [_task(response) for response in answer.responses],
    )


def get(task: TaskRef) -> Call[Task]:
    """See Client.get."""
    return Call("GetTask", pb.GetTaskRequest(task_id=task_id(task)), _task)


def list_tasks(filter_text: str, full: bool, page_size: int) -> Pages[Task]:
    """See Client.list."""
    view = pb.TASK_VIEW_FULL if full else pb.TASK_VIEW_BASIC
    request = pb.ListTasksRequest(filter=filter_text, view=view, page_size=page_size or _PAGE_SIZE)
    return Pages("ListTasks", request, lambda page: map(Task, page.tasks))


def filter_of(
    text: str = "",
    task_type: Optional[str] = None,
    state: Union[State, Sequence[State], None] = None,
    user: Optional[str] = None,
    labels: Optional[Mapping[str, str]] = None,
    created_after: Optional[datetime] = None,
    created_before: Optional[datetime] = None,
) -> str:
    """A filter in the broker's language: all of these joined by AND."""
    parts: list[str] = []
    states = _states(state or ())
    if states:
        parts.append("(" + " OR ".join(f"state = {one.value}" for one in states) + ")")
    if task_type is not None:
        parts.append(f"task_type = {_quoted(task_type)}")
    if user is not None:
        parts.append(f"user = {_quoted(user)}")
    parts += [f"labels.{key} = {_quoted(value)}" for key, value in (labels or {}).items()]
    for sign, moment in ((">=", created_after), ("<", created_before)):
        if moment is not None:
            at = values.timestamp(moment).ToDatetime(tzinfo=timezone.utc).isoformat()
            parts.append(f'create_time {sign} "{at}"')
    if text:
        parts.append(text)
    return " AND ".join(parts)


def _states(given: Union[State, str, Iterable[State]]) -> list[State]:
    """One of them, or several."""
    return [State(one) for one in ((given,) if isinstance(given, (State, str)) else given)]


def _quoted(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} in a filter is no text")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True)
class Counts:
    """How many tasks there are."""

    total: int
    """All that match."""
    by_state: Mapping[State, int]
    """By state; zero counts are left out."""
    by_type: Mapping[str, int]
    """By task type; zero counts are left out."""


def count(
    task_type: Optional[str], user: Optional[str], states: Union[State, Iterable[State]]
) -> Call[Counts]:
    """See Client.count."""
    request = pb.CountTasksRequest(
        task_type=task_type or "", user=user or "", states=map(state_number, _states(states))
    )

    def read(answer: pb.CountTasksResponse) -> Counts:
        by_state: dict[State, int] = {}
        by_type: dict[str, int] = {}
        for entry in answer.counts:
            state = state_of(entry.state)
            by_state[state] = by_state.get(state, 0) + entry.count
            by_type[entry.task_type] = by_type.get(entry.task_type, 0) + entry.count
        return Counts(answer.total, by_state, by_type)

    return Call("CountTasks", request, read)


def update(task: TaskRef, etag: Optional[str], changes: TaskChanges) -> Call[Task]:
    """See Client.update."""
    message, paths = changes_proto(changes)
    request = pb.UpdateTaskRequest(task_id=task_id(task), task=message, etag=etag or "")
    request.update_mask.paths.extend(paths)
    return Call("UpdateTask", request, _task)


def cancel(task: TaskRef, reason: str) -> Call[Task]:
    """See Client.cancel."""
    request = pb.CancelTaskRequest(task_id=task_id(task), reason=reason)
    return Call("CancelTask", request, _task)


def retry(task: TaskRef, from_start: bool) -> Call[Task]:
    """See Client.retry."""
    request = pb.RetryTaskRequest(task_id=task_id(task), from_start=from_start)
    return Call("RetryTask", request, _task)


def pause(task: TaskRef) -> Call[Task]:
    """See Client.pause."""
    return Call("PauseTask", pb.PauseTaskRequest(task_id=task_id(task)), _task)


def resume(task: TaskRef) -> Call[Task]:
    """See Client.resume."""
    return Call("ResumeTask", pb.ResumeTaskRequest(task_id=task_id(task)), _task)


def delete(task: TaskRef) -> Call[None]:
    """See Client.delete."""
    return Call("DeleteTask", pb.DeleteTaskRequest(task_id=task_id(task)), lambda _: None)


def signal(task: TaskRef, name: str, content: object) -> Call[Task]:
    """See Client.signal."""
    request = signal_pb2.SignalTaskRequest(task_id=task_id(task), name=name)
    if content is not None:
        request.content.CopyFrom(values.content(content, "the content of a signal"))
    return Call("SignalTask", request, _task)


def attempts(task: TaskRef) -> Pages[Attempt]:
    """See Client.attempts."""
    request = pb.ListAttemptsRequest(task_id=task_id(task), page_size=_PAGE_SIZE)
    return Pages("ListAttempts", request, lambda page: map(Attempt, page.attempts))


def explain(task: TaskRef) -> Call[Explanation]:
    """See Client.explain."""
    request = host_service_pb2.ExplainTaskRequest(task_id=task_id(task))
    return Call("ExplainTask", request, Explanation, service="hosts")


class Waiting(Generic[T]):
    """Rounds of waiting at the broker, until it is over or the time is.

    A round may end early: a broker that is being shut down answers at once. And it may fail: then
    short ones follow, for as long as the patience with a broker that is away lasts.
    """

    def __init__(
        self,
        ask: Callable[[float], Call[tuple[T, bool]]],
        timeout: Optional[Span],
        now: float,
        patience_s: float,
    ) -> None:
        self._ask = ask
        self.timeout_s = None if timeout is None else values.span(timeout).total_seconds()
        self._end = None if self.timeout_s is None else now + self.timeout_s
        self._patience_s = patience_s
        self._round_until = now
        self._failed_at: Optional[float] = None

    def round(self, now: float) -> Call[tuple[T, bool]]:
        """The next call; it answers what is waited for, and whether that has ended."""
        left = ROUND_S if self._failed_at is None else 0.0
        if self._end is not None:
            left = min(left, max(0.0, self._end - now))
        self._round_until = now + left
        return self._ask(left)

    def is_over(self, done: bool, now: float) -> bool:
        """A round was answered: whether no other one follows."""
        self._failed_at = None
        return done or self._has_no_time(now)

    def pause_s(self, now: float) -> float:
        """How long to wait before the next round: nothing if this one has lasted its time."""
        pause_s = PAUSE_S if now < self._round_until else 0.0
        return pause_s if self._end is None else max(0.0, min(pause_s, self._end - now))

    def failed(self, error: BrokerError, now: float) -> None:
        """A round has failed. Raises the error unless another one may be answered."""
        may_pass = error.retryable and not status.is_untrusted(error.message)
        if self._has_no_time(now) or not (may_pass or isinstance(error, DeadlineExceeded)):
            raise error
        if self._failed_at is None:
            self._failed_at = now
        elif may_pass and now - self._failed_at >= self._patience_s:
            raise error

    def _has_no_time(self, now: float) -> bool:
        return self._end is not None and now >= self._end


def waiting(
    task: TaskRef, timeout: Optional[Span], now: float, patience_s: float
) -> Waiting[Task]:
    """See Client.wait."""

    def ask(round_s: float) -> Call[tuple[Task, bool]]:
        request = pb.WaitTaskRequest(task_id=task_id(task), timeout=values.duration(round_s))
        return Call(
            "WaitTask",
            request,
            lambda answer: (_task(answer), answer.done),
            timeout_s=round_s + SLACK_S,
        )

    return Waiting(ask, timeout, now, patience_s)


def result_of(task: Task, timeout_s: Optional[float]) -> object:
    """The result of a task that was waited for. Errors: TaskFailed, TaskCancelled, ResultExpired;
    DeadlineExceeded, which is a TimeoutError, when it has not ended."""
    if task.state is State.FAILED:
        raise TaskFailed(task)
    if task.state is State.CANCELLED:
        raise TaskCancelled(task)
    if task.state is not State.SUCCEEDED:
        raise status.out_of_time(f"task {task.id} ({task.state})", timeout_s)
    if task.proto.result_expired:
        raise ResultExpired(task)
    return task.result


def watch(
    tasks: Union[TaskRef, Iterable[TaskRef]],
    filter_text: str,
    until_done: bool,
    resume_token: Optional[str],
) -> Watch:
    """See Client.watch."""
    chosen = [tasks] if isinstance(tasks, (str, Task)) else tasks
    return Watch(
        pb.WatchTasksRequest(
            task_ids=map(task_id, chosen),
            filter=filter_text,
            until_done=until_done,
            resume_token=resume_token or "",
        )
    )


def logs(task: TaskRef, follow: bool, attempt: int, tail_lines: Optional[int]) -> Logs:
    """See Client.logs."""
    return Logs(
        pb.StreamTaskLogsRequest(
            task_id=task_id(task), attempt=attempt, follow=follow, tail_lines=tail_lines
        )
    )


def create_type(name: str, settings: TypeSettings) -> Call[task_pb2.TaskType]:
    """See Client.create_type."""
    message, _ = type_proto(name, settings)
    request = pb.CreateTaskTypeRequest(task_type=message)
    return Call("CreateTaskType", request, lambda answer: answer.task_type)


def made_type(
    name: str, settings: TypeSettings, found: task_pb2.TaskType, error: BrokerError
) -> task_pb2.TaskType:
    """The type that is there, if it is as it was to be made: a try whose answer was lost has made
    it. Raises the error if it is another one."""
    message, _ = type_proto(name, settings)
    wanted = task_pb2.TaskType()
    wanted.CopyFrom(found)
    wanted.MergeFrom(message)
    if wanted != found:
        raise error
    return found


def get_type(name: str) -> Call[task_pb2.TaskType]:
    """See Client.get_type."""
    request = pb.GetTaskTypeRequest(name=name)
    return Call("GetTaskType", request, lambda answer: answer.task_type)


def update_type(name: str, settings: TypeSettings) -> Call[task_pb2.TaskType]:
    """See Client.update_type."""
    message, paths = type_proto(name, settings)
    request = pb.UpdateTaskTypeRequest(task_type=message)
    request.update_mask.paths.extend(paths)
    return Call("UpdateTaskType", request, lambda answer: answer.task_type)


def list_types() -> Pages[task_pb2.TaskType]:
    """See Client.list_types."""
    request = pb.ListTaskTypesRequest(page_size=_PAGE_SIZE)
    return Pages("ListTaskTypes", request, lambda page: page.task_types)


def list_workers() -> Pages[pb.Worker]:
    """See Client.list_workers."""
    request = pb.ListWorkersRequest(page_size=_PAGE_SIZE)
    return Pages("ListWorkers", request, lambda page: page.workers)


class Batch:
    """Creates that are to be sent together, until they are many, large, or have waited."""

    def __init__(self, size: int, now: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._now = now
        self._begin()

    def _begin(self) -> None:
        self._requests: list[CreateRequest] = []
        self._bytes = 0
        self._begun_at = 0.0

    def add(self, task: Union[SpecLike, CreateRequest]) -> Iterator[list[CreateRequest]]:
        """Takes one more; gives what is to be sent now."""
        request = create_request(task)
        size = request.ByteSize()
        if self._requests and self._bytes + size > _BATCH_BYTES_MAX:
            yield self.taken()
        if not self._requests:
            self._begun_at = self._now()
        self._requests.append(request)
        self._bytes += size
        if len(self._requests) >= self._size or self._now() - self._begun_at >= _LINGER_S:
            yield self.taken()

    def rest(self) -> Iterator[list[CreateRequest]]:
        """No other one comes; gives what was not sent."""
        if self._requests:
            yield self.taken()

    def taken(self) -> list[CreateRequest]:
        """What there is, and begins anew."""
        requests = self._requests
        self._begin()
        return requests


def batches(
    tasks: Iterable[Union[SpecLike, CreateRequest]], size: int
) -> Iterator[list[CreateRequest]]:
    """Creates for these tasks, so many at once."""
    batch = Batch(size)
    for task in tasks:
        yield from batch.add(task)
    yield from batch.rest()


async def async_batches(
    tasks: Union[
        Iterable[Union[SpecLike, CreateRequest]], AsyncIterable[Union[SpecLike, CreateRequest]]
    ],
    size: int,
) -> AsyncIterator[list[CreateRequest]]:
    """The same for what may come asynchronously."""
    if not isinstance(tasks, AsyncIterable):
        for full in batches(tasks, size):
            yield full
        return
    batch = Batch(size)
    async for task in tasks:
        for full in batch.add(task):
            yield full
    for full in batch.rest():
        yield full
