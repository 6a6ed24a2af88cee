"""Each method of the client against a real broker."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone

import pytest

from asyncflow import Client, State, TaskFailed, TaskSpec, errors
from asyncflow.client import Command, Content, CreateRequest, Resources

from . import stack


def test_what_goes_in_comes_out_again(client: Client, work: str) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=5)
    task = client.create(
        work,
        {"lr": 3e-4, "words": ["ä", None]},
        name="first",
        priority=-7,
        labels={"project": "x"},
        context={"step": 0},
        max_retries=5,
        retry_interval="250ms",
        max_running_time="1h 30m",
        not_before="10m",
        success_if="result.loss < 0.5",
        resources=Resources(worker_labels={"disk": "ssd"}),
        cpus=1.5,
        memory="2GiB",
    )
    assert client.get(task) == task == client.get(task.id)
    assert task.payload == {"lr": 3e-4, "words": ["ä", None]}
    assert (task.name, task.priority, task.labels) == ("first", -7, {"project": "x"})
    assert (task.context, task.result, task.stage) == ({"step": 0}, None, "")
    assert task.state is State.SCHEDULED and not task.done
    assert task.state == "SCHEDULED"
    assert task.max_running_time == timedelta(minutes=90)
    assert task.create_time is not None and before < task.create_time
    assert task.due_time is not None
    assert timedelta(minutes=9) < task.due_time - task.create_time < timedelta(minutes=11)
    assert (task.start_time, task.finish_time, task.failure) == (None, None, None)
    assert task.proto.retry.max_retries == 5
    assert task.proto.retry.interval.ToTimedelta() == timedelta(milliseconds=250)
    needed = task.proto.resources
    assert (needed.cpus, needed.memory_bytes) == (1.5, 2 << 30)
    assert needed.worker_labels == {"disk": "ssd"}


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [(b"\x00\xff", ""), ("text", "application/json"), (0, "application/json"), (None, "")],
)
def test_payloads(client: Client, work: str, payload: object, content_type: str) -> None:
    task = client.create(work, payload)
    assert task.payload == payload
    assert task.proto.payload.content_type == content_type
    assert task.proto.HasField("payload") == (payload is not None)


def test_a_content_is_sent_as_it_is(client: Client, work: str) -> None:
    task = client.create(work, Content(data=b"a,b", content_type="text/csv"))
    assert (task.payload, task.proto.payload.content_type) == ("a,b", "text/csv")


def test_command(client: Client, work: str) -> None:
    words = ["python", "train.py", "--lr", "1"]
    task = client.create(work, command=Command(words, environment={"A": "b"}))
    assert [task.proto.command.program, *task.proto.command.args] == words
    assert task.proto.command.environment == {"A": "b"}


def test_the_same_request_gives_the_same_task(client: Client, work: str) -> None:
    first = client.create(work, 1, request_id=f"r-{work}")
    assert client.create(work, 1, request_id=f"r-{work}").id == first.id
    assert client.create(work, 1).id != first.id
    with pytest.raises(errors.AlreadyExists) as caught:
        client.create(work, 2, request_id=f"r-{work}")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_validate_only_makes_nothing(client: Client, work: str) -> None:
    task = client.create(TaskSpec(work, 1, priority=3), validate_only=True)
    assert (task.id, task.priority) == ("", 3)
    assert client.count(work).total == 0


def test_all_violations_are_told(client: Client, work: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.create(work, name="n" * 129, priority=1001, labels={"A B": ""})
    error = caught.value
    fields = {violation.field for violation in error.violations}
    assert fields == {"task.name", "task.priority", "task.labels[0].key"}
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELDS")
    assert not error.retryable
    for violation in error.violations:
        assert f"{violation.field}: {violation.description}" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)


def test_unknown_type_and_task(client: Client, work: str) -> None:
    with pytest.raises(errors.NotFound, match="ensure_type") as caught:
        client.create("never_made")
    assert caught.value.reason == "UNKNOWN_TASK_TYPE"
    task = client.create(work)
    client.cancel(task)
    client.delete(task)
    with pytest.raises(errors.NotFound) as gone:
        client.get(task)
    assert gone.value.reason == "TASK_NOT_FOUND"


def test_create_many_is_all_or_none(client: Client, work: str) -> None:
    tasks = client.create_many(TaskSpec(work, number) for number in range(20))
    assert [client.get(task).payload for task in tasks[::7]] == [0, 7, 14]
    with pytest.raises(errors.InvalidArgument) as caught:
        client.create_many([TaskSpec(work), TaskSpec(work, priority=5000)])
    assert [one.field for one in caught.value.violations] == ["requests[1].task.priority"]
    assert client.count(work).total == 20


def test_list_fetches_page_by_page(client: Client, work: str) -> None:
    client.create_many(TaskSpec(work, n, labels={"odd": str(n % 2)}) for n in range(25))
    client.create(work, not_before="1h")
    listed = [task.id for task in client.list(task_type=work, page_size=4)]
    assert len(listed) == len(set(listed)) == 26
    odd = list(client.list(task_type=work, labels={"odd": "1"}, full=True))
    assert sorted(int(str(task.payload)) for task in odd) == list(range(1, 25, 2))
    scheduled = client.list(task_type=work, state=[State.SCHEDULED, State.PAUSED])
    assert [task.state for task in scheduled] == [State.SCHEDULED]
    now = datetime.now(timezone.utc)
    later, sooner = now + timedelta(hours=1), now - timedelta(hours=1)
    assert not list(client.list(task_type=work, created_after=later))
    inside = client.list(f"task_type = {work}", created_after=sooner, created_before=later)
    assert len(list(inside)) == 26
    with pytest.raises(errors.InvalidArgument):
        next(client.list("colour = blue"))


def test_count(client: Client, work: str) -> None:
    client.create_many(TaskSpec(work) for _ in range(3))
    client.cancel(client.create(work))
    counts = client.count(work)
    assert (counts.total, counts.by_type) == (4, {work: 4})
    assert counts.by_state == {State.PENDING: 3, State.CANCELLED: 1}
    assert client.count(work, states=[State.CANCELLED]).total == 1


def test_update_pause_resume_cancel_retry_delete(client: Client, work: str) -> None:
    first = client.create(work, name="old", max_running_time="5m")
    task = client.update(
        first, etag=first.etag, name="new", priority=9, max_retries=0, max_running_time=None
    )
    assert (task.name, task.priority, task.max_running_time) == ("new", 9, None)
    assert task.proto.retry.max_retries == 0
    with pytest.raises(errors.Aborted):
        client.update(task, etag=first.etag, name="newer")
    with pytest.raises(TypeError, match="colour"):
        client.update(task, colour="blue")  # type: ignore[call-arg]
    assert client.pause(task).state is State.PAUSED
    assert client.resume(task).state is State.PENDING
    assert client.cancel(task, "not needed").state is State.CANCELLED
    with pytest.raises(errors.FailedPrecondition):
        client.pause(task)
    again = client.retry(task)
    assert (again.state, again.run) == (State.PENDING, 1)
    client.cancel(task)
    client.delete(task)
    assert client.count(work).total == 0


def test_signals_and_predecessors(client: Client, work: str) -> None:
    first, other = client.create(work), client.create(work)
    second = client.create(work, after=[first], after_any_end=[other.id], signals=["go"])
    assert second.state is State.BLOCKED
    assert set(client.get(second).waits_for) == {first.id, other.id, "signal go"}
    client.signal(second, "go", {"by": "hand"})
    assert set(client.get(second).waits_for) == {first.id, other.id}


def test_waits_end(client: Client, work: str) -> None:
    task = client.create(work)
    begin = datetime.now()
    assert client.wait(task, timeout=0.3).state is State.PENDING
    assert datetime.now() - begin > timedelta(seconds=0.25)
    with pytest.raises(TimeoutError, match="PENDING"):
        client.result(task, timeout="100ms")
    client.cancel(task)
    assert client.wait(task).state is State.CANCELLED
    with pytest.raises(errors.TaskCancelled) as caught:
        client.result(task)
    assert caught.value.task.id == task.id
    assert str(caught.value) == f"task {task.id} is CANCELLED"


def test_results_attempts_and_logs_of_a_command(dev: stack.Server) -> None:
    with Client(dev.address) as client:
        client.ensure_type("script", max_retries=0)
        event = '{"event": "result", "data": {"loss": 0.25}}'
        script = f"echo out; echo err >&2; echo '{event}' >> $ASYNCFLOW_EVENTS"
        task = client.create("script", command=["sh", "-c", script])
        assert client.result(task, timeout="60s") == {"loss": 0.25}
        logs = list(client.logs(task))
        written = {name: b"" for name in ("stdout", "stderr")}
        for chunk in logs:
            written[chunk.stream] += chunk.data
            assert chunk.attempt == 1 and chunk.time is not None
        assert written == {"stdout": b"out\n", "stderr": b"err\n"}
        [attempt] = client.attempts(task)
        assert (attempt.number, attempt.outcome, attempt.exit_code) == (1, "SUCCEEDED", 0)
        assert attempt.failure is None and attempt.end_time is not None
        assert "ended" in str(client.explain(task)) or client.explain(task).reasons


def test_a_failure_is_told(dev: stack.Server) -> None:
    with Client(dev.address) as client:
        client.ensure_type("script", max_retries=0)
        task = client.create("script", command=["sh", "-c", "exit 65"])
        with pytest.raises(TaskFailed, match=task.id) as caught:
            client.result(task, timeout="60s")
        failure = caught.value.task.failure
        assert failure is not None and failure.reason == "PERMANENT"
        assert client.attempts(task)[0].exit_code == 65


def test_types(client: Client, work: str) -> None:
    assert client.ensure_type(work, max_retries=9).retry.max_retries == 2
    changed = client.update_type(
        work, description="d", max_retries=4, retention="30d", max_running_time=None
    )
    assert (changed.description, changed.retry.max_retries) == ("d", 4)
    assert changed.retention.ToTimedelta() == timedelta(days=30)
    assert work in [one.name for one in client.list_types()]
    with pytest.raises(errors.AlreadyExists):
        client.create_type(work)
    assert not list(client.list_workers())


def test_the_stubs_have_the_same_retries_and_errors(client: Client, work: str) -> None:
    from asyncflow.v1 import broker_service_pb2, workflow_pb2

    with pytest.raises(errors.NotFound):
        client.stub.broker.GetTaskType(broker_service_pb2.GetTaskTypeRequest(name="never_made"))
    spec = workflow_pb2.WorkflowSpec(name="w")
    node = spec.nodes.add(name="only")
    node.task.task_type = work
    request = workflow_pb2.CreateWorkflowRequest(workflow=spec)
    first = client.stub.broker.CreateWorkflow(request)
    assert first.workflow.id and not request.request_id
    second = client.stub.broker.CreateWorkflow(request)
    assert second.workflow.id != first.workflow.id


def test_requests_of_the_callers_own(client: Client, work: str) -> None:
    requests = [
        CreateRequest(task=TaskSpec(work, n).to_proto(), request_id=f"{work}-{n}") for n in range(3)
    ]
    first, second = client.create_many(requests), client.create_many(requests)
    assert [task.id for task in first] == [task.id for task in second]
