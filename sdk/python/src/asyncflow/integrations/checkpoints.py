"""Checkpoints as files of the task's own: the file first, then the context that names it."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any, Callable, Optional

from asyncflow.task.context import Context
from asyncflow.task.duration import Span
from asyncflow.task.files import atomic_path, sync_tree

# The broker's context may be a little older than what was written last.
_KEPT = 2


def saved_checkpoint(ctx: Context) -> Optional[str]:
    """The checkpoint that the context names, if its file is there; None at the first attempt."""
    path = ctx.saved.get("checkpoint")
    if not path:
        return None
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"the checkpoint {path} that the task has saved is not on this host: let "
            "ASYNCFLOW_CHECKPOINTS name a directory that all hosts see"
        )
    return str(path)


class Keeper:
    """Saves checkpoints when they are due, and removes those that no context names any more."""

    def __init__(
        self, ctx: Context, directory: Optional[str], every: Span, every_n_steps: Optional[int]
    ) -> None:
        self._ctx = ctx
        self._directory = directory
        self._every = every
        self._every_n_steps = every_n_steps
        self._written: list[str] = []
        self._saved_step = -1
        before = ctx.saved.get("checkpoint")
        if isinstance(before, str):
            self._written.append(before)

    @property
    def directory(self) -> str:
        """Where they are."""
        if self._directory is None:
            self._directory = self._ctx.checkpoint_dir
        os.makedirs(self._directory, exist_ok=True)
        return self._directory

    def is_due(self, step: int) -> bool:
        """Whether one should be saved now."""
        if self.is_saved(step):
            return False
        if self._every_n_steps is not None and step % self._every_n_steps == 0:
            return True
        return self._ctx.save_due(self._every)

    def is_saved(self, step: int) -> bool:
        """Whether that was done for this step."""
        return step == self._saved_step

    def write(
        self, step: int, ending: str, write: Callable[[str], object], **values: Any
    ) -> str:
        """Writes a file with `write(path)`, then saves the context; the file's path."""
        path = os.path.join(self.directory, f"step-{step:08}{ending}")
        with atomic_path(path) as temporary:
            write(temporary)
        self.name(step, path, **values)
        return path

    def name(self, step: int, path: str, **values: Any) -> None:
        """Saves the context that names what a library has written: a file, or a directory."""
        sync_tree(path)
        self._ctx.save(checkpoint=path, step=step, **values)
        self._saved_step = step
        if path not in self._written:
            self._written.append(path)

    def clean(self) -> None:
        """Removes all but the newest two of what it has written."""
        while len(self._written) > _KEPT:
            path = self._written.pop(0)
            with contextlib.suppress(OSError):
                if os.path.isdir(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)
