"""`train.submit(…)` and what it gives."""

from __future__ import annotations

import subprocess
import sys
import threading
import types
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from asyncflow import Client, Context, InvalidArgument, State, TaskCancelled, task
from asyncflow.task.handle import Handle
from client import stack

SOURCES = Path(__file__).parent.parent.parent / "src"
TYPE = f"train_{uuid.uuid4().hex[:8]}"


@task(TYPE, gpus=1, max_retries=7, retry_interval="2s", max_time="12h", priority=3)
def train(ctx: Context, lr: float, *, epochs: int = 10) -> dict[str, float]:
    return {"lr": lr}


def square(x: int) -> int:
    return x * x


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    with stack.everything(tmp_path_factory.mktemp("dev")) as server:
        yield server


@pytest.fixture
def client(dev: stack.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("ASYNCFLOW_BROKER", dev.address)
    with Client(dev.address) as client:
        yield client


def test_what_is_submitted_is_what_the_decorator_says(client: Client) -> None:
    handle: Handle[dict[str, float]] = train.options(client=client).submit(0.1, epochs=3)
    found = handle.get()
    assert found.payload == {"args": [0.1], "kwargs": {"epochs": 3}}
    proto = found.proto
    assert (proto.resources.gpus, proto.retry.max_retries, proto.priority) == (1, 7, 3)
    assert proto.retry.interval.seconds == 2
    assert proto.max_running_time.seconds == 12 * 3600
    assert handle.state == State.PENDING
    assert handle.cancel("enough").state == State.CANCELLED
    with pytest.raises(TaskCancelled):
        handle.result(timeout=10)


def test_options_are_of_one_task(client: Client) -> None:
    once = train.options(name="try", labels={"team": "a"}, gpus=2, request_id=str(uuid.uuid4()))
    first, second = once.submit(lr=1.0), once.submit(lr=1.0)
    assert first.id == second.id, "the request id makes it once"
    found = first.get()
    assert (found.name, dict(found.labels), found.proto.resources.gpus) == ("try", {"team": "a"}, 2)
    assert train.default.name is None
    with pytest.raises(TypeError, match="no option is called gpu; there are gpus, "):
        train.options(gpu=1)
    with pytest.raises(TypeError, match="gpus='many' is no whole number"):
        train.options(gpus="many")
    first.cancel()


def test_bad_arguments_are_told_before_anything_is_sent() -> None:
    wrong: Any = train
    with pytest.raises(TypeError, match="missing a required argument: 'lr'"):
        wrong.submit(epochs=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        wrong.submit(1.0, rate=3)
    with pytest.raises(ValueError, match=r"arguments of train_.*\['lr'\] is a builtins.object"):
        wrong.submit(lr=object())


def test_what_the_broker_refuses_is_raised(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        train.options(name="x" * 200).submit(lr=1.0)


def test_follow_shows_what_it_writes(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.ensure_type("speaks")
    script = (
        "from asyncflow import task\n"
        "@task('speaks')\n"
        "def speaks(ctx):\n"
        "    print('hello')\n"
        "    ctx.progress(50, 'half')\n"
        "    return 7\n"
        "speaks()\n"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n{script}"]
    made = client.create("speaks", command=command)
    handle: Handle[int] = Handle(client, made.id)
    assert handle.follow() == 7
    shown = capfd.readouterr()
    assert shown.out == "hello\n"
    assert f"{made.id} SUCCEEDED: 50 % half" in shown.err


def logs_of(*chunks: bytes, last: Optional[BaseException] = None) -> Any:
    """A client whose task has this log, which then breaks off if there is a last error."""

    def logs(_id: str, follow: bool) -> Iterator[Any]:
        for data in chunks:
            yield types.SimpleNamespace(attempt=1, stream="stdout", data=data)
        if last is not None:
            raise last

    return logs


def test_follow_shows_characters_that_were_cut_in_two(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = "a\u20ac".encode()[:2], "a\u20ac".encode()[2:]
    client: Any = types.SimpleNamespace(
        logs=logs_of(first, second), watch=lambda _id: iter(()), result=lambda _id, timeout: 7
    )
    handle: Handle[int] = Handle(client, "t")
    assert handle.follow() == 7
    assert capfd.readouterr().out == "a\u20ac"


def test_follow_is_silent_once_it_was_interrupted(capfd: pytest.CaptureFixture[str]) -> None:
    interrupted = threading.Event()

    def watch(_id: str) -> Iterator[Any]:
        interrupted.wait(10)
        progress = types.SimpleNamespace(percent=50, message="half", metrics={})
        view = types.SimpleNamespace(id="t", state="RUNNING", attempt=1, progress=progress)
        yield types.SimpleNamespace(task=view)

    client: Any = types.SimpleNamespace(logs=logs_of(b"a", last=KeyboardInterrupt()), watch=watch)
    threads = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        Handle(client, "t").follow()
    [watching] = set(threading.enumerate()) - threads
    interrupted.set()
    watching.join(10)
    assert capfd.readouterr().err == ""


def test_a_task_imports_no_grpc() -> None:
    text = (
        "import sys, asyncflow, asyncflow.task.run\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('grpc', 'google')]\n"
        "sys.exit(', '.join(bad) or None)"
    )
    environment = {"PYTHONPATH": str(SOURCES)}
    subprocess.run([sys.executable, "-c", text], env=environment, check=True)


def test_a_task_travels_to_another_process_by_its_name() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(train)) is train
    named = task("square")(square)
    assert pickle.loads(pickle.dumps(named)).target is square
    other = pickle.loads(pickle.dumps(train.options(name="try")))
    assert (other.default.name, other.target) == ("try", train.target)
