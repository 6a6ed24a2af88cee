"""Tasks that a running task has made."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, Mapping, Optional, cast

_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclasses.dataclass(frozen=True)
class Child:
    """One of them, as it was when it was asked for."""

    index: int
    task_id: str
    # SUCCEEDED, FAILED, CANCELLED, RUNNING, PENDING …; empty if the task is not there any more.
    state: str
    # What it returned, if it has succeeded: JSON as Python values, anything else as bytes.
    result: Any
    # Why it has failed, if it has.
    failure: str

    @property
    def ended(self) -> bool:
        """Whether it is over, however."""
        return self.state in _ENDED or not self.task_id

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state == "SUCCEEDED"

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Child:
        """From the message ChildTask as JSON."""
        task = cast("dict[str, Any]", found.get("task") or {})
        failure = cast("dict[str, Any]", task.get("failure") or {})
        return cls(
            index=int(found.get("index") or 0),
            task_id=str(task.get("id") or ""),
            state=str(task.get("state") or "").replace("TASK_STATE_", ""),
            result=read_content(task.get("result")),
            failure=str(failure.get("message") or ""),
        )


def read_content(content: Optional[Mapping[str, Any]]) -> Any:
    """What the message Content, as JSON, holds."""
    if not content:
        return None
    if "json" in content:
        return content["json"]
    data = base64.b64decode(content.get("data") or "")
    try:
        return json.loads(data)
    except ValueError:
        return data
