"""The parts that send nothing: settings, values, errors, retries."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2

from asyncflow import errors
from asyncflow.client import calls, retry, settings, spec, status, streams, task, values
from asyncflow.v1 import broker_service_pb2 as pb
from asyncflow.v1 import task_pb2


def resolved(folder: Path, text: str = "", **arguments: str) -> settings.Settings:
    """What comes of a file with this text, and of arguments; upper case is environment."""
    path = folder / "asyncflow" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    given = {name: value for name, value in arguments.items() if name.islower()}
    variables = {f"ASYNCFLOW_{name}": arguments[name] for name in arguments.keys() - given.keys()}
    variables["XDG_CONFIG_HOME"] = str(folder)
    return settings.resolve(**given, environment=variables)


def test_settings_come_from_arguments_then_environment_then_file(tmp_path: Path) -> None:
    file = 'broker = "http://file:1"\ntoken = "of-file"\n'
    nothing = settings.resolve(environment={"HOME": "/nowhere"})
    assert (nothing.address, nothing.token) == ("http://127.0.0.1:7070", None)
    found = resolved(tmp_path, file)
    assert (found.address, found.token) == ("http://file:1", "of-file")
    found = resolved(tmp_path, file, TOKEN="of-env")
    assert (found.address, found.token) == ("http://file:1", "of-env")
    found = resolved(tmp_path, file, TOKEN="of-env", token="given", address="http://h:2")
    assert (found.address, found.token, found.target) == ("http://h:2", "given", "h:2")
    (tmp_path / "token").write_text(" from-file \n")
    found = resolved(tmp_path, "", TOKEN_FILE=str(tmp_path / "token"), TOKEN="")
    assert found.token == "from-file"
    assert "from-file" not in repr(found)


def test_a_token_of_the_file_goes_to_no_other_broker(tmp_path: Path) -> None:
    file = 'broker = "https://file:1"\ntoken = "of-file"\nca_file = "/ca.pem"\n'
    assert resolved(tmp_path, file, BROKER="https://other:1").token is None
    assert resolved(tmp_path, file, address="https://other:1").ca_file is None
    same = resolved(tmp_path, file, address="https://file:1/")
    assert (same.token, same.ca_file) == ("of-file", Path("/ca.pem"))


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("", {"address": "localhost:7070"}, "http://"),
        ("", {"BROKER": "ftp://h:1"}, "http://"),
        ("", {"address": "http://h:port"}, "port"),
        ("", {"address": "http://h:1/path"}, "host:port"),
        ("", {"address": "http://user:secret@h:1"}, "host:port"),
        ("", {"token": "line\nbreak"}, "token"),
        ("", {"token_file": "/nowhere/token"}, "/nowhere/token"),
        ("brokr = 'x'", {}, "brokr: there is no such key"),
        ("broker = 7070", {}, "must be a text"),
        ("broker = ", {}, "config.toml"),
    ],
)
def test_unusable_settings(tmp_path: Path, text: str, arguments: dict[str, str], told: str) -> None:
    with pytest.raises(errors.ConfigError, match=told):
        resolved(tmp_path, text, **arguments)


def test_values() -> None:
    assert values.span("1h 30m") == timedelta(minutes=90) == values.span(5400)
    assert values.duration("250ms").nanos == 250_000_000
    for text, size in (("10GiB", 10 << 30), ("512M", 512 << 20), ("17", 17), ("1.5 kb", 1536)):
        assert values.size(text) == size
    for wrong in ("10 apples", "", "GiB"):
        with pytest.raises(ValueError, match="10GiB"):
            values.size(wrong)
    moment = datetime(2026, 1, 31, 18, tzinfo=timezone(timedelta(hours=2)))
    assert values.timestamp(moment).ToDatetime() == datetime(2026, 1, 31, 16)
    with pytest.raises(ValueError, match="time zone"):
        values.timestamp(datetime(2026, 1, 31))
    garbled = task_pb2.Content(data=b"{", content_type="application/json; charset=utf-8")
    assert values.value_of(garbled) == b"{"
    assert values.value_of(task_pb2.Content(data=b"[1]", content_type="text/x+json")) == [1]
    with pytest.raises(TypeError, match="the payload is no JSON: Object of type object"):
        values.content(object(), "the payload")
    deep = task_pb2.Content(data=b"[" * 30_000, content_type="application/json")
    assert values.value_of(deep) == deep.data


def test_options_are_the_fields_of_a_spec() -> None:
    assert set(spec.TaskOptions.__annotations__) == set(spec.OPTION_NAMES)
    assert inspect.signature(spec.TaskSpec).parameters.keys() >= {"task_type", "payload"}


def test_filters() -> None:
    text = calls.filter_of(
        "user = bob",
        task_type="train",
        state=task.State.RUNNING,
        labels={"a": 'quo"te\\'},
        created_after=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )
    assert text == (
        '(state = RUNNING) AND task_type = "train" AND labels.a = "quo\\"te\\\\" AND '
        'create_time >= "2026-01-01T00:00:00+00:00" AND user = bob'
    )


def test_one_state_or_several_by_name() -> None:
    for given in ("RUNNING", task.State.RUNNING, ["RUNNING"]):
        assert calls.filter_of(state=given) == "(state = RUNNING)"  # type: ignore[arg-type]
    request: Any = calls.count(None, None, task.State.SUCCEEDED).request
    assert list(request.states) == [task_pb2.TASK_STATE_SUCCEEDED]
    with pytest.raises(TypeError, match="labels are texts, not 'a': 1"):
        spec.TaskSpec("train", labels={"a": 1}).to_proto()  # type: ignore[dict-item]


def test_a_state_of_a_newer_broker_is_unknown() -> None:
    assert task.state_of(99) is task.State.UNKNOWN
    assert {task.state_of(number) for number in range(1, 10)} == set(task.State) - {
        task.State.UNKNOWN
    }
    assert (
        task.Failure(task_pb2.Failure(reason=task_pb2.FAILURE_REASON_PREEMPTED)).reason
        == "PREEMPTED"
    )
    with pytest.raises(AttributeError, match="read-only"):
        task.Task(task_pb2.Task()).id = "x"  # type: ignore[misc]


def refused(code: str, reason: str = "", after: float = -1) -> errors.BrokerError:
    """An error as a broker would make it."""
    wait = None if after < 0 else timedelta(seconds=after)
    return errors.broker_error(errors.Refusal(code, "message", reason, retry_after=wait))


def test_what_is_repeated() -> None:
    backoff = retry.Backoff(30)
    assert 0.05 <= backoff.wait_after(refused("UNAVAILABLE"), 0) <= 0.1
    assert 0.1 <= backoff.wait_after(refused("UNAVAILABLE"), 0.1) <= 0.2
    assert 3.2 <= backoff.wait_after(refused("ABORTED", after=3), 0.3) <= 3.4
    for error in (refused("RESOURCE_EXHAUSTED"), refused("ABORTED"), refused("INTERNAL")):
        with pytest.raises(errors.BrokerError):
            backoff.wait_after(error, 1)
    with pytest.raises(errors.Unavailable):
        backoff.wait_after(refused("UNAVAILABLE"), 29.99)
    backoff.succeeded()
    assert backoff.wait_after(refused("UNAVAILABLE"), 1000) <= 0.1
    assert all(backoff.wait_after(refused("UNAVAILABLE"), 1000) <= 5 for _ in range(20))
    untrusted = errors.broker_error(errors.Refusal("UNAVAILABLE", "CERTIFICATE_VERIFY_FAILED"))
    with pytest.raises(errors.Unavailable):
        backoff.wait_after(untrusted, 1000)


def test_those_who_are_asked_to_wait_alike_come_back_spread() -> None:
    busy = refused("RESOURCE_EXHAUSTED", "OVERLOADED", after=1)
    waits = {retry.Backoff(30).wait_after(busy, 0) for _ in range(20)}
    assert all(1 < wait <= 1.1 for wait in waits) and len(waits) > 1, waits


def test_a_call_is_repeated_until_its_deadline() -> None:
    tries = retry.Tries("/asyncflow.v1.BrokerService/GetTask", 10, 100)
    assert tries.time_left(103) == 7
    assert tries.wait_after(refused("UNAVAILABLE"), 103) < 1
    with pytest.raises(errors.ResourceExhausted):
        tries.wait_after(refused("RESOURCE_EXHAUSTED", "OVERLOADED", after=8), 103)
    [(key, value)] = tries.metadata
    assert key == "traceparent" and len(value) == 55
    assert retry.traced([("traceparent", "mine")]) == [("traceparent", "mine")]


def test_what_would_be_done_twice_is_not_repeated_unless_nothing_was_done() -> None:
    for error, is_repeated in (
        (refused("UNAVAILABLE"), False),
        (refused("UNAVAILABLE", "COMMIT_UNCONFIRMED", after=0.1), False),
        (refused("UNAVAILABLE", "SHUTTING_DOWN", after=0.1), True),
        (errors.broker_error(errors.Refusal("UNAVAILABLE", "Failed to connect: refused")), True),
    ):
        tries = retry.Tries("/asyncflow.v1.BrokerService/RetryTask", 30, 0)
        if is_repeated:
            assert tries.wait_after(error, 0) > 0
        else:
            with pytest.raises(errors.Unavailable):
                tries.wait_after(error, 0)


def test_request_ids_are_filled_in_a_copy() -> None:
    request = pb.CreateTaskRequest()
    assert retry.identified(request).request_id and not request.request_id
    given = pb.CreateTaskRequest(request_id="mine")
    assert retry.identified(given) is given
    batch = pb.BatchCreateTasksRequest(requests=[given, request])
    filled = retry.identified(batch)
    assert filled.requests[0].request_id == "mine" and filled.requests[1].request_id
    get = pb.GetTaskRequest(task_id="t")
    assert retry.identified(get) is get


def test_details_of_a_task_of_a_stream() -> None:
    details = status_pb2.Status(code=3)
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    bad.field_violations.add(field="task.name", description="is too long")
    info.reason, info.metadata["task"] = "INVALID_FIELDS", "x"
    wait = error_details_pb2.RetryInfo()
    wait.retry_delay.FromMilliseconds(250)
    for detail in (bad, info, wait):
        details.details.add().Pack(detail)
    told = task_pb2.TaskError(code=3, message="wrong", status=details.SerializeToString())
    error = status.of_task(told)
    assert isinstance(error, errors.InvalidArgument)
    assert str(error) == "wrong (INVALID_FIELDS)\n  task.name: is too long"
    assert (error.metadata, error.retry_after) == ({"task": "x"}, timedelta(milliseconds=250))
    assert error.retryable
    assert status.of_task(task_pb2.TaskError(code=77, status=b"\xff")).code == "UNKNOWN"


def test_logs_give_nothing_out_twice() -> None:
    logs = calls.logs("t", True, 0, 5)

    def read(attempt: int, offset: int, data: bytes) -> list[bytes]:
        answer = pb.StreamTaskLogsResponse(attempt=attempt, offset=offset, data=data)
        return [chunk.data for chunk in logs.read(answer)]

    assert read(1, 0, b"abc") == [b"abc"]
    assert logs.request.tail_lines == 5
    logs.broke()
    assert not logs.request.HasField("tail_lines")
    assert read(1, 0, b"abc") == []
    assert read(1, 2, b"cde") == [b"de"]
    assert read(2, 0, b"x") == [b"x"]
    assert read(1, 9, b"late") == []


def test_a_window_sends_again_what_was_not_answered() -> None:
    window = streams.Window(2)
    window.add([pb.CreateTaskRequest(request_id="a")])
    window.add([pb.CreateTaskRequest(), pb.CreateTaskRequest(request_id="c")])
    assert not window.has_room
    answer = pb.StreamCreateTasksResponse(results=[pb.CreateTaskResult(task_id="t")])
    assert [(one.request_id, one.task_id) for one in window.read(answer)] == [("a", "t")]
    [left] = window.unanswered
    assert left.requests[0].request_id and left.requests[1].request_id == "c"
    with pytest.raises(errors.BrokerError, match="2 tasks were sent and 1 answered"):
        window.read(answer)


def test_a_wait_is_made_of_rounds() -> None:
    waiting = calls.waiting("t", "70s", now=0, patience_s=30)
    first = waiting.round(0)
    assert (first.request, first.timeout_s) == (wait_request(30), 45)
    assert not waiting.is_over(False, 30) and waiting.is_over(True, 30)
    assert waiting.round(65).request == wait_request(5)
    assert not waiting.is_over(False, 66), "a broker that is shut down answers at once"
    assert waiting.pause_s(66) == calls.PAUSE_S
    assert waiting.is_over(False, 70)
    endless = calls.waiting("t", None, now=0, patience_s=30)
    endless.round(1e9)
    assert not endless.is_over(False, 2e9)
    assert endless.pause_s(2e9) == 0


def test_a_wait_is_as_patient_with_a_broker_as_the_client() -> None:
    waiting = calls.waiting("t", "1000s", now=0, patience_s=30)
    away = errors.broker_error(errors.Refusal("UNAVAILABLE", "refused"))
    late = errors.broker_error(errors.Refusal("DEADLINE_EXCEEDED", "late"))
    waiting.round(0)
    waiting.failed(away, 45)
    assert waiting.round(45).request == wait_request(0), "it looks whether a broker is there"
    waiting.failed(away, 60)
    assert not waiting.is_over(False, 70)
    waiting.failed(late, 100)
    waiting.failed(late, 200)
    with pytest.raises(errors.Unavailable):
        waiting.failed(away, 201)
    with pytest.raises(errors.NotFound):
        waiting.failed(errors.broker_error(errors.Refusal("NOT_FOUND", "gone")), 210)
    with pytest.raises(TimeoutError):
        waiting.failed(late, 1000)


def test_logs_are_resumed_with_the_attempt_that_was_seen() -> None:
    logs = calls.logs("t", True, 0, None)
    list(logs.read(pb.StreamTaskLogsResponse(attempt=1, offset=0, data=b"abc")))
    assert not logs.is_behind
    logs.broke()
    asked: list[int] = []
    while logs.is_behind:
        asked.append(logs.request.attempt)
        logs.broke()
        logs.go_on(newest_attempt=3)
    assert asked == [1, 2, 3] and logs.request.attempt == 0
    of_one = calls.logs("t", True, 2, None)
    list(of_one.read(pb.StreamTaskLogsResponse(attempt=2, offset=0, data=b"abc")))
    of_one.broke()
    assert of_one.request.attempt == 2 and not of_one.is_behind


def wait_request(seconds: int) -> pb.WaitTaskRequest:
    """One round."""
    return pb.WaitTaskRequest(task_id="t", timeout=values.duration(seconds))


def test_the_top_level_imports_no_grpc() -> None:
    code = (
        "import sys, json, asyncflow; asyncflow.NotFound; before = list(sys.modules);"
        "asyncflow.Client; print(json.dumps([before, list(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    before, after = json.loads(done.stdout)
    assert not [name for name in before if name.partition(".")[0] in ("grpc", "google")]
    assert "grpc" in after


def test_without_grpc_the_client_says_what_to_install(tmp_path: Path) -> None:
    source = Path(errors.__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import asyncflow; asyncflow.Client"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert "pip install grpcio" in done.stderr
