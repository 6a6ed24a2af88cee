"""Python tasks by their types: `asyncflow worker --python`, with real brokers and real kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncflow import Client, State, TaskFailed
from client import stack

from . import worker_tasks
from .host import Host, until

@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    """A broker and a governor; the worker beside them takes nothing of interest."""
    folder = tmp_path_factory.mktemp("server")
    with stack.everything(folder, 'worker.task_types=["nothing"]') as server:
        yield server


@pytest.fixture
def client(server: stack.Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def shared(
    server: stack.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A worker for the tests that leave it alone."""
    with Client(server.address) as client:
        client.create_type("made_before", max_retries=9)
    host = Host(server.address, tmp_path_factory.mktemp("host"), "--python", "worker_tasks")
    yield host.start()
    host.end()


def test_what_is_submitted_runs_by_its_type(shared: Host, client: Client) -> None:
    handle = worker_tasks.add.options(client=client).submit(2, b=3)
    assert handle.result(timeout=60) == 5
    assert b"".join(chunk.data for chunk in client.logs(handle.id)) == b"adds 2 and 3\n"
    by_hand = client.create("made_add", {"a": 1})
    assert client.result(by_hand, timeout=60) == 2
    command = client.create("made_add", command=["sh", "-c", "exit 65"])
    with pytest.raises(TaskFailed):
        client.result(command, timeout=60)


def test_the_types_are_made_as_the_modules_say(shared: Host, client: Client) -> None:
    until(lambda: 'its type is made task_type="made_waits"' in shared.log())
    made = client.get_type("made_add")
    assert (made.description, made.priority) == ("Adds two numbers.", 7)
    assert (made.retry.max_retries, made.retry.interval.ToMilliseconds()) == (5, 250)
    assert made.max_running_time.ToSeconds() == 7200
    resources = client.get_type("made_gpu").resources
    assert (resources.gpus, resources.preemptible) == (2, True)


def test_a_type_that_is_there_is_left_alone(shared: Host, client: Client) -> None:
    until(lambda: "differ from those of @task" in shared.log())
    assert client.get_type("made_before").retry.max_retries == 9
    line = next(line for line in shared.log().splitlines() if "differ from those of @task" in line)
    assert 'task_type="made_before"' in line
    assert "max_retries is 9, @task says 5" in line


def test_a_failure_for_good_and_arguments_that_do_not_fit(shared: Host, client: Client) -> None:
    until(lambda: 'its type is made task_type="made_fails"' in shared.log())
    for task, message in (
        (client.create("made_fails"), "bad data"),
        (client.create("made_add", {"c": 1}), "the payload does not fit add("),
    ):
        with pytest.raises(TaskFailed):
            client.result(task, timeout=60)
        failed = client.get(task)
        assert failed.attempt == 1
        assert failed.failure is not None
        assert failed.failure.reason == "PERMANENT"
        assert message in failed.failure.message


def test_each_runs_in_a_process_and_a_place_of_its_own(shared: Host, client: Client) -> None:
    submitted = [worker_tasks.environment.options(client=client).submit() for _ in range(2)]
    found: list[Any] = [handle.result(timeout=60) for handle in submitted]
    assert len({one["pid"] for one in found}) == 2
    for one, handle in zip(found, submitted):
        assert one["ASYNCFLOW_TASK_ID"] == handle.id
        assert one["cwd"] == one["ASYNCFLOW_WORK_DIR"]
        assert one["SECRET_OF_THE_WORKER"] is None, "only what is allowed of its environment"


def test_killed_in_the_middle_it_goes_on_behind_its_save(shared: Host, client: Client) -> None:
    handle = worker_tasks.trains.options(client=client).submit(epochs=5, dies_at=2)
    assert handle.result(timeout=60) == {"begun": 3, "attempt": 2}
    outcomes = [attempt.outcome for attempt in client.attempts(handle.id)]
    assert outcomes == ["FAILED", "SUCCEEDED"]


@pytest.mark.parametrize("asks", [True, False])
def test_a_cancelled_one_is_stopped(
    shared: Host, client: Client, tmp_path: Path, asks: bool
) -> None:
    waits = worker_tasks.waits.options(client=client)
    handle = waits.submit(str(tmp_path), asks=asks)
    until((tmp_path / "pid").exists)
    client.cancel(handle.id)
    assert client.wait(handle.id, timeout=30).state == State.CANCELLED
    pid = (tmp_path / "pid").read_text()
    until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("later", [["--python", "worker_tasks"], []])
