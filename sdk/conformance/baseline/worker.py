"""A small worker on the released stubs, with the handlers that every runner has."""

import json
import secrets
import threading
import time

import grpc
from calls import open_channel, repeat
from stubs import Service, details_of, message

ACQUIRE_WAIT_SECONDS = 2
SETTLE_SECONDS_MAX = 60


class Stopped(Exception):
    """The attempt ends because it was told to."""


class Failure(Exception):
    """The attempt fails."""

    def __init__(self, text, permanent=False, after=None):
        super().__init__(text)
        self.permanent = permanent
        self.after = after


class Attempt:
    """A leased task and what its handler may do."""

    def __init__(self, worker, leased):
        self.worker = worker
        self.lease = leased.lease
        self.task = leased.task
        self.number = leased.lease.attempt
        self.stop = threading.Event()
        self.why = None

    def tell(self, why):
        """Tells the handler to stop: `cancel`, `lost` or `drain`; being lost overrules."""
        if self.why != "lost":
            self.why = why
        self.stop.set()

    def save(self, context, stage=None):
        """Saves; Stopped when the lease is lost."""
        request = message("asyncflow.v1.SaveContextRequest")(lease=self.lease)
        request.context.CopyFrom(content(context))
        if stage is not None:
            request.stage = stage
        try:
            self.worker.call("SaveContext", request, self.stop.is_set)
        except grpc.RpcError as error:
            if details_of(error)[0] == "LEASE_LOST":
                self.tell("lost")
            if self.stop.is_set():
                raise Stopped from error
            raise

    def progress(self, percent):
        """Says how far it is."""
        request = message("asyncflow.v1.ReportProgressRequest")()
        report = request.reports.add(lease=self.lease)
        report.progress.percent = percent
        self.worker.call("ReportProgress", request)


def content(value):
    """A Content of JSON."""
    made = message("asyncflow.v1.Content")(content_type="application/json")
    made.data = json.dumps(value).encode()
    return made


def echo(attempt):
    return attempt.task.payload


def stages(attempt):
    if attempt.number == 1:
        attempt.save({"step": 1}, "one")
        raise Failure("as the scenario wants it")
    step = json.loads(attempt.task.context.data)["step"]
    return content({"stage": attempt.task.stage, "step": step, "attempt": attempt.number})


def until_stopped(attempt):
    attempt.progress(10)
    attempt.stop.wait()
    raise Stopped


def retry_later(attempt):
    if attempt.number == 1:
        raise Failure("not now", after=1)
    return content({"attempt": attempt.number})


def permanent(_):
    raise Failure("never", permanent=True)


def save_until_lost(attempt):
    number = 0
    while attempt.number == 1:
        number += 1
        attempt.save({"n": number})
        if attempt.stop.wait(0.1):
            raise Stopped
    return content({"attempt": attempt.number})


HANDLERS = {
    one.__name__: one
    for one in (echo, stages, until_stopped, retry_later, permanent, save_until_lost)
}


