"""Finding and ending processes, by /proc alone.

A pid can be used again, so a process here is its pid and its start time.
"""

import os
import signal
from collections import namedtuple

Process = namedtuple("Process", ["pid", "start", "name", "parent", "state"])


def read(pid):
    """The process, or None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself contain some.
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return Process(pid, start=int(fields[19]), name=name, parent=int(fields[1]), state=fields[0])


def every():
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None and process.state != "Z"]


def tree(pid):
    """The process and all its descendants."""
    everyone = every()
    found = {process for process in everyone if process.pid == pid}
    while True:
        parents = {process.pid for process in found}
        more = {process for process in everyone if process.parent in parents} | found
        if len(more) == len(found):
            return found
        found = more


def contents(process, name):
    try:
        with open("/proc/%d/%s" % (process.pid, name), "rb") as file:
            return file.read()
    except OSError:
        return b""


def with_environment(variable, value):
    """Those whose environment says so: children that left their parent are found too."""
    wanted = os.fsencode("%s=%s" % (variable, value))
    return {p for p in every() if wanted in contents(p, "environ").split(b"\0")}


def mentioning(path):
    """Those, but for this one, that name the path in their arguments or environment."""
    wanted = os.fsencode(path)
    everyone = [process for process in every() if process.pid != os.getpid()]
    return [p for p in everyone if any(wanted in contents(p, f) for f in ("cmdline", "environ"))]


def kill(process):
    """SIGKILL, to this process only, never to another that got its pid."""
    if is_alive(process):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def is_alive(process):
    """A zombie is dead: it only waits for somebody to ask how."""
    now = read(process.pid)
    return now is not None and now.start == process.start and now.state not in "ZX"
