"""Where a task is: what it saves as its context, and goes on from. Pure.

The context is a JSON object of the values that the task has saved, and one reserved key:

    {"ckpt": "/runs/7/epoch-17.pt",
     "asyncflow": {"done": {"prepare": {"rows": 1000}}, "at": {"fit": 17}}}

`done` holds the stages that have ended with what they returned, `at` how many iterations of each
loop are done that has not ended.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, cast

from asyncflow.task.errors import Refused
from asyncflow.task.values import dumps, normalised

RESERVED = "asyncflow"
STAGE_BYTES_MAX = 64


class Place:
    """The values, stages and positions of one task."""

    def __init__(
        self,
        values: Optional[Mapping[str, Any]] = None,
        done: Optional[Mapping[str, Any]] = None,
        at: Optional[Mapping[str, int]] = None,
    ) -> None:
        self.values: dict[str, Any] = dict(values or {})
        self.done: dict[str, Any] = dict(done or {})
        self.at: dict[str, int] = dict(at or {})

    @classmethod
    def read(cls, context: bytes, stage: str) -> Place:
        """From the context and stage that were saved last.

        A context that something else has made is taken as it is: an object as the values, anything
        else as no value. Its stage counts as done.
        """
        try:
            found: Any = json.loads(context) if context.strip() else {}
        except ValueError:
            found = {}
        values = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        kept: Any = values.pop(RESERVED, None)
        own = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
        done: Any = own.get("done")
        at: Any = own.get("at")
        place = cls(
            values,
            cast("dict[str, Any]", done) if isinstance(done, dict) else {},
            _counts(cast("dict[str, Any]", at)) if isinstance(at, dict) else {},
        )
        if stage:
            place.done.setdefault(stage, None)
            place.at.pop(stage, None)
        return place

    def add(self, values: Mapping[str, Any]) -> None:
        """Adds values, or changes them; the others stay. Raises Refused; then none is changed."""
        if RESERVED in values:
            raise Refused(f"the name {RESERVED!r} is reserved in a context; take another one")
        new = {key: normalised(value, f"the value {key!r}") for key, value in values.items()}
        self.values.update(new)

    def end(self, stage: str, value: Any) -> None:
        """The stage is done, and returned this."""
        self.at.pop(stage, None)
        self.done[stage] = value

    def copy(self) -> Place:
        """As it is now."""
        return Place(self.values, self.done, self.at)

    def restore(self, before: Place) -> None:
        """As it was then."""
        self.values, self.done, self.at = before.values, before.done, before.at

    def text(self) -> str:
        """As the context. Another thread may begin or leave a loop meanwhile."""
        parts = (("done", self.done.copy()), ("at", self.at.copy()))
        own = {key: part for key, part in parts if part}
        return dumps({**self.values, RESERVED: own} if own else self.values, "the context")


def _counts(found: dict[str, Any]) -> dict[str, int]:
    return {
        name: count
        for name, count in found.items()
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0
    }


def check_stage(name: str) -> str:
    """`name` itself. Raises Refused unless it is a line of 1 to 64 bytes."""
    if not 0 < len(name.encode("utf-8")) <= STAGE_BYTES_MAX or not name.isprintable():
        raise Refused(f"{name!r} is no name of a stage: it must be a line of 1 to 64 bytes")
    return name
