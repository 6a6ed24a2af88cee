"""Python tasks that share processes (`warm=True`): what one does must not reach another."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from asyncflow import Client, State, TaskFailed
from client import stack

from . import warm_tasks
from .host import Host, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    folder = tmp_path_factory.mktemp("server")
    with stack.everything(folder, 'worker.task_types=["nothing"]') as server:
        yield server


@pytest.fixture
def client(server: stack.Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def host(server: stack.Server, tmp_path: Path) -> Iterator[Host]:
    """With one process, so that each task comes behind the one before it."""
    host = Host(server.address, tmp_path, "--python=warm_tasks", "--set=python.pool=1")
    yield host.start()
    host.end()


def run(client: Client, task: Any, *args: Any, **kwargs: Any) -> Any:
    return task.options(client=client).submit(*args, **kwargs).result(timeout=60)


def is_there(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_process_runs_one_task_after_the_other(host: Host, client: Client) -> None:
    found = [run(client, warm_tasks.tells_where) for _ in range(3)]
    assert found == [{"pid": found[0]["pid"], "verb": "serve"}] * 3
    limited = run(client, warm_tasks.with_limit)
    assert limited["verb"] == "run", "with a limit of its own it has a process of its own"
    assert limited["pid"] != found[0]["pid"]


def test_what_a_task_changes_does_not_reach_the_next_one(host: Host, client: Client) -> None:
    for number in (1, 2):
        handle = warm_tasks.changes.options(client=client).submit()
        assert handle.result(timeout=60) == {
            "left": None,
            "id": handle.id,
            "here": True,
            "signal": True,
            "path": False,
            "seen": number,
        }


def test_each_log_has_what_its_task_wrote(host: Host, client: Client) -> None:
    handles = [
        warm_tasks.says.options(client=client).submit(word, count)
        for word, count in (("one", 1), ("many", 30_000), ("two", 1))
    ]
    for handle, word, count in zip(handles, ("one", "many", "two"), (1, 30_000, 1)):
        handle.result(timeout=60)
        text = {"stdout": b"", "stderr": b""}
        for chunk in client.logs(handle.id):
            text[chunk.stream] += chunk.data
        assert text["stdout"].decode() == f"{word}\n" * count + f"child {word}\n"
        assert text["stderr"].decode() == f"error {word}\n"


@pytest.mark.parametrize(
    ("how", "code"), [("crash", -11), ("kill", -9), ("exit", 3), ("close", -9)]
)
def test_one_that_takes_its_process_with_it_fails_alone(
    host: Host, client: Client, how: str, code: int
) -> None:
    before = run(client, warm_tasks.tells_where)
    handle = warm_tasks.dies.options(client=client).submit(how)
    after: Any = handle.result(timeout=60)
    assert after["verb"] == "serve"
    assert after["pid"] != before["pid"]
    first, second = client.attempts(handle.id)
    assert (first.outcome, first.proto.exit_code, second.outcome) == ("FAILED", code, "SUCCEEDED")
    log = b"".join(chunk.data for chunk in client.logs(handle.id, attempt=1))
    assert log.startswith(b"dies\n")


@pytest.mark.parametrize("what", ["child", "daemon", "thread"])
def test_what_a_task_leaves_behind_goes_with_its_process(
    host: Host, client: Client, what: str
) -> None:
    found = run(client, warm_tasks.leaves, what)
    assert not is_there(found["pid"])
    assert "child" not in found or not is_there(found["child"])
    assert run(client, warm_tasks.tells_where)["pid"] != found["pid"]


@pytest.mark.parametrize("asks", [True, False])
def test_a_cancelled_one_is_stopped_and_its_process_replaced(
    host: Host, client: Client, tmp_path: Path, asks: bool
) -> None:
    handle = warm_tasks.waits.options(client=client).submit(str(tmp_path), asks=asks)
    until((tmp_path / "pid").exists)
    client.cancel(handle.id)
    assert client.wait(handle.id, timeout=30).state == State.CANCELLED
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_there(pid))
    assert run(client, warm_tasks.tells_where)["verb"] == "serve"


def test_one_that_does_not_stop_is_killed(host: Host, client: Client, tmp_path: Path) -> None:
    handle = warm_tasks.stubborn.options(client=client).submit(str(tmp_path))
    until((tmp_path / "pid").exists)
    client.cancel(handle.id)
    assert client.wait(handle.id, timeout=30).state == State.CANCELLED
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_there(pid))


def test_its_time_is_limited(host: Host, client: Client) -> None:
    with pytest.raises(TaskFailed) as failed:
        run(client, warm_tasks.slow)
    assert failed.value.task.failure is not None
    assert failed.value.task.failure.reason == "TIMED_OUT"
    assert run(client, warm_tasks.tells_where)["verb"] == "serve"


def test_a_failure_is_told_and_costs_no_process(host: Host, client: Client) -> None:
    before = run(client, warm_tasks.tells_where)
    with pytest.raises(TaskFailed) as failed:
        run(client, warm_tasks.fails)
    assert failed.value.task.failure is not None
    assert failed.value.task.failure.message == "bad data"
    assert run(client, warm_tasks.tells_where) == before


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGUSR1])
def test_it_ends_with_its_worker(
    host: Host, client: Client, tmp_path: Path, sign: signal.Signals
) -> None:
    idle: Optional[int] = run(client, warm_tasks.tells_where)["pid"]
    handle = warm_tasks.waits.options(client=client).submit(str(tmp_path), asks=False)
    until((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    assert pid == idle
    host.stop(sign)
    until(lambda: not is_there(pid))
    (tmp_path / "go").touch()
    host.start()
    assert handle.result(timeout=60) == {"attempt": 2}
    assert client.get(handle.id).proto.failures == 0, "it was no fault of the task"


def test_a_process_is_replaced_after_so_many_tasks(
    server: stack.Server, client: Client, tmp_path: Path
) -> None:
    words = ["--python=warm_tasks", "--set=python.pool=1", "--set=python.tasks_per_process=2"]
    host = Host(server.address, tmp_path, *words).start()
    try:
        pids = [run(client, warm_tasks.tells_where)["pid"] for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        assert not is_there(pids[0])
    finally:
        host.end()


def test_there_are_as_many_as_may_be(
    server: stack.Server, client: Client, tmp_path: Path
) -> None:
    host = Host(server.address, tmp_path, "--python=warm_tasks", "--set=python.pool=2").start()
    try:
        task = warm_tasks.tells_where.options(client=client)
        handles = [task.submit() for _ in range(40)]
        found: list[Any] = [handle.result(timeout=60) for handle in handles]
        assert {one["verb"] for one in found} == {"serve"}
        assert len({one["pid"] for one in found}) <= 2
        pid = found[-1]["pid"]
        os.kill(pid, signal.SIGKILL)
        assert run(client, warm_tasks.tells_where)["pid"] != pid, "one that died idle is not used"
    finally:
        host.end()
