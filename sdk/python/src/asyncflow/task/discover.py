"""Finding the tasks of modules."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import TYPE_CHECKING, Any, Iterable

from asyncflow.task.definition import Task

if TYPE_CHECKING:
    AnyTask = Task[..., Any, Any]


class NotFound(Exception):
    """A module cannot be imported, or has no task; for people."""


def load(names: Iterable[str]) -> dict[str, AnyTask]:
    """The tasks of the modules by type: those that a module's own namespace has.

    A name is that of a module, or the path of a file `….py`, whose folder is then searched for what
    it imports. Raises NotFound.
    """
    found: dict[str, AnyTask] = {}
    for name in names:
        module = _imported(name)
        tasks: list[AnyTask] = [item for item in vars(module).values() if isinstance(item, Task)]
        if not tasks:
            where = getattr(module, "__file__", None) or name
            raise NotFound(f"module {name} ({where}) has no @task in its own namespace")
        for one in tasks:
            before = found.setdefault(one.type, one)
            if before.target is not one.target:
                raise NotFound(f"two tasks have the type {one.type!r}: {before!r} and {one!r}")
    return found


def _imported(name: str) -> ModuleType:
    if name.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(name))
        if not os.path.exists(name):
            raise NotFound(f"there is no file {os.path.abspath(name)}")
        if folder not in sys.path:
            sys.path.insert(0, folder)
        name = file[: -len(".py")]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise NotFound(
                f"there is no module {name}; it is looked for in: "
                f"{', '.join(filter(None, sys.path))} "
                "(set PYTHONPATH, or python.path of the worker)"
            ) from None
        traceback.print_exc()
        raise NotFound(f"module {name} needs {missing}, which is not installed here") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
        raise NotFound(f"module {name} cannot be imported: {said}") from error
