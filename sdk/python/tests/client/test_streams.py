"""Streams over breaks of the connection and restarts of the broker; deadlines."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncflow import Client, State, TaskSpec, errors
from asyncflow.client import CreateRequest

from . import stack
from .proxy import Proxy


@pytest.fixture
def proxy(broker: stack.Server) -> Iterator[Proxy]:
    """A proxy before the broker without workers."""
    with Proxy(broker.port) as proxy:
        yield proxy


def test_watch_resumes_after_a_cut(client: Client, work: str, proxy: Proxy) -> None:
    task = client.create(work)
    with Client(proxy.address) as through:
        changes = through.watch(task)
        first = next(changes)
        assert first.task is not None and first.task.state is State.PENDING
        proxy.cut()
        client.pause(task)
        second = next(changes)
        assert second.task is not None and second.task.state is State.PAUSED
        proxy.cut()
        client.cancel(task)
        rest = [change.task.state for change in changes if change.task]
        assert rest == [State.CANCELLED]
        assert proxy.connections >= 3


def test_watch_goes_on_from_a_token_and_tells_of_the_deleted(client: Client, work: str) -> None:
    task = client.create(work)
    token = next(client.watch(task)).resume_token
    client.cancel(task)
    seen = [change.task.state for change in client.watch(task, resume_token=token) if change.task]
    assert seen == [State.CANCELLED]
    client.delete(task)
    [gone] = client.watch([task.id])
    assert gone.is_deleted and gone.task is None and gone.task_id == task.id


def test_watch_of_a_filter(client: Client, work: str) -> None:
    task = client.create(work)
    changes = client.watch(filter=f"task_type = {work}")
    assert next(changes).task_id == task.id
    other = client.create(work)
    # A state may be told twice, so the first task may come again before it.
    assert next(change for change in changes if change.task_id != task.id).task_id == other.id
    changes.close()  # type: ignore[attr-defined]


def test_logs_follow_over_a_cut_without_a_gap(dev: stack.Server) -> None:
    with Client(dev.address) as client, Proxy(dev.port) as proxy, Client(proxy.address) as through:
        client.ensure_type("script", max_retries=0)
        script = "for i in $(seq 1 30); do echo line $i; sleep 0.1; done"
        task = client.create("script", command=["sh", "-c", script])
        data = b""
        for number, chunk in enumerate(through.logs(task, follow=True)):
            data += chunk.data
            if number in (1, 4, 8):
                proxy.cut()
        assert data.decode().splitlines() == [f"line {number}" for number in range(1, 31)]
        assert proxy.connections >= 2
        tail = b"".join(chunk.data for chunk in client.logs(task, tail_lines=2))
        assert tail == b"line 29\nline 30\n"


def test_stream_creates_each_task_once_over_cuts(client: Client, work: str, proxy: Proxy) -> None:
    with Client(proxy.address) as through:
        specs = (TaskSpec(work, number) for number in range(5000))
        created = []
        for number, one in enumerate(through.stream(specs, batch_size=50)):
            assert one.error is None
            created.append(one.task_id)
            if number in (100, 1700, 3900):
                proxy.cut()
        assert len(set(created)) == len(created) == 5000 == client.count(work).total
        assert client.get(created[4321]).payload == 4321
        assert proxy.connections >= 2


def test_stream_takes_the_good_ones(client: Client, work: str) -> None:
    specs = [TaskSpec(work), TaskSpec(work, priority=9999), TaskSpec("never_made"), TaskSpec(work)]
    results = list(client.stream(specs))
    assert [bool(one.task_id) for one in results] == [True, False, False, True]
    assert isinstance(results[1].error, errors.InvalidArgument)
    assert [one.field for one in results[1].error.violations] == ["task.priority"]
    assert isinstance(results[2].error, errors.NotFound)


def test_stream_reads_no_further_than_it_sends(client: Client, work: str) -> None:
    read = itertools.count()

    def specs() -> Iterator[TaskSpec]:
        while True:
            yield TaskSpec(work, next(read))

    results = client.stream(specs(), batch_size=10, batches_in_flight=3)
    for _ in range(25):
        assert next(results).task_id
    assert next(read) <= 60
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_what_is_streamed_comes_out(client: Client, work: str) -> None:
    def specs() -> Iterator[TaskSpec]:
        yield TaskSpec(work)
        raise errors.broker_error(errors.Refusal("UNAVAILABLE", "from the source"))

    with pytest.raises(errors.Unavailable, match="from the source"):
        list(client.stream(specs()))


def test_stream_with_the_callers_request_ids(client: Client, work: str) -> None:
    requests = [
        CreateRequest(task=TaskSpec(work).to_proto(), request_id=f"{work}-{n}") for n in range(3)
    ]
    first, second = list(client.stream(requests)), list(client.stream(requests))
    assert [one.task_id for one in first] == [one.task_id for one in second]
    assert [one.deduplicated for one in second] == [True] * 3
    assert [one.request_id for one in second] == [one.request_id for one in requests]


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[stack.Server]:
    """A broker that the test may stop."""
    with stack.broker(tmp_path) as server:
        yield server


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_calls_and_watches_outlive_a_restart(own_broker: stack.Server, sign: int) -> None:
    with Client(own_broker.address) as client:
        client.create_type("work")
        task = client.create("work")
        seen: list[State] = []

        def watch() -> None:
            seen.extend(change.task.state for change in client.watch(task) if change.task)

        watching = threading.Thread(target=watch)
        watching.start()
        waiting = threading.Thread(target=client.wait, args=(task,))
        waiting.start()
        while not seen:
            time.sleep(0.01)
        own_broker.stop(sign)
        restart = threading.Timer(1, own_broker.start)
        restart.start()
        # It goes on by itself when the broker is there again.
        assert client.cancel(task).state is State.CANCELLED
        restart.join()
        for thread in (watching, waiting):
            thread.join(timeout=20)
            assert not thread.is_alive()
        assert seen[0] is State.PENDING and seen[-1] is State.CANCELLED


def test_creates_during_a_restart_make_each_task_once(own_broker: stack.Server) -> None:
    with Client(own_broker.address) as client:
        client.create_type("work")
        created: list[str] = []
        stop = threading.Event()

        def create() -> None:
            while not stop.is_set():
                created.append(client.create("work").id)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            grown = len(created) + 20
            own_broker.stop(signal.SIGKILL)
            own_broker.start()
            while len(created) < grown:
                time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join(timeout=20)
        assert client.count("work").total == len(set(created)) == len(created)


def test_nobody_there_is_told_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    address = f"http://127.0.0.1:{stack.free_port()}"
    begin = time.monotonic()
    with Client(address, timeout=1.5) as client, pytest.raises(errors.Unavailable) as caught:
        client.count()
    assert 0.5 < time.monotonic() - begin < 3
    for part in (address, "refused", "asyncflow dev", "ASYNCFLOW_BROKER"):
        assert part in str(caught.value)
    assert "trying again" in caplog.text


def test_a_deadline_ends_a_call_that_hangs(client: Client, work: str) -> None:
    from asyncflow.v1.broker_service_pb2 import WaitTaskRequest

    task = client.create(work)
    begin = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        client.stub.broker.WaitTask(WaitTaskRequest(task_id=task.id), timeout=0.4)
    with pytest.raises(TimeoutError):
        client.with_options(timeout="400ms").stub.broker.WaitTask(WaitTaskRequest(task_id=task.id))
    assert 0.7 < time.monotonic() - begin < 3
    assert client.get(task).id == task.id


def test_a_client_is_used_by_many_threads(client: Client, work: str) -> None:
    ids: list[str] = []

    def create() -> None:
        ids.extend(client.create(work).id for _ in range(50))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 400 == client.count(work).total


def test_a_closed_client_stays_closed_and_ends_its_streams(client: Client, work: str) -> None:
    task = client.create(work)
    seen: list[object] = []

    def watch() -> None:
        try:
            seen.extend(client.watch(task))
        except Exception as error:
            seen.append(error)

    watching = threading.Thread(target=watch)
    watching.start()
    next(client.watch(task))
    client.close()
    client.close()
    watching.join(timeout=10)
    assert not watching.is_alive() and isinstance(seen[-1], (errors.BrokerError, RuntimeError))
    with pytest.raises(RuntimeError, match="closed"):
        client.get(task)


def test_a_quiet_watch_outlives_breaks_that_are_far_apart(
    client: Client, work: str, proxy: Proxy
) -> None:
    task = client.create(work)
    with Client(proxy.address, timeout=1) as through:
        changes = through.watch(task)
        next(changes)
        cutting = threading.Thread(target=cut_often, args=(proxy, 5, 0.5))
        cutting.start()
        canceling = threading.Timer(3, client.cancel, args=(task,))
        canceling.start()
        assert [change.task.state for change in changes if change.task][-1] is State.CANCELLED
        cutting.join()


def cut_often(proxy: Proxy, times: int, seconds: float) -> None:
    """Cuts so many times, so far apart: each longer after the one before than a reconnect takes."""
    for _ in range(times):
        time.sleep(seconds)
        proxy.cut()
