"""PostgreSQL and Redis, each on a free port and in a directory that goes with it.

The settings of PostgreSQL are those that asyncflow's own benchmark uses (store/src/testing).
"""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 30
POSTGRES_SETTINGS = [
    "listen_addresses=127.0.0.1",
    "max_connections=400",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "fsync=on",
    "synchronous_commit=on",
]


class Failure(Exception):
    """What was to be measured cannot be; the text says why."""


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def directory(prefix):
    # Not the 0700 of a temporary directory: the server may be another user.
    path = tempfile.mkdtemp(prefix="peers-%s-" % prefix)
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def process(command, stop=signal.SIGKILL, **options):
    """A program in a group of its own, which ends as a whole when the block does."""
    child = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextlib.contextmanager
def server(command, log, stop, is_ready):
    with open(log, "wb") as output:
        streams = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL}
        with process(command, stop, cwd=os.path.dirname(log), **streams) as child:
            deadline = time.monotonic() + READY_SECONDS
            while not is_ready():
                if child.poll() is not None or time.monotonic() > deadline:
                    with open(log, errors="replace") as text:
                        raise Failure("%s does not start: %s" % (command[0], text.read()[-2000:]))
                time.sleep(0.02)
            yield


class Postgres:
    """`fresh` makes a database that nobody has used, and says its URL."""

    variable = "DATABASE_URL"
    label = "fsync before each answer (synchronous_commit=on)"

    def __init__(self, port):
        self.port = port
        self.made = 0

    def fresh(self):
        if self.made:
            self._admin("dropdb", "--force")
        self.made += 1
        self._admin("createdb")
        return "postgres://postgres@127.0.0.1:%d/peers_%d" % (self.port, self.made)

    def _admin(self, name, *options):
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        run([postgres_program(name), *where, *options, "peers_%d" % self.made])


class Redis:
    """`fresh` empties it, and says its URL."""

    variable = "REDIS_URL"

    def __init__(self, port, label):
        self.port = port
        self.label = label

    def fresh(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            answer = redis.recv(64)
        if answer != b"+OK\r\n":
            raise Failure("Redis answers FLUSHALL with %r" % answer)
        return "redis://127.0.0.1:%d/0" % self.port


def run(command, **options):
    """Runs a program to its end; what it printed is shown only when it failed."""
    with contextlib.ExitStack() as stack:
        try:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            child = stack.enter_context(process(command, **pipes, **options))
        except OSError as error:
            raise Failure("cannot run %s: %s" % (command[0], error.strerror)) from error
        output = child.communicate()[0].decode(errors="replace")
        if child.returncode:
            raise Failure("%s failed:\n%s" % (" ".join(command), output[-4000:]))


def postgres_program(name):
    """The distribution keeps the programs of each version in a directory of its own."""
    version = lambda path: int(path.split("/")[4]) if path.split("/")[4].isdigit() else 0
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name), key=version)
    return found[-1] if found else name


def unprivileged():
    """PostgreSQL refuses to run as root: who it is then, and what goes before a command."""
    if os.getuid() != 0:
        return None, []
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            ids = ["--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups"]
            return user, ["setpriv", *ids, "--"]
    raise Failure("root may not run PostgreSQL, and there is neither postgres nor nobody")


@contextlib.contextmanager
def postgres():
    user, prefix = unprivileged()
    with directory("postgres") as path:
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
        port, data = free_port(), os.path.join(path, "data")
        trust = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        run([*prefix, postgres_program("initdb"), "-D", data, *trust], cwd=path)
        command = [*prefix, postgres_program("postgres"), "-D", data, "-p", str(port)]
        for setting in [*POSTGRES_SETTINGS, "unix_socket_directories=" + path]:
            command += ["-c", setting]
        # SIGQUIT ends it at once, children and all; nothing in it is needed any more.
        ask = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        is_ready = lambda: subprocess.call(ask) == 0
        with server(command, os.path.join(path, "log"), signal.SIGQUIT, is_ready):
            yield Postgres(port)


@contextlib.contextmanager
def redis(label, *options):
    with directory("redis") as path:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", path]
        is_ready = lambda: listens(port)
        with server([*command, *options], os.path.join(path, "log"), signal.SIGKILL, is_ready):
            yield Redis(port, label)


# What a peer can be measured on: the backend, and how it is started.
BACKENDS = {
    "postgres": [postgres],
    "redis": [
        lambda: redis("none: snapshots now and then (Redis as it comes)"),
        lambda: redis(
            "fsync before each answer (appendfsync always)",
            "--appendonly", "yes", "--appendfsync", "always",
        ),
    ],
}
