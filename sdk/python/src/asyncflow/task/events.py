"""The events file: one JSON object a line, which the worker reads as it grows."""

from __future__ import annotations

import os
from typing import Any, Mapping

from asyncflow.task.errors import Refused
from asyncflow.task.values import dumps

LINE_BYTES_MAX = 64 * 1024


class TooLong(Refused):
    """The event does not fit into a line; by the socket it may still be told."""


class EventsFile:
    """Appends events. Several threads and processes may do so at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        # The last line may lack its end, because the disk was full.
        self._is_torn = False

    def append(self, event: Mapping[str, Any], *, sync: bool) -> None:
        """Adds one line; with `sync` it is on the disk when this returns.

        Raises TooLong if the line is longer than 64 KiB, and OSError; then half of it may be there,
        which no other event is glued to.
        """
        line = dumps(event, "the event").encode("utf-8") + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise TooLong(
                f"the {event['event']} is {len(line):,} bytes as an event, "
                f"{LINE_BYTES_MAX:,} at most: write it to a file and save its path"
            )
        # One write on an append-only descriptor: a kill leaves a whole line or none.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if self._is_torn:
                line = b"\n" + line
            self._is_torn = True
            while line:
                line = line[os.write(file, line) :]
            self._is_torn = False
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
