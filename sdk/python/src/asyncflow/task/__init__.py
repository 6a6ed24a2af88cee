"""The task half: what a task is written with. Nothing but the standard library."""

from __future__ import annotations

from asyncflow.task.children import Child
from asyncflow.task.context import Context, current
from asyncflow.task.definition import Outcome, Task, task
from asyncflow.task.errors import Fail, HandedOver, LeaseLost, Preempted, Refused, Retry, Waiting
from asyncflow.task.files import atomic_file, atomic_path, sync_tree

__all__ = [
    "Child",
    "Context",
    "Fail",
    "HandedOver",
    "LeaseLost",
    "Outcome",
    "Preempted",
    "Refused",
    "Retry",
    "Task",
    "Waiting",
    "atomic_file",
    "atomic_path",
    "current",
    "sync_tree",
    "task",
]
