"""The runner of the released stubs: an old client and an old worker against this broker."""

import json
import os
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from calls import open_channel, repeat, waits
from google.protobuf import json_format
from stubs import POOL, Service, details_of, message
from worker import Worker

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from story import CallFailed, Failed, Skipped, main  # noqa: E402

WAIT_ROUND_SECONDS = 20
ENDED = ("TASK_STATE_SUCCEEDED", "TASK_STATE_FAILED", "TASK_STATE_CANCELLED")


def parse(name, value):
    """A message from proto JSON."""
    made = message(f"asyncflow.v1.{name}")()
    return json_format.ParseDict(value, made, descriptor_pool=POOL)


def tell(answer):
    """A message as proto JSON with the names of the proto."""
    return json_format.MessageToDict(
        answer, preserving_proto_field_name=True, descriptor_pool=POOL
    )


class Watch:
    """A watch that goes on after a break, and keeps the states that came."""

    def __init__(self, service, request):
        self._service = service
        self._request = request
        self._changed = threading.Condition()
        self._stream = None
        self._closed = False
        self.states = []
        self.error = None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        pauses = waits()
        while not self._closed:
            try:
                self._stream = self._service.WatchTasks(self._request, wait_for_ready=True)
                for answer in self._stream:
                    self._take(answer)
                    pauses = waits()
            except grpc.RpcError as error:
                if not details_of(error)[2] and error.code() is not grpc.StatusCode.UNKNOWN:
                    with self._changed:
                        self.error = error
                        self._changed.notify_all()
                    return
            time.sleep(next(pauses))

    def _take(self, answer):
        if answer.resume_token:
            self._request.resume_token = answer.resume_token
        state = tell(answer).get("task", {}).get("state")
        with self._changed:
            if state and self.states[-1:] != [state]:
                self.states.append(state)
            self._changed.notify_all()

    def until(self, state, seconds):
        """Waits until this is the last state."""
        with self._changed:
            done = lambda: self.error or self.states[-1:] == [state]
            if not self._changed.wait_for(done, seconds) or self.error:
                raise Failed(f"{state} did not come: {self.states} {self.error or ''}")
            return list(self.states)

    def close(self):
        """Ends it."""
        self._closed = True
        if self._stream:
            self._stream.cancel()


class Player:
    """Does the steps."""

    def __init__(self):
        self._address = os.environ["ASYNCFLOW_BROKER"]
        self._channel = open_channel(self._address)
        self._broker = Service(self._channel, "BrokerService")
        self._watches = {}
        self._workers = {}

    def _call(self, name, request, deadline_ms=None):
        try:
            seconds = 30.0 if deadline_ms is None else deadline_ms / 1000
            return repeat(getattr(self._broker, name), request, seconds)
        except grpc.RpcError as error:
            reason, fields, again, _ = details_of(error)
            raise CallFailed(error.code().name, reason, fields, again, error.details()) from error

    def _of_task(self, name, task, deadline_ms=None, **fields):
        request = parse(f"{name}Request", {"task_id": task, **fields})
        return tell(self._call(name, request, deadline_ms).task)

    def _create_type(self, task_type):
        self._call("CreateTaskType", parse("CreateTaskTypeRequest", {"task_type": task_type}))

    def create(self, task, request_id=None, deadline_ms=None):
        request = {"task": task, "request_id": request_id or secrets.token_hex(16)}
        answer = self._call("CreateTask", parse("CreateTaskRequest", request), deadline_ms)
        return tell(answer.task)

    def batch_create(self, tasks, deadline_ms=None):
        requests = [{"task": task, "request_id": secrets.token_hex(16)} for task in tasks]
        request = parse("BatchCreateTasksRequest", {"requests": requests})
        answer = self._call("BatchCreateTasks", request, deadline_ms)
        return {"tasks": [tell(response.task) for response in answer.responses]}

    def stream_create(self, tasks):
        raise Skipped("StreamCreateTasks came after the released protocol")

    def get(self, task, deadline_ms=None):
        return self._of_task("GetTask", task, deadline_ms)

    def cancel(self, task, deadline_ms=None):
        return self._of_task("CancelTask", task, deadline_ms)

    def retry(self, task, deadline_ms=None):
        return self._of_task("RetryTask", task, deadline_ms)

    def _pages(self, name, field, request):
        request = parse(f"{name}Request", request)
        found = []
        while True:
            page = self._call(name, request)
            found += [tell(item) for item in getattr(page, field)]
            if not page.next_page_token:
                return {field: found}
            request.page_token = page.next_page_token

    def list(self, filter, page_size=0):
        return self._pages("ListTasks", "tasks", {"filter": filter, "page_size": page_size})

    def attempts(self, task):
        return self._pages("ListAttempts", "attempts", {"task_id": task, "page_size": 1})

    def count(self, task_type, states=()):
        request = parse("CountTasksRequest", {"task_type": task_type, "states": list(states)})
        return {"total": self._call("CountTasks", request).total}

    def wait(self, task, timeout_s, deadline_ms=None):
        end = time.monotonic() + timeout_s
        while True:
            left = max(0.0, end - time.monotonic())
            timeout = f"{min(left, WAIT_ROUND_SECONDS):.3f}s"
            answer = self._of_task("WaitTask", task, deadline_ms, timeout=timeout)
            if answer["state"] in ENDED or left <= WAIT_ROUND_SECONDS:
                return answer

    def watch_begin(self, watch, task=None, filter=""):
        request = {"task_ids": [task] if task else [], "filter": filter}
        self._watches[watch] = Watch(self._broker, parse("WatchTasksRequest", request))
        return {}

    def watch_until(self, watch, state, timeout_s):
        return {"states": self._watches[watch].until(state, timeout_s)}

    def worker_start(self, worker, handlers, slots=1):
        self._workers[worker] = Worker(self._address, handlers, slots)
        return {}

    def worker_stop(self, worker, drain_s=0, timeout_s=15):
        if not self._workers.pop(worker).stop(drain_s, timeout_s):
            raise Failed(f"{worker} did not end")
        return {}

    def control(self, **order):
        request = urllib.request.Request(
            os.environ["ASYNCFLOW_CONFORMANCE_CONTROL"], json.dumps(order).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=120):
                return {}
        except urllib.error.HTTPError as error:
            raise Failed(f"{order}: {error.read().decode()}") from error

    def _close(self):
        for watch in self._watches.values():
            watch.close()
        for worker in self._workers.values():
            worker.stop(timeout_s=5)
        self._channel.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Player))
