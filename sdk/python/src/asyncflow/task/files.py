"""Files that survive a kill: whole, or not there."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import IO, Any, Generator, Union

AnyPath = Union[str, "os.PathLike[str]"]


@contextlib.contextmanager
def atomic_file(path: AnyPath, mode: str = "wb", **options: Any) -> Generator[IO[Any], None, None]:
    """A file to write that appears under `path` when the block has ended, complete and on the disk.

    Until then, and for ever when the block raises, what was there before stays. `options` are those
    of `open`. Any library that writes to an open file can be used: `torch.save(state, file)`.
    """
    target = _absolute(path)
    if "r" in mode or "a" in mode or "+" in mode:
        raise ValueError(f"mode {mode!r}: an atomic file is written as a whole")
    temporary = f"{target}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(target))


@contextlib.contextmanager
def atomic_path(path: AnyPath) -> Generator[str, None, None]:
    """The same for libraries that want a path: a neighbour of `path` to write the file to."""
    target = _absolute(path)
    stem, ending = os.path.splitext(target)
    # Many libraries choose the format by the ending.
    temporary = f"{stem}.{os.getpid()}.{threading.get_ident()}.tmp{ending}"
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(target))


def sync_directory(path: str) -> None:
    """The names in the directory are on the disk when it returns."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def sync_tree(path: AnyPath) -> None:
    """A file, or all files below a directory, are on the disk when it returns.

    For checkpoints that a library has written; then the context may name them.
    """
    top = _absolute(path)
    if os.path.isfile(top):
        _sync_file(top)
    for folder, _, names in os.walk(top):
        for name in names:
            _sync_file(os.path.join(folder, name))
        sync_directory(folder)
    sync_directory(os.path.dirname(top))


def _absolute(path: AnyPath) -> str:
    text: str = os.fspath(path)
    return os.path.abspath(text)


def _sync_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
