"""The client for asyncio: it is the client's twin, and its own parts work."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable

import pytest

from asyncflow import AsyncClient, Client, State, TaskSpec, errors

from . import stack
from .proxy import Proxy


def run(address: str, story: Callable[[AsyncClient], Awaitable[None]]) -> None:
    """Plays a story with a client of its own."""

    async def main() -> None:
        async with AsyncClient(address) as client:
            await story(client)

    asyncio.run(main())


def public(kind: type) -> dict[str, Any]:
    """The methods of a client."""
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    ours, theirs = public(AsyncClient), public(Client)
    assert ours.keys() == theirs.keys()
    for name, method in theirs.items():
        if callable(method) and name != "stream":
            other = inspect.signature(ours[name])
            assert list(other.parameters.values()) == list(
                inspect.signature(method).parameters.values()
            ), name


def test_calls(broker: stack.Server, work: str) -> None:
    async def story(client: AsyncClient) -> None:
        tasks = await asyncio.gather(*(client.create(work, {"n": n}) for n in range(50)))
        assert len({task.id for task in tasks}) == 50
        assert (await client.get(tasks[7])).payload == {"n": 7}
        assert (await client.count(work)).total == 50
        listed = [task.id async for task in client.list(task_type=work, page_size=20)]
        assert len(listed) == 50
        assert len(await client.create_many(TaskSpec(work) for _ in range(10))) == 10
        task = await client.update(tasks[0], name="new")
        assert task.name == "new"
        assert (await client.pause(task)).state is State.PAUSED
        assert (await client.resume(task)).state is State.PENDING
        assert (await client.wait(task, timeout=0.1)).state is State.PENDING
        assert await client.attempts(task) == []
        assert str(await client.explain(task))
        assert (await client.cancel(task)).done
        with pytest.raises(errors.TaskCancelled):
            await client.result(task)
        assert (await client.retry(task)).run == 1
        await client.signal(task, "go")
        await client.cancel(task)
        await client.delete(task)
        with pytest.raises(errors.NotFound):
            await client.get(task)
        with pytest.raises(errors.InvalidArgument):
            await client.create(work, priority=9999)
        assert (await client.ensure_type(work)).name == work
        assert work in [one.name async for one in client.list_types()]

    run(broker.address, story)


def test_a_wait_can_be_cancelled(broker: stack.Server, work: str) -> None:
    async def story(client: AsyncClient) -> None:
        task = await client.create(work)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.wait(task), 0.2)
        waiting = asyncio.create_task(client.wait(task))
        await asyncio.sleep(0.1)
        await client.cancel(task)
        assert (await asyncio.wait_for(waiting, 10)).state is State.CANCELLED

    run(broker.address, story)


def test_watch_and_stream_over_cuts(broker: stack.Server, client: Client, work: str) -> None:
    async def story(through: AsyncClient) -> None:
        task = client.create(work)
        states = []
        async for change in through.watch(task):
            assert change.task is not None
            states.append(change.task.state)
            proxy.cut()
            if len(states) == 1:
                client.pause(task)
            elif len(states) == 2:
                client.cancel(task)
        assert states == [State.PENDING, State.PAUSED, State.CANCELLED]

        async def specs() -> AsyncIterator[TaskSpec]:
            for number in range(2000):
                yield TaskSpec(work, number)

        created = []
        async for one in through.stream(specs(), batch_size=50):
            assert one.error is None
            created.append(one.task_id)
            if len(created) in (200, 900):
                proxy.cut()
        assert len(set(created)) == len(created) == 2000 == client.count(work).total - 1
        results = [one async for one in through.stream([TaskSpec(work), TaskSpec("never_made")])]
        assert isinstance(results[1].error, errors.NotFound)

    with Proxy(broker.port) as proxy:
        run(proxy.address, story)


def test_logs_and_results(dev: stack.Server) -> None:
    async def story(client: AsyncClient) -> None:
        await client.ensure_type("script", max_retries=0)
        task = await client.create("script", command=["sh", "-c", "echo a; sleep 1; echo b"])
        data = b"".join([chunk.data async for chunk in client.logs(task, follow=True)])
        assert data == b"a\nb\n"
        assert await client.result(task, timeout="30s") is None

    run(dev.address, story)


def test_nobody_there() -> None:
    async def story(client: AsyncClient) -> None:
        with pytest.raises(errors.Unavailable, match="asyncflow dev"):
            await client.with_options(timeout=0.5).count()

    run(f"http://127.0.0.1:{stack.free_port()}", story)
