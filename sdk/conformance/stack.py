"""A broker and a governor with short leases, a proxy in front, and the control endpoint."""

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request

from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20

BROKER = {
    "LEASE__TTL_MS": "3000",
    "LEASE__HEARTBEAT_INTERVAL_MS": "1000",
    "LEASE__HANDOUT_TTL_MS": "3000",
    "DRAIN_TIME_MS": "2000",
}
GOVERNOR = {
    "LEADER__TTL_MS": "2000",
    "LEASE__HEARTBEAT_INTERVAL_MS": "1000",
    "DUTIES__REAP_INTERVAL_MS": "200",
}


class Trouble(Exception):
    """The stack does not do what it should; the text says what, and where to look."""


def bin_dir():
    """Where the programs are: $ASYNCFLOW_BIN_DIR, else this repository's debug build."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    found = os.environ.get("ASYNCFLOW_BIN_DIR", os.path.join(target, "debug"))
    for name in ("asyncflow", "asyncflow-broker", "asyncflow-governor"):
        if not os.path.isfile(os.path.join(found, name)):
            raise Trouble(f"there is no {name} in {found}: cargo build --workspace --bins")
    return os.path.abspath(found)


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """One of our servers as a process, which can be ended and started again."""

    def __init__(self, name, settings, folder):
        self._name = name
        self._http = free_port()
        settings = {**settings, "METRICS__ADDRESS": f"127.0.0.1:{self._http}"}
        prefix = f"ASYNCFLOW_{name.upper()}__"
        self._variables = {prefix + key: value for key, value in settings.items()}
        self._log = os.path.join(folder, f"{name}.log")
        self._process = None
        self.start()

    def start(self):
        """Starts it and returns when it serves."""
        environment = {**os.environ, **self._variables}
        with open(self._log, "ab") as log:
            words = [os.path.join(bin_dir(), f"asyncflow-{self._name}")]
            self._process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + READY_SECONDS_MAX
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Trouble(f"the {self._name} does not serve:\n{self.log_tail()}")
            time.sleep(0.05)

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def stop(self, sign=signal.SIGTERM):
        """Ends it; returns when it is gone."""
        self._process.send_signal(sign)
        try:
            self._process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Trouble(f"the {self._name} does not end:\n{self.log_tail()}")

    def kill(self):
        """SIGKILL, if it still runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_tail(self):
        """The last lines that it wrote."""
        with open(self._log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-20:])


class Stack:
    """All of it, in a folder of its own; a context manager."""

    def __init__(self, folder, database_url=None):
        self._programs = []
        self._port = free_port()
        database = database_url or f"sqlite://{folder}/asyncflow.db"
        broker = {**BROKER, "DATABASE__URL": database, "LISTEN__ADDRESS": self._address()}
        governor = {**GOVERNOR, "DATABASE__URL": database}
        governor["LISTEN__ADDRESS"] = f"127.0.0.1:{free_port()}"
        try:
            for name, settings in (("broker", broker), ("governor", governor)):
                self._programs.append(Program(name, settings, folder))
        except Trouble:
            self._kill_programs()
            raise
        self.proxy = Proxy(self._port)
        self._control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._control.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._control.shutdown()
        self._control.server_close()
        self.proxy.close()
        self._kill_programs()

    def _kill_programs(self):
        for program in reversed(self._programs):
            program.kill()

    def _address(self):
        return f"127.0.0.1:{self._port}"

    def variables(self):
        """What a runner finds in its environment."""
        return {
            "ASYNCFLOW_BROKER": f"http://127.0.0.1:{self.proxy.port}",
            "ASYNCFLOW_CONFORMANCE_CONTROL": f"http://127.0.0.1:{self._control.server_port}/",
            "ASYNCFLOW_BIN_DIR": bin_dir(),
        }

    def log_tail(self):
        """What broker and governor wrote last."""
        return "\n".join(program.log_tail() for program in self._programs)

    def carry_out(self, order):
        """Does what a runner's `control` step asks for; ValueError when it is not understood."""
        command = order.pop("command", None)
        broker = self._programs[0]
        try:
            if command == "blackhole":
                self.proxy.blackhole(float(order.pop("seconds")))
            elif command == "cancel":
                self._cancel(order.pop("task"))
            elif command == "restart_broker":
                broker.stop()
                broker.start()
            elif command == "kill_broker":
                broker.kill()
                broker.start()
            elif command in ("cut", "down", "up"):
                getattr(self.proxy, command)()
            else:
                raise ValueError(f"no such command: {command!r}")
        except KeyError as missing:
            raise ValueError(f"{command} needs {missing}") from None
        if order:
            raise ValueError(f"{command} does not know {', '.join(order)}")

    def _cancel(self, task):
        words = [os.path.join(bin_dir(), "asyncflow"), "task", "cancel", task]
        broker = ["--broker", f"http://{self._address()}"]
        done = subprocess.run(words + broker, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Trouble(f"asyncflow task cancel {task}: {done.stderr}")

    def _handler(stack):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                try:
                    stack.carry_out(json.loads(self.rfile.read(length)))
                    self.answer(200, "{}")
                except ValueError as error:
                    self.answer(400, str(error))
                except (Trouble, OSError, subprocess.SubprocessError) as error:
                    self.answer(500, str(error))

            def answer(self, code, text):
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
