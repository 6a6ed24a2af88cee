"""Tasks that use the task half, run by a real worker: over its socket, through kills."""

from __future__ import annotations

import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from asyncflow import Client, State, TaskFailed
from asyncflow.client import Task
from client import stack

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "src"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    folder = tmp_path_factory.mktemp("dev")
    with stack.everything(folder, "worker.slots=4") as server:
        yield server


@pytest.fixture
def client(dev: stack.Server) -> Iterator[Client]:
    with Client(dev.address) as client:
        client.ensure_type("part")
        yield client


def create(client: Client, how: str, folder: Path, **environment: str) -> Task:
    """A task of a fresh type that runs real_tasks.py."""
    name = f"real_{uuid.uuid4().hex[:8]}"
    client.create_type(name, max_retries=3, retry_interval="10ms")
    from asyncflow import Command

    command = Command(
        [sys.executable, str(HERE / "real_tasks.py"), how, str(folder)],
        environment={"PYTHONPATH": str(SOURCES), **environment},
    )
    return client.create(name, command=command)


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def saved(folder: Path) -> list[tuple[int, int, int]]:
    """Attempt, epoch, and whether a broker had it, of each save."""
    path = folder / "saved"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(a), int(b), int(c)) for a, b, c in map(str.split, lines)]


def test_what_a_save_says_is_durable_is_at_the_broker(client: Client, tmp_path: Path) -> None:
    task = create(client, "trains", tmp_path, EPOCHS="12", PACE="0.1")
    until(lambda: len(saved(tmp_path)) >= 3)
    for _ in range(5):
        epochs = [epoch for _, epoch, is_durable in saved(tmp_path) if is_durable]
        context: Any = client.get(task).context
        assert context["epoch"] >= epochs[-1]
        time.sleep(0.05)
    assert client.result(task, timeout=60) == {"begun": 0, "attempt": 1, "epoch": 11}
    assert all(is_durable for _, _, is_durable in saved(tmp_path))
    assert client.get(task).stage == "fit"


def test_killed_in_the_middle_it_goes_on_behind_what_it_saved(
    client: Client, tmp_path: Path
) -> None:
    task = create(client, "trains", tmp_path, EPOCHS="8", PACE="0.02", DIES_AT="4")
    assert client.result(task, timeout=60) == {"begun": 5, "attempt": 2, "epoch": 7}
    assert [epoch for _, epoch, _ in saved(tmp_path)] == list(range(8))


def test_progress_and_metrics_come_through(client: Client, tmp_path: Path) -> None:
    task = create(client, "reports", tmp_path)
    until(lambda: client.get(task).progress.percent == 100)
    progress = client.get(task).progress
    assert (progress.message, progress.metrics) == ("fit 4/4", {"loss": 0.25})
    assert client.result(task, timeout=60) is None


@pytest.mark.parametrize(
    ("how", "expected", "reason"),
    [
        ("retry", {"attempt": 2, "saved": {}}, "RETRY_LATER"),
        ("preempted", {"attempt": 2, "saved": {"came": "far"}}, "CHECKPOINTED"),
        ("hand_over", {"attempt": 2, "saved": {"offset": 7}}, "HANDED_OVER"),
    ],
)
def test_what_asks_for_another_run_gets_it(
    client: Client, tmp_path: Path, how: str, expected: Any, reason: str
) -> None:
    task = create(client, how, tmp_path)
    assert client.result(task, timeout=60) == expected
    first = client.attempts(task)[0]
    assert first.failure is not None
    assert first.failure.reason == reason


def test_what_fails_for_good_is_not_tried_again(client: Client, tmp_path: Path) -> None:
    task = create(client, "fail", tmp_path)
    with pytest.raises(TaskFailed):
        client.result(task, timeout=60)
    found = client.get(task)
    assert found.attempt == 1
    assert found.failure is not None
    assert (found.failure.reason, found.failure.message) == ("PERMANENT", "the data are bad")


def test_what_is_tried_again_waits_as_long_as_it_asked(client: Client, tmp_path: Path) -> None:
    task = create(client, "retry", tmp_path)
    client.result(task, timeout=60)
    first, second = client.attempts(task)
    assert first.failure is not None
    assert first.failure.message == "not now"
    assert first.end_time is not None
    assert second.start_time is not None
    assert (second.start_time - first.end_time).total_seconds() >= 1.0


def test_a_context_that_is_too_large_is_refused_at_once(client: Client, tmp_path: Path) -> None:
    task = create(client, "too_large", tmp_path)
    said = client.result(task, timeout=60)
    assert said.startswith("the context is not accepted: ")
    assert "8192" in said.replace(",", "")


def test_children_give_their_results_to_the_next_attempt(client: Client, tmp_path: Path) -> None:
    task = create(client, "children", tmp_path)
    assert client.result(task, timeout=60) == [9, 9, 9]
    assert client.get(task).attempt == 2


def test_a_cancelled_task_leaves(client: Client, tmp_path: Path) -> None:
    task = create(client, "trains", tmp_path, EPOCHS="10000", PACE="0.02")
    until(lambda: len(saved(tmp_path)) >= 2)
    begun = time.monotonic()
    client.cancel(task)
    assert client.wait(task, timeout=30).state == State.CANCELLED
    assert time.monotonic() - begun < 8, "it did not wait for SIGKILL"


def test_a_training_goes_on_while_worker_and_broker_are_killed(tmp_path: Path) -> None:
    """What it saves meanwhile is in the events file, and reaches the broker afterwards."""
    folder = tmp_path / "own"
    folder.mkdir()
    server = stack.everything(folder)
    with server:
        client = Client(server.address)
        task = create(client, "trains", tmp_path, EPOCHS="60", PACE="0.3")
        until(lambda: len(saved(tmp_path)) >= 3)
        server.stop(signal.SIGKILL)
        until(lambda: any(not is_durable for _, _, is_durable in saved(tmp_path)))
        server.start()
        count = len(saved(tmp_path))
        until(lambda: any(is_durable for _, _, is_durable in saved(tmp_path)[count:]))
        assert client.result(task, timeout=120) == {"begun": 0, "attempt": 1, "epoch": 59}
        context: Any = client.get(task).context
        assert context == {"epoch": 59, "asyncflow": {"done": {"fit": None}}}
        assert [epoch for _, epoch, _ in saved(tmp_path)] == list(range(60))
        client.close()