class Worker:
    """Registers, acquires, renews and settles, in threads; returns when it has registered."""

    def __init__(self, address, handlers, slots):
        unknown = set(handlers.values()) - set(HANDLERS)
        if unknown:
            raise ValueError(f"no such handler: {unknown}")
        self._handlers = {name: HANDLERS[handler] for name, handler in handlers.items()}
        self._slots = slots
        self._channel = open_channel(address)
        self._service = Service(self._channel, "WorkerService")
        self._id = f"baseline-{secrets.token_hex(6)}"
        self._incarnation = secrets.token_hex(8)
        self._lock = threading.Condition()
        self._running = {}
        self._closing = threading.Event()
        self._ended = threading.Event()
        self._register()
        for work in (self._acquire_all, self._heartbeat_all):
            threading.Thread(target=work, daemon=True).start()

    def _register(self):
        request = message("asyncflow.v1.RegisterWorkerRequest")()
        request.worker_id, request.incarnation = self._id, self._incarnation
        request.slots, request.version = self._slots, "baseline"
        request.task_types.extend(self._handlers)
        with self._lock:
            request.adopted.extend(attempt.lease for attempt in self._running.values())
        answer = repeat(self._service.RegisterWorker, request)
        self._session = answer.session_id
        self._interval = answer.heartbeat_interval.seconds or 1

    def call(self, name, request, is_over=lambda: False, seconds=30.0):
        """A call with the session, which is opened anew when the broker does not know it."""
        for _ in range(3):
            request.session_id = self._session
            try:
                return repeat(getattr(self._service, name), request, seconds, is_over)
            except grpc.RpcError as error:
                if details_of(error)[0] != "UNKNOWN_SESSION":
                    raise
                self._register()
        raise RuntimeError("the session is lost again and again")

    def _acquire_all(self):
        while not self._closing.is_set():
            with self._lock:
                self._lock.wait_for(lambda: len(self._running) < self._slots, timeout=0.5)
                free = self._slots - len(self._running)
            if free <= 0 or self._closing.is_set():
                continue
            request = message("asyncflow.v1.AcquireTasksRequest")()
            request.acquire_id, request.max_tasks = secrets.token_hex(8), free
            request.wait.seconds = ACQUIRE_WAIT_SECONDS
            try:
                answer = self.call("AcquireTasks", request, self._ended.is_set)
            except grpc.RpcError:
                time.sleep(0.2)
                continue
            for leased in answer.tasks:
                self._start(Attempt(self, leased))

    def _start(self, attempt):
        with self._lock:
            self._running[(attempt.lease.task_id, attempt.number)] = attempt
        if self._closing.is_set():
            attempt.tell("drain")
        threading.Thread(target=self._run, args=[attempt], daemon=True).start()

    def _run(self, attempt):
        try:
            started = message("asyncflow.v1.StartTasksRequest")(leases=[attempt.lease])
            self._follow(self.call("StartTasks", started).leases)
            name, request = self._outcome(attempt)
            if attempt.why != "lost":
                self.call(name, request, lambda: attempt.why == "lost", SETTLE_SECONDS_MAX)
        except (grpc.RpcError, ValueError):
            # Lost meanwhile, or the broker stays away, or the channel is closed since this did not
            # end in time: the lease ends by itself.
            pass
        finally:
            with self._lock:
                self._running.pop((attempt.lease.task_id, attempt.number), None)
                self._lock.notify_all()

    def _outcome(self, attempt):
        make = lambda name: message(f"asyncflow.v1.{name}TaskRequest")(lease=attempt.lease)
        try:
            request = make("Complete")
            request.result.CopyFrom(self._handlers[attempt.task.task_type](attempt))
            return "CompleteTask", request
        except Failure as error:
            request = make("Fail")
            request.failure.message, request.permanent = str(error), error.permanent
            request.failure.reason = 2 if error.permanent else 1
            if error.after is not None:
                request.retry_after.seconds = error.after
            return "FailTask", request
        except Stopped:
            if attempt.why == "drain":
                return "ReleaseTask", make("Release")
            request = make("Fail")
            request.failure.reason = 6
            return "FailTask", request

    def _follow(self, statuses):
        for status in statuses:
            with self._lock:
                attempt = self._running.get((status.lease.task_id, status.lease.attempt))
            if attempt and status.verdict in (2, 3):
                attempt.tell("cancel" if status.verdict == 2 else "lost")

    def _heartbeat_all(self):
        while not self._ended.wait(self._interval):
            request = message("asyncflow.v1.HeartbeatRequest")(draining=self._closing.is_set())
            with self._lock:
                request.leases.extend(attempt.lease for attempt in self._running.values())
            try:
                answer = self.call("Heartbeat", request, self._ended.is_set, seconds=5.0)
            except grpc.RpcError:
                continue
            self._follow(answer.leases)

    def stop(self, drain_s=0, timeout_s=15):
        """Stops it gracefully; whether it ended in time."""
        end = time.monotonic() + timeout_s
        self._closing.set()
        with self._lock:
            self._lock.wait_for(lambda: not self._running, min(drain_s, timeout_s))
            for attempt in self._running.values():
                attempt.tell("drain")
            self._lock.wait_for(lambda: not self._running, max(0, end - time.monotonic()))
            well = not self._running
        self._ended.set()
        if well:
            request = message("asyncflow.v1.DeregisterWorkerRequest")()
            try:
                self.call("DeregisterWorker", request, seconds=2.0)
            except grpc.RpcError:
                pass
        self._channel.close()
        return well
