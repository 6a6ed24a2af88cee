"""The socket, and the events file where it does not answer."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from typing import Any, Optional

import pytest
from asyncflow.task import LeaseLost, Preempted, Refused
from asyncflow.task import link as links
from asyncflow.task.context import Context
from asyncflow.task.surroundings import Surroundings

from .conftest import attempt
from .fake_worker import Answer, FakeWorker, error


def test_a_save_is_one_call_on_one_connection(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    for epoch in range(20):
        assert ctx.save(epoch=epoch) is True
    assert [context["epoch"] for context in fake.contexts()] == list(range(20))
    assert fake.connections == 1
    assert fake.events() == []


def test_it_finds_the_worker_again_after_a_restart(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    ctx.save(epoch=1)
    fake.stop()
    later = threading.Timer(0.3, fake.start)
    later.start()
    assert ctx.save(epoch=2) is True
    later.join()
    assert fake.contexts()[-1] == {"epoch": 2}
    assert fake.events() == []


def test_a_worker_that_does_not_know_the_attempt_yet_is_asked_again(fake: FakeWorker) -> None:
    answers: list[Answer] = [error(401, "UNAUTHENTICATED", "unknown")] * 3
    fake.instead = lambda _method, _body: answers.pop() if answers else None
    assert attempt(fake).save(epoch=1) is True
    assert len(fake.contexts()) == 4


def test_without_a_worker_it_is_kept_in_the_events_file(
    fake: FakeWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = attempt(fake)
    ctx.save(epoch=1)
    fake.stop()
    begun = time.monotonic()
    assert ctx.save(epoch=2) is False
    assert time.monotonic() - begun < 2.5
    assert fake.events() == [{"event": "context", "data": {"epoch": 2}}]
    assert "in the events file and not at a broker yet" in capsys.readouterr().err
    ctx.stage("end", lambda: None)
    assert fake.events("context")[-1]["stage"] == "end"
    assert capsys.readouterr().err == "", "it says so once"


def test_what_is_saved_after_that_is_in_both(fake: FakeWorker) -> None:
    """The worker reads the file at its own pace: an older context must not be its last line."""
    ctx = attempt(fake)
    fake.stop()
    assert ctx.save(epoch=1) is False
    fake.start()
    written_first: list[bool] = []

    def look(_method: str, body: Any) -> Optional[Answer]:
        written_first.append(fake.events()[-1]["data"] == fake.json_of(body["context"]))
        return None

    fake.instead = look
    assert ctx.save(epoch=2) is True
    assert ctx.save(epoch=3) is True
    assert written_first == [True, True]
    assert [event["data"]["epoch"] for event in fake.events()] == [1, 2, 3]
    assert [context["epoch"] for context in fake.contexts()] == [2, 3]


def test_a_broker_that_is_away_does_not_stop_a_training_for_long(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "DEGRADED_WAIT_S", 0.2)
    release = threading.Event()

    def hang(_method: str, _body: Any) -> Optional[Answer]:
        release.wait(10)
        return None

    fake.instead = hang
    ctx = attempt(fake)
    times: list[float] = []
    for epoch in range(2):
        begun = time.monotonic()
        assert ctx.save(epoch=epoch) is False
        times.append(time.monotonic() - begun)
    release.set()
    assert 0.9 < times[0] < 2.0
    assert times[1] < 0.8
    assert [event["data"]["epoch"] for event in fake.events()] == [0, 1]
    fake.instead = lambda _method, _body: None
    assert ctx.save(epoch=2) is True


def test_a_save_does_not_outlast_the_grace_time(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "STOPPING_WAIT_S", 0.2)
    release = threading.Event()

    def hang(_method: str, _body: Any) -> Optional[Answer]:
        release.wait(10)
        return None

    fake.instead = hang
    ctx = Context.in_worker_of(Surroundings.read(fake.environment()), save_wait=60)
    ctx.stop_flag.set()
    begun = time.monotonic()
    assert ctx.save(epoch=1) is False
    assert time.monotonic() - begun < 2
    release.set()
    assert fake.events("context")[0]["data"] == {"epoch": 1}


def test_who_has_lost_the_task_is_told(fake: FakeWorker) -> None:
    fake.instead = lambda _method, _body: error(409, "ABORTED", "lost", "LEASE_LOST")
    with pytest.raises(LeaseLost, match="lost") as raised:
        attempt(fake).save(epoch=1)
    assert raised.value.code == 85
    assert fake.events() == []


def test_what_the_broker_does_not_take_is_refused(fake: FakeWorker) -> None:
    said = "context is 9,000 bytes, 8,192 at most"
    fake.instead = lambda _method, _body: error(400, "INVALID_ARGUMENT", said, "INVALID_FIELDS")
    with pytest.raises(Refused, match="the context is not accepted: context is 9,000 bytes"):
        attempt(fake).save(epoch=1)


def test_something_that_speaks_no_http_costs_no_time(fake: FakeWorker) -> None:
    import socket

    fake.stop()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(fake.folder / "s"))
    server.listen()

    def answer() -> None:
        while True:
            connection, _ = server.accept()
            data = b""
            while not data.endswith(b"}"):
                data += connection.recv(65536)
            connection.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00 binary\n")
            connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    begun = time.monotonic()
    assert attempt(fake).save(epoch=1) is False
    assert time.monotonic() - begun < 0.5
    os.unlink(fake.folder / "s")
    assert len(fake.events("context")) == 1


def test_without_a_socket_the_events_file_does(fake: FakeWorker) -> None:
    ctx = attempt(fake, ASYNCFLOW_SOCKET="")
    assert ctx.save(epoch=1) is False
    ctx.set_result({"loss": 0.1})
    ctx.metrics(loss=0.5)
    ctx.progress(12.5, "one")
    ctx.close()
    kinds = [event["event"] for event in fake.events()]
    assert kinds[:2] == ["context", "result"]
    assert set(kinds[2:]) == {"progress", "metrics"}
    assert fake.calls == []
    with pytest.raises(Refused, match="64|65,536 at most"):
        ctx.save(blob="x" * 70_000)


def test_threads_may_save_at_once(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    threads = [threading.Thread(target=ctx.save, kwargs={f"t{i}": i}) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.connections == 1
    assert fake.contexts()[-1] == dict(ctx.saved) == {f"t{i}": i for i in range(8)}
    assert [len(context) for context in fake.contexts()] == list(range(1, 9))


def test_a_result_that_is_too_large_is_refused_before_it_is_sent(fake: FakeWorker) -> None:
    with pytest.raises(Refused, match="the result is 70,002 bytes, 65,536 at most"):
        attempt(fake).set_result("x" * 70_000)
    assert fake.calls == []


def test_a_process_with_many_open_files_can_save(fake: FakeWorker) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert attempt(fake).save(epoch=1) is True
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_children_are_asked_for_until_a_broker_answers(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RECONNECT_WAIT_S", 0.1)
    answers: list[Answer] = [error(503, "UNAVAILABLE", "away")] * 12
    answers += [error(401, "UNAUTHENTICATED", "unknown")] * 12
    fake.instead = lambda _method, _body: answers.pop() if answers else None
    assert attempt(fake).children("parts") == []
    assert not answers
    fake.instead = lambda _method, _body: error(400, "INVALID_ARGUMENT", "no such key")
    with pytest.raises(Refused, match="no such key"):
        attempt(fake).children("parts")


def test_who_asks_for_children_in_an_outage_may_be_stopped(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RECONNECT_WAIT_S", 0.1)
    monkeypatch.setattr(links, "STOPPING_WAIT_S", 0.1)
    ctx = attempt(fake)

    def away(_method: str, _body: Any) -> Optional[Answer]:
        ctx.stop_flag.set()
        return error(503, "UNAVAILABLE", "away")

    fake.instead = away
    with pytest.raises(Preempted, match="told to stop: a call about its children"):
        ctx.create_children("parts", [])


def test_an_abort_without_a_reason_is_a_lost_lease(fake: FakeWorker) -> None:
    fake.instead = lambda _method, _body: error(409, "ABORTED", "not yours any more")
    with pytest.raises(LeaseLost):
        attempt(fake).save(epoch=1)


def test_a_context_too_large_for_the_file_is_left_out_in_an_outage(
    fake: FakeWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = attempt(fake)
    fake.stop()
    assert ctx.save(blob="x" * 70_000) is False
    assert fake.events() == []
    assert "the context is nowhere, for the context is 70,0" in capsys.readouterr().err
    fake.start()
    assert ctx.save(epoch=1) is True
    assert fake.contexts()[-1]["epoch"] == 1


def test_a_result_too_large_for_the_file_waits_for_a_broker(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "DEGRADED_WAIT_S", 0.1)
    ctx = attempt(fake)
    fake.stop()
    later = threading.Timer(1.5, fake.start)
    later.start()
    ctx.set_result("x" * (64 * 1024 - 2))
    later.join()
    assert len(fake.told("setResult")) == 1
    fake.stop()
    ctx.stop_flag.set()
    monkeypatch.setattr(links, "STOPPING_WAIT_S", 0.1)
    with pytest.raises(Preempted, match="the result could not be told to a broker"):
        ctx.set_result("x" * (64 * 1024 - 2))


class FullDisk:
    """`os.write` on a disk that has so many bytes left."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._write = os.write

    def __call__(self, file: int, data: bytes) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = data[: self.left]
        self.left -= len(data)
        return self._write(file, data)


def test_a_full_disk_does_not_end_a_training_that_has_a_broker(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = attempt(fake)
    fake.stop()
    assert ctx.save(epoch=1) is False
    disk = FullDisk(left=10)
    monkeypatch.setattr(os, "write", disk)
    with pytest.raises(OSError, match="No space left"):
        ctx.save(epoch=2)
    fake.start()
    assert ctx.save(epoch=3) is True, "a broker is there"
    disk.left = 1_000_000
    assert ctx.save(epoch=4) is True
    lines = (fake.folder / "events.jsonl").read_text().splitlines()
    whole = [json.loads(line)["data"]["epoch"] for line in lines if line.endswith("}")]
    assert whole == [1, 4], "half a line harms no other"
