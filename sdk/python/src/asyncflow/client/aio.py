"""The client for asyncio. It is thin: what is asked and read is in `calls` and `streams`, which
`sync` shares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, List, Optional, TypeVar, Union

from asyncflow.client import calls, streams
from asyncflow.client.aio_channel import RetryingAioChannel
from asyncflow.client.calls import Counts
from asyncflow.client.channel import Connection, open_aio_channel
from asyncflow.client.retry import Backoff
from asyncflow.client.settings import StrPath, resolve
from asyncflow.client.spec import SpecLike, TaskRef, TaskSpec
from asyncflow.client.streams import Created
from asyncflow.client.stubs import AsyncStubs
from asyncflow.client.task import Attempt, Change, Explanation, LogChunk, State, Task
from asyncflow.client.values import Span, span
from asyncflow.errors import AlreadyExists, BrokerError, NotFound
from asyncflow.v1 import broker_service_pb2, task_pb2

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from asyncflow.client.spec import TaskChanges, TaskOptions, TypeSettings

T = TypeVar("T")


class AsyncClient:
    """A `Client` for asyncio: the same methods, to be awaited, and iterators for `async for`. It
    belongs to the event loop in which its first call is made. Used in an `async with` statement, or
    until `close`.

    A stream that is left before its end is closed when Python's garbage collector finds it;
    `contextlib.aclosing` closes it at once.
    """

    def __init__(
        self,
        address: Optional[str] = None,
        *,
        token: Optional[str] = None,
        token_file: Optional[StrPath] = None,
        ca_file: Optional[StrPath] = None,
        timeout: Span = 30.0,
    ) -> None:
        """Prepares the connection; see `Client`."""
        settings = resolve(address, token, token_file, ca_file)
        settings.root_certificates()
        connection = Connection(settings, open_aio_channel)
        self._use(RetryingAioChannel(connection, span(timeout).total_seconds()))

    def _use(self, channel: RetryingAioChannel) -> None:
        self._channel = channel
        self.stub = AsyncStubs(channel)
        """The generated services, for what there is no method for."""

    def with_options(self, *, timeout: Span) -> Self:
        """The same client on the same connection with another timeout."""
        copy = type(self).__new__(type(self))
        copy._use(RetryingAioChannel(self._channel.connection, span(timeout).total_seconds()))
        return copy

    @property
    def address(self) -> str:
        """Where the broker is."""
        return self._channel.connection.settings.address

    async def close(self) -> None:
        """Closes the connection, for good: streams that are open end with an error."""
        channel = self._channel.connection.taken()
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    async def create(
        self,
        task_type: Union[str, SpecLike],
        payload: object = None,
        *,
        request_id: Optional[str] = None,
        validate_only: bool = False,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Creates a task, e.g. `await client.create("train", {"lr": 3e-4}, gpus=1)`; see
        `Client.create` and, for the options, `TaskSpec`."""
        spec = TaskSpec(task_type, payload, **options) if isinstance(task_type, str) else task_type
        return await self._run(calls.create(spec, request_id, validate_only))

    async def create_many(
        self, tasks: Iterable[Union[SpecLike, calls.CreateRequest]]
    ) -> List[Task]:
        """Creates up to 1,000 tasks in one call, all or none."""
        return await self._run(calls.create_many(tasks))

    async def stream(
        self,
        tasks: Union[
            Iterable[Union[SpecLike, calls.CreateRequest]],
            AsyncIterable[Union[SpecLike, calls.CreateRequest]],
        ],
        *,
        batch_size: int = 200,
        batches_in_flight: int = 8,
    ) -> AsyncIterator[Created]:
        """Creates any number of tasks, and says of each what became of it, in their order; see
        `Client.stream`."""
        batches = calls.async_batches(tasks, batch_size)
        window, backoff = streams.Window(batches_in_flight), Backoff(self._channel.timeout_s)
        sending: asyncio.Queue[Any] = asyncio.Queue()
        answers: Any = None
        answering: Optional[asyncio.Future[Any]] = None
        try:
            while True:
                while window.has_room:
                    batch = await _next(batches)
                    if batch is None:
                        break
                    sending.put_nowait(window.add(batch))
                    # Now, not when the window is full: its source may be slow.
                    answers = answers or self._open_stream(sending)
                    answering = answering or asyncio.ensure_future(_next(answers))
                if window.is_empty:
                    return
                answer = None
                try:
                    answers = answers or self._open_stream(sending)
                    answer = await (answering or _next(answers))
                    told = streams.ended_early()
                except BrokerError as error:
                    told = error
                answering = None
                if answer is not None:
                    backoff.succeeded()
                    for created in window.read(answer):
                        yield created
                    continue
                wait = backoff.wait_after(told, time.monotonic())
                sending.put_nowait(None)
                sending, answers = asyncio.Queue(), None
                for request in window.unanswered:
                    sending.put_nowait(request)
                await asyncio.sleep(wait)
        finally:
            # Ends gRPC's task that takes from it.
            sending.put_nowait(None)
            if answering is not None:
                await _given_up(answering)
            if answers is not None:
                await answers.aclose()

    def _open_stream(self, sending: asyncio.Queue[Any]) -> Any:
        return self.stub.broker.StreamCreateTasks(_taken_from(sending))

    async def get(self, task: TaskRef) -> Task:
        """The task with everything. Raises NotFound."""
        return await self._run(calls.get(task))

    def list(
        self,
        filter: str = "",
        *,
        task_type: Optional[str] = None,
        state: Union[State, Sequence[State], None] = None,
        user: Optional[str] = None,
        labels: Optional[Mapping[str, str]] = None,
        created_after: Optional[datetime] = None,
        created_before: Optional[datetime] = None,
        full: bool = False,
        page_size: int = 0,
    ) -> AsyncIterator[Task]:
        """All tasks that match, newest first; pages are fetched as they are needed. See
        `Client.list`."""
        text = calls.filter_of(
            filter, task_type, state, user, labels, created_after, created_before
        )
        return self._pages(calls.list_tasks(text, full, page_size))

    async def count(
        self,
        task_type: Optional[str] = None,
        *,
        user: Optional[str] = None,
        states: Union[State, Iterable[State]] = (),
    ) -> Counts:
        """How many tasks there are, by state and type."""
        return await self._run(calls.count(task_type, user, states))

    async def wait(self, task: TaskRef, timeout: Optional[Span] = None) -> Task:
        """Waits until the task has ended, for `timeout` at most, and gives it as it is then: look
        at `done` and `state`. None = as long as it takes. Raises NotFound."""
        return await self._wait(self._waiting(task, timeout))

    async def result(self, task: TaskRef, timeout: Optional[Span] = None) -> Any:
        """Waits until the task has ended and gives its result: what JSON holds, or bytes. Raises
        TaskFailed, TaskCancelled, ResultExpired, TimeoutError; see `Client.result`."""
        waiting = self._waiting(task, timeout)
        return calls.result_of(await self._wait(waiting), waiting.timeout_s)

    def watch(
        self,
        tasks: Union[TaskRef, Iterable[TaskRef]] = (),
        *,
        filter: str = "",
        until_done: bool = True,
        resume_token: Optional[str] = None,
    ) -> AsyncIterator[Change]:
        """The tasks as they are now, then at every change; it goes on by itself after a break. See
        `Client.watch`."""
        watch = calls.watch(tasks, filter, until_done and not filter, resume_token)
        return self._resumed(watch)

    def logs(
        self,
        task: TaskRef,
        *,
        follow: bool = False,
        attempt: int = 0,
        tail_lines: Optional[int] = None,
    ) -> AsyncIterator[LogChunk]:
        """What the task wrote; it goes on by itself after a break. See `Client.logs`."""
        return self._resumed(calls.logs(task, follow, attempt, tail_lines))

    async def attempts(self, task: TaskRef) -> List[Attempt]:
        """All attempts to run it, oldest first. Raises NotFound."""
        return [attempt async for attempt in self._pages(calls.attempts(task))]

    async def explain(self, task: TaskRef) -> Explanation:
        """Why the task is where it is. Raises NotFound."""
        return await self._run(calls.explain(task))

    async def update(
        self, task: TaskRef, *, etag: Optional[str] = None, **changes: Unpack[TaskChanges]
    ) -> Task:
        """Changes a task that has not ended; None takes a time limit away. Raises NotFound,
        FailedPrecondition (it has ended), Aborted (`etag` is given and is not its etag; if then
        `error.may_be_done`, it may be this change itself that has changed it)."""
        return await self._run(calls.update(task, etag, changes))

    async def cancel(self, task: TaskRef, reason: str = "") -> Task:
        """Cancels a task; one that runs is CANCELLING until its worker has stopped it. Raises
        NotFound, FailedPrecondition (it has ended otherwise)."""
        return await self._run(calls.cancel(task, reason))

    async def retry(self, task: TaskRef, *, from_start: bool = False) -> Task:
        """Opens a new run of a task that has ended; `from_start` forgets stage and context. Raises
        NotFound, FailedPrecondition (it has not ended)."""
        return await self._run(calls.retry(task, from_start))

    async def pause(self, task: TaskRef) -> Task:
        """Takes a waiting task out of the queue. Raises NotFound, FailedPrecondition."""
        return await self._run(calls.pause(task))

    async def resume(self, task: TaskRef) -> Task:
        """Puts a paused task back. Raises NotFound, FailedPrecondition."""
        return await self._run(calls.resume(task))

    async def delete(self, task: TaskRef) -> None:
        """Deletes a task with its history and logs. Raises NotFound, FailedPrecondition."""
        try:
            await self._run(calls.delete(task))
        except NotFound as error:
            if not error.may_be_done:
                raise

    async def signal(self, task: TaskRef, name: str, content: object = None) -> Task:
        """Says to a task that something has happened which it waits for, or will. The first signal
        of a name counts. Raises NotFound, FailedPrecondition (it has ended)."""
        return await self._run(calls.signal(task, name, content))

    async def ensure_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """The task type; made with these settings if it is not there, else left as it is."""
        try:
            return await self.get_type(name)
        except NotFound:
            pass
        try:
            return await self.create_type(name, **settings)
        except AlreadyExists:
            return await self.get_type(name)

    async def create_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """Makes a task type; what is left out gets the defaults. Raises AlreadyExists."""
        try:
            return await self._run(calls.create_type(name, settings))
        except AlreadyExists as error:
            if not error.may_be_done:
                raise
            return calls.made_type(name, settings, await self.get_type(name), error)

    async def get_type(self, name: str) -> task_pb2.TaskType:
        """The task type. Raises NotFound."""
        return await self._run(calls.get_type(name))

    async def update_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """Changes these settings of a task type. Raises NotFound."""
        return await self._run(calls.update_type(name, settings))

    def list_types(self) -> AsyncIterator[task_pb2.TaskType]:
        """All task types by name."""
        return self._pages(calls.list_types())

    def list_workers(self) -> AsyncIterator[broker_service_pb2.Worker]:
        """All workers that registered lately."""
        return self._pages(calls.list_workers())

    async def _run(self, call: calls.Call[T]) -> T:
        method = getattr(getattr(self.stub, call.service), call.method)
        return call.read(await method(call.request, timeout=call.timeout_s))

    async def _pages(self, pages: calls.Pages[T]) -> AsyncIterator[T]:
        page: Optional[calls.Page[T]] = pages.first()
        while page is not None:
            entries, token = await self._run(page)
            for entry in entries:
                yield entry
            page = pages.after(token)

    def _waiting(self, task: TaskRef, timeout: Optional[Span]) -> calls.Waiting[Task]:
        return calls.waiting(task, timeout, time.monotonic(), self._channel.timeout_s)

    async def _wait(self, waiting: calls.Waiting[T]) -> T:
        while True:
            try:
                value, done = await self._run(waiting.round(time.monotonic()))
            except BrokerError as error:
                waiting.failed(error, time.monotonic())
                pause_s = calls.PAUSE_S
            else:
                if waiting.is_over(done, time.monotonic()):
                    return value
                pause_s = waiting.pause_s(time.monotonic())
            await asyncio.sleep(pause_s)

    async def _resumed(self, stream: streams.Resumable[Any, Any, T]) -> AsyncIterator[T]:
        backoff = Backoff(self._channel.timeout_s)
        send = getattr(self.stub.broker, stream.method)
        while True:
            answers = send(stream.request, opened=lambda: backoff.opened(time.monotonic()))
            try:
                async for answer in answers:
                    backoff.succeeded()
                    for entry in stream.read(answer):
                        yield entry
                if not stream.is_behind:
                    return
                stream.go_on((await self.get(stream.request.task_id)).attempt)
                continue
            except BrokerError as error:
                wait = backoff.wait_after(error, time.monotonic())
            finally:
                await answers.aclose()
            stream.broke()
            await asyncio.sleep(wait)


async def _next(source: AsyncIterator[T]) -> Optional[T]:
    async for entry in source:
        return entry
    return None


async def _given_up(answering: asyncio.Future[Any]) -> None:
    answering.cancel()
    await asyncio.wait([answering])
    if not answering.cancelled():
        answering.exception()  # Nobody wants to know.


async def _taken_from(sending: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (message := await sending.get()) is not None:
        yield message
