"""A task that was submitted. Imports the client half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Mapping, TypeVar

if TYPE_CHECKING:
    from asyncflow.task.definition import Task

R = TypeVar("R")


class Handle(Generic[R]):
    """A task at a broker."""

    def __init__(self, client: Any, task_id: str) -> None:
        self._client = client
        self.id = task_id


def submit(task: Task[..., Any, R], spec: Mapping[str, Any]) -> Handle[R]:
    """Creates it."""
    raise NotImplementedError
