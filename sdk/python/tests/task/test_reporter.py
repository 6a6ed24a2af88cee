"""Progress and metrics: cheap, in time, and never in the way."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional

import pytest
from asyncflow.task.link import LocalLink
from asyncflow.task.reporter import Reporter

from .conftest import attempt
from .fake_worker import FakeWorker, error

Sent = tuple[Optional[float], str, dict[str, float]]


class Recorder(LocalLink):
    """Keeps what is reported, or fails."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self._fails = fails

    def report(
        self, percent: Optional[float], message: str, metrics: Mapping[str, float]
    ) -> None:
        self.sent.append((percent, message, dict(metrics)))
        if self._fails:
            raise OSError("no")


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_many_values_become_few_reports_and_the_last_one_counts() -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=0.1)
    for step in range(100_000):
        reporter.metrics({"loss": float(step)})
    until(lambda: bool(link.sent) and link.sent[-1][2]["loss"] == 99_999.0)
    assert len(link.sent) < 50
    reporter.close()


def test_a_single_value_is_sent_without_another_one() -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=0.05)
    reporter.metrics({"loss": 1})
    until(lambda: len(link.sent) == 1)
    reporter.metrics({"loss": 2})
    until(lambda: len(link.sent) == 2)
    assert link.sent[1] == (None, "", {"loss": 2.0})
    reporter.close()


def test_what_is_left_at_the_end_is_sent() -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=60)
    reporter.say(50, "half")
    until(lambda: len(link.sent) == 1)
    reporter.say(None, "more")
    reporter.close()
    assert link.sent[-1] == (50.0, "more", {})


class Grad:
    """As a tensor with a graph behind it."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.is_detached = False

    def detach(self) -> Grad:
        other = Grad(self.value)
        other.is_detached = True
        return other

    def __float__(self) -> float:
        assert self.is_detached
        return self.value


def test_a_tensor_is_read_when_it_is_sent() -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=60)
    reporter.metrics({"loss": Grad(0.25)})
    reporter.close()
    assert link.sent[-1][2] == {"loss": 0.25}


def test_nothing_is_raised_and_what_is_wrong_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    link = Recorder(fails=True)
    reporter = Reporter(link, every_s=0.01)
    bad: dict[str, Any] = {"text": "abc", "nan": float("nan"), "": 1, "x\n": 2, "good": 1}
    for _ in range(3):
        reporter.metrics(bad)
        reporter.say(1e9, "x" * 5000)
        sent = len(link.sent)
        until(lambda sent=sent: len(link.sent) > sent)  # type: ignore[misc]
    reporter.close()
    percent, message, metrics = link.sent[-1]
    assert (percent, metrics) == (100.0, {"good": 1.0})
    assert len(message.encode()) <= 1024
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(set(said)) == 5


def test_more_than_32_metrics_are_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=60)
    reporter.metrics({f"m{i}": i for i in range(40)})
    reporter.close()
    assert len(link.sent[-1][2]) == 32
    assert "only 32" in capsys.readouterr().err


def test_loops_tell_how_far_they_are(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    for epoch in ctx.range(4, stage="epoch"):
        for step in ctx.range(10, stage="step"):
            if (epoch, step) == (2, 5):
                ctx._reporter.flush()
                body = fake.told("reportProgress")[-1]["progress"]
                assert body["percent"] == pytest.approx(62.5)
                assert body["message"] == "epoch 2/4, step 5/10"
    ctx.close()
    assert fake.told("reportProgress")[-1]["progress"]["percent"] == 100.0


def test_reports_go_to_the_file_while_there_is_no_worker(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    fake.stop()
    ctx.metrics(loss=0.5)
    ctx.progress(10)
    ctx.close()
    assert {"event": "progress", "message": "", "percent": 10} in fake.events()
    assert {"event": "metrics", "values": {"loss": 0.5}} in fake.events()


def test_an_error_of_the_worker_is_no_error_of_the_training(fake: FakeWorker) -> None:
    fake.instead = lambda _method, _body: error(409, "ABORTED", "lost", "LEASE_LOST")
    ctx = attempt(fake)
    ctx.metrics(loss=0.5)
    ctx.close()
    assert len(fake.told("reportProgress")) >= 1


def test_a_strange_name_does_not_silence_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    link = Recorder()
    reporter = Reporter(link, every_s=0.05)
    names: Any = {1: 0.5, "\ud800": 1.0, "loss": 2.0}
    reporter.metrics(names)
    reporter.close()
    assert link.sent[-1][2] == {"1": 0.5, "loss": 2.0}
    assert "a name is a line of 1 to 64 bytes" in capsys.readouterr().err