def test_it_goes_on_while_its_worker_is_killed(
    server: stack.Server, client: Client, tmp_path: Path, later: list[str]
) -> None:
    """The next worker takes it over, also one that knows of no Python task."""
    client.ensure_type("made_alone")
    (tmp_path / "alone.py").write_text(
        "from asyncflow import task\nimport worker_tasks\n"
        'waits = task("made_alone")(worker_tasks.waits.target)\n'
    )
    host = Host(server.address, tmp_path)
    host.start("--python", "alone")
    try:
        task = client.create("made_alone", {"folder": str(tmp_path)})
        until((tmp_path / "pid").exists)
        pid = (tmp_path / "pid").read_text()
        host.stop(signal.SIGKILL)
        host.start(*(["--python", "alone"] if later else []))
        until(lambda: "adopted from a former process" in host.log())
        (tmp_path / "go").touch()
        found: Any = client.result(task, timeout=60)
        assert (found["pid"], found["attempt"]) == (int(pid), 1)
        text = b"".join(chunk.data for chunk in client.logs(task))
        assert text == b"begun\nended\n"
        assert len(client.attempts(task)) == 1
    finally:
        host.end()


def test_what_runs_is_not_lost_for_a_module_that_broke(
    server: stack.Server, client: Client, tmp_path: Path
) -> None:
    module = tmp_path / "breaks.py"
    module.write_text(
        "from asyncflow import task\nimport worker_tasks\n"
        'waits = task("made_breaks")(worker_tasks.waits.target)\n'
    )
    client.ensure_type("made_breaks")
    host = Host(server.address, tmp_path, "--python", "breaks")
    host.start()
    try:
        task = client.create("made_breaks", {"folder": str(tmp_path)})
        until((tmp_path / "pid").exists)
        host.stop(signal.SIGKILL)
        module.write_text("import nonesuch\n")
        host.start()
        assert "going on with the Python tasks of the last start" in host.log()
        (tmp_path / "go").touch()
        found: Any = client.result(task, timeout=60)
        assert found["attempt"] == 1
    finally:
        host.end()


@pytest.mark.parametrize(
    ("modules", "settings", "message"),
    [
        (["nonesuch"], [], "there is no module nonesuch"),
        (["broken"], [], "module broken cannot be imported: ZeroDivisionError"),
        (["broken"], [], "1 / 0"),
        (["needs"], [], "module needs needs nonesuch, which is not installed here"),
        (["json"], [], "has no @task in its own namespace"),
        (["slow"], ["python.import_time_max_ms=1000"], "were not imported within 1 s"),
        (["fine"], ["python.executable=/no/python"], "Python cannot be started: /no/python"),
        (["fine"], ["python.executable=/usr/bin/false"], "cannot be listed (exit status: 1)"),
        (["-c"], [], "python.modules"),
    ],
)
def test_a_worker_does_not_start_with_what_it_cannot_run(
    server: stack.Server, tmp_path: Path, modules: list[str], settings: list[str], message: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needs.py").write_text("import nonesuch\n")
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(600)\n")
    (tmp_path / "fine.py").write_text("import asyncflow\n")
    words = [f"--python={module}" for module in modules]
    host = Host(server.address, tmp_path, *words, *(f"--set={one}" for one in settings))
    with pytest.raises(AssertionError):
        host.start()
    until(host.is_gone)
    assert message in host.log()
    assert "registered" not in host.log()
    host.end()


def test_a_worker_ends_when_it_is_told_to_while_it_imports(
    server: stack.Server, tmp_path: Path
) -> None:
    told = "import os, signal, time\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(600)\n"
    (tmp_path / "told.py").write_text(told)
    host = Host(server.address, tmp_path, "--python=told", "--set=python.import_time_max_ms=600000")
    with pytest.raises(AssertionError):
        host.start()
    until(host.is_gone)
    assert "draining" in host.log()
    assert "registered" not in host.log()
    host.end()


def test_a_python_without_the_sdk_is_told_apart(server: stack.Server, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    python = empty / "bin" / "python3"
    host = Host(server.address, tmp_path, f"--set=python.executable={python}", "--python=train")
    host.sources = tmp_path
    with pytest.raises(AssertionError):
        host.start()
    assert f"{python} has no asyncflow: install the SDK there by `{python} -m pip" in host.log()
    host.end()
