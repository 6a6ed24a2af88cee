"""The script protocol of asyncflow, with nothing but the standard library.

A program finds the paths of a few files in its environment, and ends with an exit code; see
docs/guide/script-protocol.md. Started by hand, without asyncflow, it prints its events.
"""

import json
import os
import signal
import sys

# "I saved my context; run me again, this is no failure."
EXIT_CHECKPOINTED = 85


def emit(event):
    """Tell asyncflow something: one JSON object, one line, one write."""
    line = json.dumps(event, separators=(",", ":")) + "\n"
    path = os.environ.get("ASYNCFLOW_EVENTS")
    if path is None:
        sys.stdout.write(line)
        sys.stdout.flush()
        return
    # One write on an append-only descriptor: a kill leaves a whole line or none.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode("utf-8"))
    finally:
        os.close(fd)


def saved_context():
    """What the last attempt saved; an empty dict at the first."""
    path = os.environ.get("ASYNCFLOW_CONTEXT")
    if path is None:
        return {}
    with open(path, "rb") as file:
        data = file.read()
    return json.loads(data) if data.strip() else {}


class Stop:
    """Whether the task should stop: SIGTERM comes together with a file."""

    def __init__(self):
        self.signalled = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number, _frame):
        self.signalled = True

    def requested(self):
        path = os.environ.get("ASYNCFLOW_STOP")
        return self.signalled or (path is not None and os.path.exists(path))


def write_durably(path, write):
    """Make `path` by writing a neighbour and renaming it: it is whole, or it is not there."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
