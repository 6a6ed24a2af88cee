"""What a program finds in its environment: docs/guide/script-protocol.md."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from typing import Any, Mapping, Optional, cast

_TAKEN = "ASYNCFLOW_PYTHON_TAKEN"


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """One attempt at a task, as its worker has described it; outside of a worker all is empty."""

    task_id: str = ""
    task_type: str = ""
    attempt: int = 0
    stage: str = ""
    context_path: str = ""
    payload_path: str = ""
    signals_path: str = ""
    events_path: str = ""
    stop_path: str = ""
    socket_path: str = ""
    token: str = dataclasses.field(default="", repr=False)

    @classmethod
    def read(cls, environment: Optional[Mapping[str, str]] = None) -> Surroundings:
        """From the environment of this process, or from another one."""
        found = os.environ if environment is None else environment
        attempt = found.get("ASYNCFLOW_ATTEMPT", "")
        return cls(
            task_id=found.get("ASYNCFLOW_TASK_ID", ""),
            task_type=found.get("ASYNCFLOW_TASK_TYPE", ""),
            attempt=int(attempt) if attempt.isdigit() else 0,
            stage=found.get("ASYNCFLOW_STAGE", ""),
            context_path=found.get("ASYNCFLOW_CONTEXT", ""),
            payload_path=found.get("ASYNCFLOW_PAYLOAD", ""),
            signals_path=found.get("ASYNCFLOW_SIGNALS", ""),
            events_path=found.get("ASYNCFLOW_EVENTS", ""),
            stop_path=found.get("ASYNCFLOW_STOP", ""),
            socket_path=found.get("ASYNCFLOW_SOCKET", ""),
            token=found.get("ASYNCFLOW_ATTEMPT_TOKEN", ""),
        )

    @property
    def in_worker(self) -> bool:
        """Whether a worker has started this program, or one of its parents."""
        return bool(self.task_id and self.events_path)

    def take(self) -> None:
        """This process does the attempt's work: its children, which inherit the environment, and
        another call in it, shall not take it for theirs."""
        os.environ[_TAKEN] = f"{self.task_id} {self.attempt} {os.getpid()}"

    def taken_by(self) -> Optional[int]:
        """The process that does the attempt's work, or has; None if there is none."""
        mine = f"{self.task_id} {self.attempt} "
        mark = os.environ.get(_TAKEN, "")
        pid = mark[len(mine) :]
        return int(pid) if mark.startswith(mine) and pid.isdigit() else None

    def context(self) -> bytes:
        """What was saved last; empty at the first attempt."""
        return read_or_empty(self.context_path)

    def payload(self) -> bytes:
        """What the task was created with."""
        return read_or_empty(self.payload_path)

    def signals(self) -> dict[str, Any]:
        """What came with each signal before the attempt began, by name."""
        text = read_or_empty(self.signals_path)
        found: Any = json.loads(text) if text.strip() else {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def read_or_empty(path: str) -> bytes:
    """The bytes of a file; none if there is none."""
    if path:
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            return file.read()
    return b""
