"""Checkpoints as files of the task's own: the file first, then the context that names it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import Any, Callable, Optional

from asyncflow.task.context import Context
from asyncflow.task.duration import Span
from asyncflow.task.files import atomic_path, sync_tree

# The broker's context may be a little older than what was written last.
_KEPT = 2
# What a keeper writes: its step and attempt, and, while it is not whole, `atomic_path`'s mark.
_NAME = re.compile(r"step-(\d+)-a(\d+)(\.\d+\.\d+\.tmp)?\.(?:ckpt|keras)")


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
    """Saves checkpoints when they are due, and removes those that no context names any more.

    What the broker's context names is never removed, nor is what was written after it: while no
    broker can be reached they all stay, because any of them may be what it has in the end.
    """

    def __init__(
        self, ctx: Context, directory: Optional[str], every: Span, every_n_steps: Optional[int]
    ) -> None:
        self._ctx = ctx
        self._directory = directory
        self._is_own_directory = directory is None
        self._every = every
        self._every_n_steps = every_n_steps
        # Oldest first, and the one among them that the broker's context names.
        self._written: list[str] = []
        self._named: Optional[str] = None
        self._has_taken_over = False
        self._saved_step = -1
        before = ctx.saved.get("checkpoint")
        if isinstance(before, str):
            self._written.append(before)
            self._named = before

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

    def path(self, step: int, ending: str) -> str:
        """Where this attempt's checkpoint of a step goes.

        An attempt that has lost its task may write on for a while: never to the same file.
        """
        return os.path.join(self.directory, f"step-{step:08}-a{self._ctx.attempt}{ending}")

    def write(
        self, step: int, ending: str, write: Callable[[str], object], **values: Any
    ) -> str:
        """Writes a file with `write(path)`, then saves the context; the file's path."""
        path = self.path(step, ending)
        with atomic_path(path) as temporary:
            write(temporary)
        self.name(step, path, **values)
        return path

    def name(self, step: int, path: str, **values: Any) -> None:
        """Saves the context that names what a library has written: a file, or a directory."""
        sync_tree(path)
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        # Outside of a worker no broker has a context that could name an older one.
        if self._ctx.save(checkpoint=path, step=step, **values) or not self._ctx.in_worker:
            self._named = path
        self._saved_step = step

    def clean(self) -> None:
        """Removes what it has written, and former attempts have, before what the context names.

        The newest two stay in any case.
        """
        if self._named is None:
            return
        self._take_over()
        last = min(self._written.index(self._named), len(self._written) - _KEPT)
        for path in self._written[: max(last, 0)]:
            _remove(path)
            self._written.remove(path)

    def _take_over(self) -> None:
        """What former attempts have left behind is removed, too; in a directory of the task's own.

        Nothing names it: the context that this attempt began with names one file.
        """
        if self._has_taken_over or not self._is_own_directory:
            return
        self._has_taken_over = True
        left: list[tuple[int, int, str]] = []
        for name in os.listdir(self.directory):
            found = _NAME.fullmatch(name)
            path = os.path.join(self.directory, name)
            if not found or int(found[2]) >= self._ctx.attempt or path in self._written:
                continue
            if found[3]:
                _remove(path)
            else:
                left.append((int(found[2]), int(found[1]), path))
        self._written[:0] = [path for _, _, path in sorted(left)]


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
