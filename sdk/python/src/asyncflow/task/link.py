"""To whom a context talks: the worker that has started this program, or nobody."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import time
from typing import Any, Callable, Mapping, Optional, Protocol, Sequence, Union, cast

from asyncflow.task.errors import LeaseLost, Preempted, Refused
from asyncflow.task.events import EventsFile, TooLong
from asyncflow.task.files import atomic_file
from asyncflow.task.socket_call import CallError, NoAnswer, SocketCaller
from asyncflow.task.surroundings import Surroundings

# How long a save waits for a broker that is away, and for a worker that is being restarted.
SAVE_WAIT_S = 60.0
RECONNECT_WAIT_S = 10.0
# The same after one that was in vain: a training does not stand still through an outage.
DEGRADED_WAIT_S = 2.0
# The same while the task is told to stop: what is in the events file still counts.
STOPPING_WAIT_S = 3.0
REPORT_WAIT_S = 2.0
# Between reports by the events file, which grows with each.
FILE_REPORT_EVERY_S = 10.0
_PAUSE_MAX_S = 0.5
_LOST = ("LEASE_LOST", "NOT_YOUR_LEASE")


class Link(Protocol):
    """What a context says, and to whom."""

    def save(self, context: str, stage: Optional[str]) -> bool:
        """Saves context, a JSON text, and the stage that is done; whether a broker has it."""
        ...

    def report(
        self, percent: Optional[float], message: str, metrics: Mapping[str, float]
    ) -> None:
        """Says how far it is. Never raises."""
        ...

    def set_result(self, result: str) -> None:
        """Sets the result, a JSON text, which counts if the program ends with 0."""
        ...

    def set_wait(self, children: bool, signals: Sequence[str]) -> None:
        """Sets what the task waits for if the program ends with 85."""
        ...

    def hand_over(self, context: Optional[str], message: str) -> None:
        """Gives the task away when the program ends."""
        ...

    def explain(self, message: str, retry_after_s: Optional[float]) -> None:
        """Why the task fails, if the program then ends with a failure. Never raises."""
        ...

    def create_children(
        self, key: str, tasks: Sequence[Mapping[str, Any]], max_parallel: int
    ) -> None:
        """Makes tasks as children of this one; the same key makes them once."""
        ...

    def list_children(self, key: str) -> list[dict[str, Any]]:
        """What was made under the key, in its order."""
        ...


def content(text: str) -> dict[str, str]:
    """A JSON text as the message Content. In bytes: what is read is then exactly what was saved."""
    data = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return {"data": data, "content_type": "application/json"}


class WorkerLink:
    """By the worker's socket, and by the events file where that does not answer.

    Once something had to go to the file, everything that is saved later goes there too, before it
    goes to the socket: the worker reads the file at its own pace, and must not find an older
    context at its end.
    """

    def __init__(
        self, found: Surroundings, is_stopping: Callable[[], object], save_wait_s: float
    ) -> None:
        self._events = EventsFile(found.events_path)
        self._is_stopping = is_stopping
        self._save_wait_s = save_wait_s
        self._uses_file = not found.socket_path
        self._is_degraded = False
        self._report_to_file_at = 0.0
        caller = SocketCaller(found.socket_path, found.token)
        self._caller = caller if found.socket_path else None
        # Reports must not stand in line behind a save that waits for a broker.
        reporter = SocketCaller(found.socket_path, found.token)
        self._reporter = reporter if found.socket_path else None

    def save(self, context: str, stage: Optional[str]) -> bool:
        body: dict[str, Any] = {"context": content(context)}
        event: dict[str, Any] = {"event": "context", "data": json.loads(context)}
        if stage is not None:
            body["stage"] = event["stage"] = stage
        return self._tell("saveContext", body, event, "the context")

    def set_result(self, result: str) -> None:
        event = {"event": "result", "data": json.loads(result)}
        self._tell("setResult", {"result": content(result)}, event, "the result", is_final=True)

    def set_wait(self, children: bool, signals: Sequence[str]) -> None:
        wait_for = {"children": children, "signals": list(signals)}
        event = {"event": "wait", **wait_for}
        self._tell("setWait", {"wait_for": wait_for}, event, "the wait", is_final=True)

    def hand_over(self, context: Optional[str], message: str) -> None:
        body: dict[str, Any] = {"message": message}
        event: dict[str, Any] = {"event": "hand_over", "message": message}
        if context is not None:
            body["context"] = content(context)
            event["data"] = json.loads(context)
        self._tell("handOver", body, event, "the hand-over", is_final=True)

    def explain(self, message: str, retry_after_s: Optional[float]) -> None:
        event: dict[str, Any] = {"event": "failure", "message": message}
        if retry_after_s is not None:
            event["retry_after_s"] = retry_after_s
        with contextlib.suppress(Exception):
            self._events.append(event, sync=False)

    def create_children(
        self, key: str, tasks: Sequence[Mapping[str, Any]], max_parallel: int
    ) -> None:
        body = {"key": key, "tasks": list(tasks), "max_parallel": max_parallel}
        self._ask("POST", "/v1/attempt:createChildren", body)

    def list_children(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        query = {"key": key, "page_size": 64}
        while True:
            page = self._ask("GET", "/v1/attempt:listChildren", None, query)
            found += cast("list[dict[str, Any]]", page.get("children") or [])
            query["page_token"] = page.get("next_page_token") or ""
            if not query["page_token"]:
                return found

    def report(
        self, percent: Optional[float], message: str, metrics: Mapping[str, float]
    ) -> None:
        with contextlib.suppress(Exception):
            if self._reporter is None:
                self._report_to_file(percent, message, metrics)
                return
            progress: dict[str, Any] = {"message": message, "metrics": dict(metrics)}
            if percent is not None:
                progress["percent"] = percent
            body = {"progress": progress}
            try:
                self._reporter.call(
                    "POST", "/v1/attempt:reportProgress", body, wait_s=REPORT_WAIT_S
                )
            except (NoAnswer, CallError):
                now = time.monotonic()
                if now >= self._report_to_file_at:
                    self._report_to_file_at = now + FILE_REPORT_EVERY_S
                    self._report_to_file(percent, message, metrics)

    def _report_to_file(
        self, percent: Optional[float], message: str, metrics: Mapping[str, float]
    ) -> None:
        event: dict[str, Any] = {"event": "progress", "message": message}
        if percent is not None:
            event["percent"] = percent
        if percent is not None or message:
            self._events.append(event, sync=False)
        if metrics:
            self._events.append({"event": "metrics", "values": dict(metrics)}, sync=False)

    def _tell(
        self, method: str, body: Any, event: Mapping[str, Any], what: str, *, is_final: bool = False
    ) -> bool:
        """Whether a broker has it; else the events file has.

        What fits into neither is left out if it is a context: a later one will do. What is final
        is repeated until it is answered, or the task is told to stop.
        """
        unkept = self._into_file(event) if self._uses_file else None
        if self._caller is None:
            if unkept is not None:
                raise unkept
            return False
        while True:
            wait_s = DEGRADED_WAIT_S if self._is_degraded else self._save_wait_s
            try:
                self._call("POST", f"/v1/attempt:{method}", body, None, wait_s)
                self._is_degraded = False
                return True
            except (NoAnswer, CallError) as error:
                if isinstance(error, CallError) and not error.is_passing:
                    raise Refused(f"{what} is not accepted: {error}") from error
                if not self._uses_file:
                    unkept = self._into_file(event)
                    self._uses_file = not isinstance(unkept, TooLong)
                self._warn(what, error, unkept)
                if unkept is None:
                    return False
                if not is_final and isinstance(unkept, TooLong):
                    return False
                if not is_final or not error.is_passing:
                    raise unkept from error
            self._pause(f"{what} could not be told to a broker")

    def _into_file(self, event: Mapping[str, Any]) -> Union[TooLong, OSError, None]:
        """Why it is not there, if it is not."""
        try:
            self._events.append(event, sync=True)
        except (TooLong, OSError) as error:
            return error
        return None

    def _warn(self, what: str, error: Exception, unkept: Optional[Exception]) -> None:
        if not self._is_degraded:
            self._is_degraded = True
            where = f"nowhere, for {unkept}" if unkept else "in the events file"
            text = f"asyncflow: {what} is {where} and not at a broker yet: {error}"
            print(text, file=sys.stderr, flush=True)

    def _pause(self, otherwise: str) -> None:
        """Before something is asked again that must be answered."""
        if self._is_stopping():
            raise Preempted(f"told to stop: {otherwise}")
        time.sleep(_PAUSE_MAX_S)

    def _ask(
        self, verb: str, path: str, body: Any, query: Optional[Mapping[str, Any]] = None
    ) -> dict[str, Any]:
        """For what the events file cannot say: repeated until it is answered, or the task is told
        to stop."""
        if self._caller is None:
            raise NoAnswer("this needs the worker's socket, and ASYNCFLOW_SOCKET is not set")
        while True:
            try:
                found = self._call(verb, path, body, query, self._save_wait_s)
                self._is_degraded = False
                return found
            except (NoAnswer, CallError) as error:
                if not error.is_passing and isinstance(error, CallError):
                    raise Refused(str(error)) from error
                if not error.is_passing:
                    raise
                if not self._is_degraded:
                    self._is_degraded = True
                    print(f"asyncflow: waits for a broker: {error}", file=sys.stderr, flush=True)
            self._pause("a call about its children was not answered")

    def _call(
        self,
        verb: str,
        path: str,
        body: Any,
        query: Optional[Mapping[str, Any]],
        wait_s: float,
    ) -> dict[str, Any]:
        """Repeats what may pass; all calls can be repeated without harm."""
        caller = cast(SocketCaller, self._caller)
        begun = time.monotonic()
        reconnect_until = begun + min(wait_s, RECONNECT_WAIT_S)
        stopping_since: list[float] = []

        def give_up() -> bool:
            if not self._is_stopping():
                return False
            if not stopping_since:
                stopping_since.append(time.monotonic())
            return time.monotonic() >= stopping_since[0] + STOPPING_WAIT_S

        pause_s = 0.02
        while True:
            left_s = begun + wait_s - time.monotonic()
            try:
                return caller.call(verb, path, body, query, wait_s=left_s, give_up=give_up)
            except NoAnswer as error:
                if not error.is_passing or time.monotonic() >= reconnect_until or give_up():
                    raise
            except CallError as error:
                # A worker that has not been told why the lease is lost gives no reason.
                is_lost = error.status == "ABORTED" and not error.reason and not error.is_passing
                if error.reason in _LOST or is_lost:
                    raise LeaseLost(str(error)) from None
                if not error.is_passing or time.monotonic() >= reconnect_until or give_up():
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)


class LocalLink:
    """Outside of a worker: nobody listens. Keeps the context in a file, if there is one to keep."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def save(self, context: str, stage: Optional[str]) -> bool:
        if not self._path:
            return False
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        with atomic_file(self._path, "w", encoding="utf-8") as file:
            file.write(context)
        return True

    def report(
        self, percent: Optional[float], message: str, metrics: Mapping[str, float]
    ) -> None:
        pass

    def set_result(self, result: str) -> None:
        pass

    def forget(self) -> None:
        """The next run begins anew."""
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def set_wait(self, children: bool, signals: Sequence[str]) -> None:
        pass

    def hand_over(self, context: Optional[str], message: str) -> None:
        if context is not None:
            self.save(context, None)

    def explain(self, message: str, retry_after_s: Optional[float]) -> None:
        pass

    def create_children(
        self, key: str, tasks: Sequence[Mapping[str, Any]], max_parallel: int
    ) -> None:
        raise RuntimeError("only a task that a worker runs can make children; submit it first")

    def list_children(self, key: str) -> list[dict[str, Any]]:
        raise RuntimeError("only a task that a worker runs has children; submit it first")
