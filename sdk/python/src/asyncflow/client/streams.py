"""Streams that go on after a break: what to ask for next, and what of an answer is new. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Optional, TypeVar

from google.protobuf.message import Message

from asyncflow.client import status
from asyncflow.client.retry import identified
from asyncflow.client.task import Change, LogChunk
from asyncflow.errors import BrokerError
from asyncflow.v1 import broker_service_pb2 as pb

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
T = TypeVar("T")


class Resumable(Generic[Q, A, T]):
    """A stream of answers to one request."""

    method: str

    def __init__(self, request: Q) -> None:
        self.request = request

    def read(self, answer: A) -> Iterable[T]:
        """What is new in this answer."""
        raise NotImplementedError

    def broke(self) -> None:
        """Makes the request ask for what has not come yet."""

    @property
    def is_behind(self) -> bool:
        """Whether more is to be asked for when the stream has ended; see `go_on`."""
        return False

    def go_on(self, newest_attempt: int) -> None:
        """Makes the request ask for what comes behind it."""


class Watch(Resumable[pb.WatchTasksRequest, pb.WatchTasksResponse, Change]):
    """Goes on from the last resume token. Keep-alives are left out."""

    method = "WatchTasks"

    def read(self, answer: pb.WatchTasksResponse) -> Iterable[Change]:
        """The change, unless it is a keep-alive."""
        if answer.resume_token:
            self.request.resume_token = answer.resume_token
        if answer.HasField("task") or answer.deleted_task_id:
            yield Change(answer)


class Logs(Resumable[pb.StreamTaskLogsRequest, pb.StreamTaskLogsResponse, LogChunk]):
    """Gives nothing out twice: what was seen is skipped by attempt and position.

    And leaves nothing out: meanwhile a later attempt may have begun, and a broker that is asked to
    follow the newest one does not give the rest of those before it. So after a break they are asked
    for one by one.
    """

    method = "StreamTaskLogs"

    def __init__(self, request: pb.StreamTaskLogsRequest) -> None:
        super().__init__(request)
        self._seen = (0, 0)
        self._follows_all = request.follow and request.attempt == 0

    def read(self, answer: pb.StreamTaskLogsResponse) -> Iterable[LogChunk]:
        """The part of it that was not given out before."""
        end = answer.offset + len(answer.data)
        if (answer.attempt, end) <= self._seen:
            return
        attempt, position = self._seen
        if answer.attempt == attempt and answer.offset < position:
            answer.data = answer.data[position - answer.offset :]
            answer.offset = position
        self._seen = (answer.attempt, end)
        yield LogChunk(answer)

    def broke(self) -> None:
        """The tail has moved on; what was seen is skipped by position instead."""
        if self._seen != (0, 0):
            self.request.ClearField("tail_lines")
            if self._follows_all:
                self.request.attempt = max(self._seen[0], self.request.attempt)

    @property
    def is_behind(self) -> bool:
        """Whether the attempt that has ended may not be the last one."""
        return self._follows_all and self.request.attempt > 0

    def go_on(self, newest_attempt: int) -> None:
        """The attempt behind it, or the newest one if that is all there is."""
        ended = self.request.attempt
        self.request.attempt = ended + 1 if newest_attempt > ended else 0


@dataclass(frozen=True)
class Created:
    """What became of one task of a stream."""

    request_id: str
    """The request id that it was sent with."""
    task_id: str
    """The task; empty when it was not created."""
    deduplicated: bool
    """An earlier request with this request id had created it."""
    error: Optional[BrokerError]
    """Why it was not created; None when it was."""


class Window:
    """Batches of a stream of creates that are on their way: so many at most, in their order, and
    sent again with the same request ids after a break."""

    def __init__(self, batches_max: int) -> None:
        self._batches_max = batches_max
        self._unanswered: deque[pb.StreamCreateTasksRequest] = deque()

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent now."""
        return len(self._unanswered) < self._batches_max

    @property
    def is_empty(self) -> bool:
        """Whether everything was answered."""
        return not self._unanswered

    @property
    def unanswered(self) -> Sequence[pb.StreamCreateTasksRequest]:
        """What to send again after a break."""
        return tuple(self._unanswered)

    def add(self, requests: Iterable[pb.CreateTaskRequest]) -> pb.StreamCreateTasksRequest:
        """Takes a batch in; the answer is what to send."""
        batch = identified(pb.StreamCreateTasksRequest(requests=requests))
        self._unanswered.append(batch)
        return batch

    def read(self, answer: pb.StreamCreateTasksResponse) -> Iterator[Created]:
        """What became of the oldest batch. Errors: BrokerError when the answer does not fit it."""
        batch = self._unanswered.popleft() if self._unanswered else pb.StreamCreateTasksRequest()
        if len(batch.requests) != len(answer.results):
            raise status.broken(
                f"{len(batch.requests)} tasks were sent and {len(answer.results)} answered"
            )
        return (
            Created(
                request_id=request.request_id,
                task_id=result.task_id,
                deduplicated=result.deduplicated,
                error=status.of_task(result.error) if result.HasField("error") else None,
            )
            for request, result in zip(batch.requests, answer.results)
        )


def ended_early() -> BrokerError:
    """A stream of creates that the broker ended before all was answered; it may be opened again."""
    return status.broken_off("the broker ended the stream before all was answered")
