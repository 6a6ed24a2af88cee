"""The client for ordinary programs. It is thin: what is asked and read is in `calls` and `streams`,
which `aio` shares."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, List, Optional, TypeVar, Union

from asyncflow.client import calls, streams
from asyncflow.client.calls import Counts
from asyncflow.client.channel import Connection, RetryingChannel, open_channel
from asyncflow.client.retry import Backoff
from asyncflow.client.settings import StrPath, resolve
from asyncflow.client.spec import SpecLike, TaskRef, TaskSpec
from asyncflow.client.streams import Created
from asyncflow.client.stubs import Stubs
from asyncflow.client.task import Attempt, Change, Explanation, LogChunk, State, Task
from asyncflow.client.values import Span, span
from asyncflow.errors import AlreadyExists, BrokerError, NotFound
from asyncflow.v1 import broker_service_pb2, task_pb2

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from asyncflow.client.spec import TaskChanges, TaskOptions, TypeSettings

T = TypeVar("T")


class Client:
    """A connection to a broker. It may be used by several threads; it is made at the first call,
    and again after a break. Used in a `with` statement, or until `close`.

    Every method raises `BrokerError` or one of its subclasses when the broker refuses the call or
    does not answer, and `ValueError` or `TypeError` for what cannot be sent.
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
        """Prepares the connection.

        Args:
            address: `http://host:port`, or `https://host:port` for TLS. Default: ASYNCFLOW_BROKER,
                else `broker` in `~/.config/asyncflow/config.toml`, else http://127.0.0.1:7070.
            token: Who the caller is. Default: ASYNCFLOW_TOKEN, else the token file.
            token_file: A file that holds the token. Default: ASYNCFLOW_TOKEN_FILE.
            ca_file: PEM file of the authority that signed the broker's certificate. Default:
                ASYNCFLOW_CA_FILE, else the well-known authorities.
            timeout: How long a call may take, with all its repetitions; and how long a stream that
                broke is tried to be opened again.

        Raises:
            ConfigError: One of these is unusable; it says which and where it came from.
        """
        settings = resolve(address, token, token_file, ca_file)
        settings.root_certificates()
        self._use(
            RetryingChannel(Connection(settings, open_channel), span(timeout).total_seconds())
        )

    def _use(self, channel: RetryingChannel) -> None:
        self._channel = channel
        self.stub = Stubs(channel)
        """The generated services, for what there is no method for."""

    def with_options(self, *, timeout: Span) -> Self:
        """The same client on the same connection with another timeout."""
        copy = type(self).__new__(type(self))
        copy._use(RetryingChannel(self._channel.connection, span(timeout).total_seconds()))
        return copy

    @property
    def address(self) -> str:
        """Where the broker is."""
        return self._channel.connection.settings.address

    def close(self) -> None:
        """Closes the connection, for good: streams that are open end with an error."""
        channel = self._channel.connection.taken()
        if channel is not None:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def create(
        self,
        task_type: Union[str, SpecLike],
        payload: object = None,
        *,
        request_id: Optional[str] = None,
        validate_only: bool = False,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Creates a task, e.g. `client.create("train", {"lr": 3e-4}, gpus=1, max_retries=3)`.

        Args:
            task_type: Its type, or a whole `TaskSpec`.
            payload: What a handler gets to work on: anything that JSON can hold, or bytes.
            request_id: The same request with the same id gives the same task, however often it is
                made. Default: a random one, so that repetitions inside are safe.
            validate_only: Only check; the task of the answer has no id.
            options: As the fields of `TaskSpec`, e.g. `command`, `name`, `labels`, `priority`.

        Raises:
            InvalidArgument: `violations` says all that is wrong with it.
            NotFound: There is no such task type; see `ensure_type`.
            AlreadyExists: The request id was used for another request.
        """
        spec = TaskSpec(task_type, payload, **options) if isinstance(task_type, str) else task_type
        return self._run(calls.create(spec, request_id, validate_only))

    def create_many(self, tasks: Iterable[Union[SpecLike, calls.CreateRequest]]) -> List[Task]:
        """Creates up to 1,000 tasks in one call, all or none. Raises as `create`; the fields of
        violations begin with `requests[i].`."""
        return self._run(calls.create_many(tasks))

    def stream(
        self,
        tasks: Iterable[Union[SpecLike, calls.CreateRequest]],
        *,
        batch_size: int = 200,
        batches_in_flight: int = 8,
    ) -> Iterator[Created]:
        """Creates any number of tasks, and says of each what became of it, in their order.

        `tasks` is read as fast as the broker writes, and as the answers are taken: at most
        `batch_size` times `batches_in_flight` tasks are on their way. A task that cannot be created
        is said so in its place and harms no other. After a break what was not answered is sent
        again with the same request ids.

        A batch goes out when it has `batch_size` tasks or 2 MiB, or when a task comes 0.2 seconds
        after its first. Where the source itself waits for long, `batch_size=1` sends each task as
        it comes, and with `batches_in_flight=1` its answer is given before the next one is taken.
        """
        batches = iter(calls.batches(tasks, batch_size))
        window, backoff = streams.Window(batches_in_flight), Backoff(self._channel.timeout_s)
        sending: queue.SimpleQueue[Any] = queue.SimpleQueue()
        answers: Optional[Iterator[Any]] = None
        try:
            while True:
                while window.has_room:
                    batch = next(batches, None)
                    if batch is None:
                        break
                    sending.put(window.add(batch))
                    # Now, not when the window is full: its source may be slow.
                    answers = answers or self._open_stream(sending)
                if window.is_empty:
                    return
                try:
                    answers = answers or self._open_stream(sending)
                    answer = next(answers)
                except StopIteration:
                    told = streams.ended_early()
                except BrokerError as error:
                    told = error
                else:
                    backoff.succeeded()
                    yield from window.read(answer)
                    continue
                wait = backoff.wait_after(told, time.monotonic())
                sending.put(None)
                sending, answers = queue.SimpleQueue(), None
                for request in window.unanswered:
                    sending.put(request)
                self._channel.pause(wait)
        finally:
            # Ends gRPC's thread that takes from it.
            sending.put(None)
            if answers is not None:
                answers.close()  # type: ignore[attr-defined]

    def _open_stream(self, sending: queue.SimpleQueue[Any]) -> Iterator[Any]:
        answers: Iterator[Any] = self.stub.broker.StreamCreateTasks(iter(sending.get, None))
        return answers

    def get(self, task: TaskRef) -> Task:
        """The task with everything. Raises NotFound."""
        return self._run(calls.get(task))

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
    ) -> Iterator[Task]:
        """All tasks that match, newest first; pages are fetched as they are needed.

        Args:
            filter: In the broker's language, joined with the others by AND.
            full: With payload, command, context and result.
            page_size: Tasks of one call, at most 1,000; 0 = 200.
        """
        text = calls.filter_of(
            filter, task_type, state, user, labels, created_after, created_before
        )
        return self._pages(calls.list_tasks(text, full, page_size))

    def count(
        self,
        task_type: Optional[str] = None,
        *,
        user: Optional[str] = None,
        states: Union[State, Iterable[State]] = (),
    ) -> Counts:
        """How many tasks there are, by state and type."""
        return self._run(calls.count(task_type, user, states))

    def wait(self, task: TaskRef, timeout: Optional[Span] = None) -> Task:
        """Waits until the task has ended, for `timeout` at most, and gives it as it is then: look
        at `done` and `state`. None = as long as it takes. Raises NotFound."""
        return self._wait(self._waiting(task, timeout))

    def result(self, task: TaskRef, timeout: Optional[Span] = None) -> Any:
        """Waits until the task has ended and gives its result: what JSON holds, or bytes.

        Raises:
            TaskFailed: It has failed for good; `task.failure` says why.
            TaskCancelled: It was cancelled.
            ResultExpired: Its result is not kept any more.
            TimeoutError: It has not ended in time.
        """
        waiting = self._waiting(task, timeout)
        return calls.result_of(self._wait(waiting), waiting.timeout_s)

    def watch(
        self,
        tasks: Union[TaskRef, Iterable[TaskRef]] = (),
        *,
        filter: str = "",
        until_done: bool = True,
        resume_token: Optional[str] = None,
    ) -> Iterator[Change]:
        """The tasks as they are now, then at every change. States that follow each other quickly
        may be left out, the last one never is. It goes on by itself after a break.

        Args:
            tasks: These tasks, at most 1,000.
            filter: Instead of tasks: those that match and have not ended; see `list`.
            until_done: End when all `tasks` have ended.
            resume_token: Go on from a change that was seen before.
        """
        watch = calls.watch(tasks, filter, until_done and not filter, resume_token)
        return self._resumed(watch)

    def logs(
        self,
        task: TaskRef,
        *,
        follow: bool = False,
        attempt: int = 0,
        tail_lines: Optional[int] = None,
    ) -> Iterator[LogChunk]:
        """What the task wrote. It goes on by itself after a break; nothing is given out twice.

        Args:
            follow: Go on as it writes, into later attempts too, until it has ended.
            attempt: Of this attempt; 0 = of the one in force or the last one.
            tail_lines: Begin with so many of the last lines; None = from the beginning.
        """
        return self._resumed(calls.logs(task, follow, attempt, tail_lines))

    def attempts(self, task: TaskRef) -> List[Attempt]:
        """All attempts to run it, oldest first. Raises NotFound."""
        return [*self._pages(calls.attempts(task))]

    def explain(self, task: TaskRef) -> Explanation:
        """Why the task is where it is. Raises NotFound."""
        return self._run(calls.explain(task))

    def update(
        self, task: TaskRef, *, etag: Optional[str] = None, **changes: Unpack[TaskChanges]
    ) -> Task:
        """Changes a task that has not ended; None takes a time limit away. Raises NotFound,
        FailedPrecondition (it has ended), Aborted (`etag` is given and is not its etag; if then
        `error.may_be_done`, it may be this change itself that has changed it)."""
        return self._run(calls.update(task, etag, changes))

    def cancel(self, task: TaskRef, reason: str = "") -> Task:
        """Cancels a task; one that runs is CANCELLING until its worker has stopped it. Raises
        NotFound, FailedPrecondition (it has ended otherwise)."""
        return self._run(calls.cancel(task, reason))

    def retry(self, task: TaskRef, *, from_start: bool = False) -> Task:
        """Opens a new run of a task that has ended; `from_start` forgets stage and context. Raises
        NotFound, FailedPrecondition (it has not ended)."""
        return self._run(calls.retry(task, from_start))

    def pause(self, task: TaskRef) -> Task:
        """Takes a waiting task out of the queue. Raises NotFound, FailedPrecondition."""
        return self._run(calls.pause(task))

    def resume(self, task: TaskRef) -> Task:
        """Puts a paused task back. Raises NotFound, FailedPrecondition."""
        return self._run(calls.resume(task))

    def delete(self, task: TaskRef) -> None:
        """Deletes a task with its history and logs. Raises NotFound, FailedPrecondition."""
        try:
            self._run(calls.delete(task))
        except NotFound as error:
            if not error.may_be_done:
                raise

    def signal(self, task: TaskRef, name: str, content: object = None) -> Task:
        """Says to a task that something has happened which it waits for, or will. The first signal
        of a name counts. Raises NotFound, FailedPrecondition (it has ended)."""
        return self._run(calls.signal(task, name, content))

    def ensure_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """The task type; made with these settings if it is not there, else left as it is."""
        try:
            return self.get_type(name)
        except NotFound:
            pass
        try:
            return self.create_type(name, **settings)
        except AlreadyExists:
            return self.get_type(name)

    def create_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """Makes a task type; what is left out gets the defaults. Raises AlreadyExists."""
        try:
            return self._run(calls.create_type(name, settings))
        except AlreadyExists as error:
            if not error.may_be_done:
                raise
            return calls.made_type(name, settings, self.get_type(name), error)

    def get_type(self, name: str) -> task_pb2.TaskType:
        """The task type. Raises NotFound."""
        return self._run(calls.get_type(name))

    def update_type(self, name: str, **settings: Unpack[TypeSettings]) -> task_pb2.TaskType:
        """Changes these settings of a task type. Raises NotFound."""
        return self._run(calls.update_type(name, settings))

    def list_types(self) -> Iterator[task_pb2.TaskType]:
        """All task types by name."""
        return self._pages(calls.list_types())

    def list_workers(self) -> Iterator[broker_service_pb2.Worker]:
        """All workers that registered lately."""
        return self._pages(calls.list_workers())

    def _run(self, call: calls.Call[T]) -> T:
        method = getattr(getattr(self.stub, call.service), call.method)
        return call.read(method(call.request, timeout=call.timeout_s))

    def _pages(self, pages: calls.Pages[T]) -> Iterator[T]:
        page: Optional[calls.Page[T]] = pages.first()
        while page is not None:
            entries, token = self._run(page)
            yield from entries
            page = pages.after(token)

    def _waiting(self, task: TaskRef, timeout: Optional[Span]) -> calls.Waiting[Task]:
        return calls.waiting(task, timeout, time.monotonic(), self._channel.timeout_s)

    def _wait(self, waiting: calls.Waiting[T]) -> T:
        while True:
            try:
                value, done = self._run(waiting.round(time.monotonic()))
            except BrokerError as error:
                waiting.failed(error, time.monotonic())
                pause_s = calls.PAUSE_S
            else:
                if waiting.is_over(done, time.monotonic()):
                    return value
                pause_s = waiting.pause_s(time.monotonic())
            self._channel.pause(pause_s)

    def _resumed(self, stream: streams.Resumable[Any, Any, T]) -> Iterator[T]:
        backoff = Backoff(self._channel.timeout_s)
        send = getattr(self.stub.broker, stream.method)
        while True:
            try:
                answers = send(stream.request, opened=lambda: backoff.opened(time.monotonic()))
                with closing(answers):
                    for answer in answers:
                        backoff.succeeded()
                        yield from stream.read(answer)
                if not stream.is_behind:
                    return
                stream.go_on(self.get(stream.request.task_id).attempt)
                continue
            except BrokerError as error:
                wait = backoff.wait_after(error, time.monotonic())
            stream.broke()
            self._channel.pause(wait)
