"""Answers that are lost on the way, brokers that answer strangely, and sources that are slow."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from asyncflow import AsyncClient, Client, State, TaskSpec, errors
from asyncflow.client import calls
from asyncflow.v1 import broker_service_pb2 as pb
from asyncflow.v1 import task_pb2

from . import stack
from .fake_broker import FakeBroker, answers_lost_first
from .proxy import Proxy
from .test_aio import run

PENDING = task_pb2.Task(id="t", state=task_pb2.TASK_STATE_PENDING)
ENDED = task_pb2.Task(id="t", state=task_pb2.TASK_STATE_SUCCEEDED)


def test_what_a_lost_answer_has_done_is_no_error() -> None:
    kept = task_pb2.TaskType(name="work", description="as asked", max_context_bytes=8192)
    with (
        FakeBroker(
            DeleteTask=answers_lost_first(grpc.StatusCode.NOT_FOUND),
            CreateTaskType=answers_lost_first(grpc.StatusCode.ALREADY_EXISTS),
            GetTaskType=lambda _request, _context: pb.GetTaskTypeResponse(task_type=kept),
            UpdateTask=answers_lost_first(grpc.StatusCode.ABORTED),
        ) as broker,
        Client(broker.address) as client,
    ):
        client.delete("t")
        with pytest.raises(errors.NotFound) as gone:
            client.delete("t")
        assert not gone.value.may_be_done
        assert client.create_type("work", description="as asked").name == "work"
        with pytest.raises(errors.Aborted) as changed:
            client.update("t", etag="1", name="new")
        assert changed.value.may_be_done


def test_a_type_of_somebody_else_is_an_error() -> None:
    kept = task_pb2.TaskType(name="work", description="of somebody else")

    async def story(client: AsyncClient) -> None:
        with pytest.raises(errors.AlreadyExists):
            await client.create_type("work", description="as asked")
        await client.delete("t")

    with FakeBroker(
        CreateTaskType=answers_lost_first(grpc.StatusCode.ALREADY_EXISTS),
        GetTaskType=lambda _request, _context: pb.GetTaskTypeResponse(task_type=kept),
        DeleteTask=answers_lost_first(grpc.StatusCode.NOT_FOUND),
    ) as broker:
        run(broker.address, story)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_wait_outlives_rounds_that_fail_or_end_early(
    monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    monkeypatch.setattr(calls, "ROUND_S", 0.2)
    monkeypatch.setattr(calls, "SLACK_S", 0.2)
    rounds: list[float] = []

    def wait(_request: Any, context: Any) -> pb.WaitTaskResponse:
        rounds.append(time.monotonic())
        if len(rounds) == 1:
            time.sleep(1)  # Beyond the deadline.
        if len(rounds) == 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        done = len(rounds) >= 6
        return pb.WaitTaskResponse(task=ENDED if done else PENDING, done=done)

    async def story(client: AsyncClient) -> None:
        assert (await client.wait("t")).state is State.SUCCEEDED

    with FakeBroker(WaitTask=wait) as broker:
        if is_async:
            run(broker.address, story)
        else:
            with Client(broker.address) as client:
                assert client.wait("t", timeout="25s").state is State.SUCCEEDED
    assert len(rounds) == 6
    assert rounds[5] - rounds[4] > 0.15, "a broker that answers at once is not asked all the time"


def test_a_wait_gives_up_a_broker_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ROUND_S", 0.2)
    monkeypatch.setattr(calls, "SLACK_S", 0.2)
    address = f"http://127.0.0.1:{stack.free_port()}"
    with Client(address, timeout=0.5) as client, pytest.raises(errors.Unavailable):
        client.wait("t")


def test_a_wait_with_a_timeout_outlives_a_restart(tmp_path: Path) -> None:
    with stack.broker(tmp_path) as broker, Client(broker.address) as client:
        client.create_type("work")
        task = client.create("work")
        ended: list[State] = []
        waiting = threading.Thread(
            target=lambda: ended.append(client.wait(task, timeout="25s").state)
        )
        waiting.start()
        broker.stop(signal.SIGTERM)
        broker.start()
        client.cancel(task)
        waiting.join()
        assert ended == [State.CANCELLED]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_watch_gives_up_what_opens_each_stream_and_ends_it(is_async: bool) -> None:
    def watch(_request: Any, context: Any) -> Iterator[Any]:
        context.send_initial_metadata(())
        time.sleep(0.01)
        context.abort(grpc.StatusCode.UNAVAILABLE, "nobody behind me")
        yield

    async def story(client: AsyncClient) -> None:
        with pytest.raises(errors.Unavailable):
            async for _ in client.with_options(timeout=1).watch("t"):
                pass

    with FakeBroker(WatchTasks=watch) as broker:
        if is_async:
            run(broker.address, story)
        else:
            with Client(broker.address, timeout=1) as client:
                with pytest.raises(errors.Unavailable):
                    list(client.watch("t"))


def test_a_batch_is_closed_by_its_bytes_and_its_age() -> None:
    large = [TaskSpec("work", b"x" * 900_000) for _ in range(5)]
    assert [len(batch) for batch in calls.batches(large, 200)] == [2, 2, 1]
    clock = [0.0]
    batch = calls.Batch(200, lambda: clock[0])
    sent: list[int] = []
    for at in (0.0, 0.1, 0.3, 0.4):
        clock[0] = at
        sent += [len(requests) for requests in batch.add(TaskSpec("work"))]
    assert sent == [3]
    assert [len(requests) for requests in batch.rest()] == [1]


def test_a_slow_source_is_sent_one_by_one(client: Client, work: str) -> None:
    def specs() -> Iterator[TaskSpec]:
        for number in range(3):
            yield TaskSpec(work, number)
            wait_for_tasks(client, work, number + 1)

    assert len(list(client.stream(specs(), batch_size=1))) == 3


def wait_for_tasks(client: Client, work: str, count: int) -> None:
    """Until there are so many."""
    deadline = time.monotonic() + 20
    while client.count(work).total < count:
        assert time.monotonic() < deadline, "what the source gave was not sent"
        time.sleep(0.01)


def test_slow_sources_and_breaks_with_asyncio(
    broker: stack.Server, client: Client, work: str
) -> None:
    async def story(through: AsyncClient) -> None:
        async def slow() -> AsyncIterator[TaskSpec]:
            for number in range(3):
                yield TaskSpec(work, number)
                await asyncio.to_thread(wait_for_tasks, client, work, number + 1)

        assert len([one async for one in through.stream(slow(), batch_size=1)]) == 3
        before = len(asyncio.all_tasks())
        seen = 0
        specs = [TaskSpec(work, number) for number in range(400)]
        async for one in through.stream(specs, batch_size=10):
            assert one.error is None
            seen += 1
            if seen in (50, 150, 250):
                proxy.cut()
        for _ in range(200):
            if len(asyncio.all_tasks()) <= before:
                break
            await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) <= before, "each break has left a task behind"

        async def endless() -> AsyncIterator[TaskSpec]:
            while True:
                yield TaskSpec(work)

        left = through.stream(endless(), batch_size=10)
        async for _ in left:
            break
        await left.aclose()  # type: ignore[attr-defined]

    with Proxy(broker.port) as proxy:
        run(proxy.address, story)


def test_logs_after_a_break_have_the_rest_of_the_attempt_that_has_ended(
    dev: stack.Server, tmp_path: Path
) -> None:
    go = f"{tmp_path}/go"
    script = f"echo one; while [ ! -e {go}$ASYNCFLOW_ATTEMPT ]; do sleep 0.05; done; echo two"
    with Client(dev.address) as client, Proxy(dev.port) as proxy, Client(proxy.address) as through:
        client.ensure_type("script", max_retries=0)
        task = client.create(
            "script",
            command=["sh", "-c", f"{script}; exit 1"],
            max_retries=1,
            retry_interval="100ms",
        )
        chunks = through.logs(task, follow=True)
        data = next(chunks).data
        proxy.cut()
        (tmp_path / "go1").touch()
        while client.get(task).attempt < 2:
            time.sleep(0.02)
        (tmp_path / "go2").touch()
        data += b"".join(chunk.data for chunk in chunks)
    assert data == b"one\ntwo\none\ntwo\n"
