"""asyncflow for Python: asynchronous tasks on shared GPU servers.

Two halves that do not drag each other in:

- the client half (`Client`, `AsyncClient`) creates tasks and follows them, over gRPC;
- the task half is what a task is written with. It needs the standard library only, because gRPC
  clashes with forks, e.g. those of a data loader.

What needs gRPC is imported at its first use, so `import asyncflow` costs little and imports none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from asyncflow.errors import (
    AsyncflowError,
    BrokerError,
    InvalidArgument,
    NotFound,
    TaskCancelled,
    TaskError,
    TaskFailed,
    Unavailable,
)
from asyncflow.task import (
    Child,
    Context,
    Fail,
    Outcome,
    Preempted,
    Refused,
    Retry,
    atomic_file,
    atomic_path,
    current,
    sync_tree,
    # Of the two things of this name a person means the decorator; `from asyncflow.task import …`
    # and `python -m asyncflow.task` find the package all the same.
    task,
)

if TYPE_CHECKING:
    from asyncflow.client import AsyncClient as AsyncClient
    from asyncflow.client import Client as Client
    from asyncflow.client import Command as Command
    from asyncflow.client import State as State
    from asyncflow.client import TaskSpec as TaskSpec

__version__ = "0.1.0"

# Where each name lives that is imported at its first use.
_HOMES: dict[str, str] = dict.fromkeys(
    ("AsyncClient", "Client", "Command", "State", "TaskSpec"), "asyncflow.client"
)

__all__ = [
    "AsyncClient",
    "AsyncflowError",
    "BrokerError",
    "Child",
    "Client",
    "Command",
    "Context",
    "Fail",
    "InvalidArgument",
    "NotFound",
    "Outcome",
    "Preempted",
    "Refused",
    "Retry",
    "State",
    "TaskCancelled",
    "TaskError",
    "TaskFailed",
    "TaskSpec",
    "Unavailable",
    "atomic_file",
    "atomic_path",
    "current",
    "sync_tree",
    "task",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'asyncflow' has no attribute {name!r}")
    try:
        value: object = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("grpc", "google"):
            raise
        raise ImportError(
            f"asyncflow.{name} needs {error.name}, which is not installed here: "
            "pip install grpcio protobuf googleapis-common-protos"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
