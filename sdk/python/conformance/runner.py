"""The runner of the Python SDK: does the steps of the scenarios by `asyncflow.Client`."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

from google.protobuf import json_format
from story import CallFailed, Failed, main

from asyncflow import BrokerError, Client
from asyncflow.client.task import state_of
from asyncflow.v1 import broker_service_pb2, task_pb2
from worker import Worker


def told(message: Any) -> dict[str, Any]:
    """A message as proto JSON with the names of the proto."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def failed(error: BrokerError) -> CallFailed:
    """An error as the stories know it."""
    fields = [violation.field for violation in error.violations]
    return CallFailed(error.code, error.reason, fields, error.retryable, error.message)


class Watch:
    """Collects the states of tasks in the background."""

    def __init__(self, changes: Any) -> None:
        self._changes = changes
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self.states: list[str] = []
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        try:
            for change in self._changes:
                with self._changed:
                    state = told(change.proto).get("task", {}).get("state")
                    if state and self.states[-1:] != [state]:
                        self.states.append(state)
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def until(self, state: str, seconds: float) -> list[str]:
        """Waits until this is the last state."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self.states[-1:] == [state], seconds)
            if self._error or self.states[-1:] != [state]:
                raise Failed(f"{state} did not come: {self.states} {self._error or ''}")
            return list(self.states)


class Player:
    """Does the steps."""

    def __init__(self) -> None:
        self._client = Client()
        self._watches: dict[str, Watch] = {}
        self._workers: dict[str, Worker] = {}

    def _within(self, deadline_ms: float | None) -> Client:
        if deadline_ms is None:
            return self._client
        return self._client.with_options(timeout=deadline_ms / 1000)

    def _call(self, call: Any, *args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except BrokerError as error:
            raise failed(error) from error

    def _spec(self, task: dict[str, Any]) -> task_pb2.TaskSpec:
        return json_format.ParseDict(task, task_pb2.TaskSpec())

    def _create_type(self, task_type: dict[str, Any]) -> None:
        message = json_format.ParseDict(task_type, task_pb2.TaskType())
        request = broker_service_pb2.CreateTaskTypeRequest(task_type=message)
        self._call(self._client.stub.broker.CreateTaskType, request)

    def create(
        self, task: Any, request_id: str | None = None, deadline_ms: float | None = None
    ) -> Any:
        client = self._within(deadline_ms)
        return told(self._call(client.create, self._spec(task), request_id=request_id).proto)

    def batch_create(self, tasks: Any, deadline_ms: float | None = None) -> Any:
        made = self._call(self._within(deadline_ms).create_many, map(self._spec, tasks))
        return {"tasks": [told(task.proto) for task in made]}

    def stream_create(self, tasks: Any) -> Any:
        results = []
        for one in self._call(lambda: list(self._client.stream(map(self._spec, tasks)))):
            if one.error is None:
                results.append({"task_id": one.task_id})
            else:
                results.append({"error": {"code": one.error.code, "reason": one.error.reason}})
        return {"results": results}

    def get(self, task: str, deadline_ms: float | None = None) -> Any:
        return told(self._call(self._within(deadline_ms).get, task).proto)

    def list(self, filter: str, page_size: int = 0) -> Any:
        tasks = self._call(lambda: [*self._client.list(filter, page_size=page_size)])
        return {"tasks": [told(task.proto) for task in tasks]}

    def count(self, task_type: str, states: Any = ()) -> Any:
        chosen = [state_of(task_pb2.TaskState.Value(state)) for state in states]
        return {"total": self._call(self._client.count, task_type, states=chosen).total}

    def cancel(self, task: str, deadline_ms: float | None = None) -> Any:
        return told(self._call(self._within(deadline_ms).cancel, task).proto)

    def retry(self, task: str, deadline_ms: float | None = None) -> Any:
        return told(self._call(self._within(deadline_ms).retry, task).proto)

    def wait(self, task: str, timeout_s: float, deadline_ms: float | None = None) -> Any:
        if deadline_ms is None:
            return told(self._call(self._client.wait, task, timeout_s).proto)
        # A wait has its own time; the deadline of the whole call is for the stub to take.
        request = broker_service_pb2.WaitTaskRequest(task_id=task)
        request.timeout.FromMilliseconds(int(timeout_s * 1000))
        stub = self._client.stub.broker
        return told(self._call(stub.WaitTask, request, timeout=deadline_ms / 1000).task)

    def attempts(self, task: str) -> Any:
        return {"attempts": [told(one.proto) for one in self._call(self._client.attempts, task)]}

    def logs(self, task: str) -> Any:
        chunks = self._call(lambda: [*self._client.logs(task)])
        return {"text": b"".join(chunk.data for chunk in chunks).decode()}

    def watch_begin(self, watch: str, task: str | None = None, filter: str = "") -> Any:
        changes = self._client.watch(task or (), filter=filter, until_done=False)
        self._watches[watch] = Watch(changes)
        return {}

    def watch_until(self, watch: str, state: str, timeout_s: float) -> Any:
        return {"states": self._watches[watch].until(state, timeout_s)}

    def worker_start(self, worker: str, handlers: dict[str, str], slots: int = 1) -> Any:
        self._workers[worker] = Worker(self._client, handlers, slots)
        return {}

    def worker_stop(self, worker: str, drain_s: float = 0, timeout_s: float = 15) -> Any:
        self._workers.pop(worker).stop(drain_s, timeout_s)
        return {}

    def control(self, **order: Any) -> Any:
        address = os.environ["ASYNCFLOW_CONFORMANCE_CONTROL"]
        try:
            with urllib.request.urlopen(address, json.dumps(order).encode(), timeout=120):
                return {}
        except urllib.error.HTTPError as error:
            raise Failed(f"{order}: {error.read().decode()}") from error

    def _close(self) -> None:
        for worker in self._workers.values():
            worker.kill()
        self._client.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Player))
