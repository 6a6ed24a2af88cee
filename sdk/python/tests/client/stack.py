"""Real brokers for the tests: each in a folder of its own, on free ports, on SQLite."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Optional

READY_S_MAX = 60
STOP_S_MAX = 30
ROOT = Path(__file__).resolve().parents[4]


def program(name: str) -> str:
    """The path of a program of ours: in $ASYNCFLOW_BIN_DIR, else in target/debug."""
    folder = Path(os.environ.get("ASYNCFLOW_BIN_DIR") or ROOT / "target" / "debug")
    # It is started in another directory.
    path = (folder / name).resolve()
    assert path.exists(), f"{path} is not there: cargo build, or set ASYNCFLOW_BIN_DIR"
    return str(path)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A process that is ready when its HTTP side says so."""

    def __init__(self, folder: Path, words: list[str], port: int, http_port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self._words = words
        self._folder = folder
        self._ready_url = f"http://127.0.0.1:{http_port}/readyz"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Starts it; returns when it serves."""
        clean = {name: value for name, value in os.environ.items() if "ASYNCFLOW" not in name}
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=self._folder, env=clean, stdout=log, stderr=log
            )
        end = time.monotonic() + READY_S_MAX
        while not self._is_ready():
            gone = self._process.poll() is not None
            assert not gone and time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready_url, timeout=5):
                return True
        except OSError:
            return False

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """Ends it; returns when it is gone."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(timeout=STOP_S_MAX)
            self._process = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop(signal.SIGKILL)


def broker(folder: Path, **settings: str) -> Server:
    """A broker alone; `listen__address` and the like are settings of it."""
    port, http_port = free_port(), free_port()
    values = {
        "listen.address": f"127.0.0.1:{port}",
        "metrics.address": f"127.0.0.1:{http_port}",
        "database.url": f"sqlite://{folder}/broker.db",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    words = [program("asyncflow-broker")]
    for name, value in values.items():
        words += ["--set", f"{name}={value}"]
    return Server(folder, words, port, http_port)


def everything(folder: Path, *settings: str) -> Server:
    """Broker, governor and a worker; settings are e.g. `worker.slots=4`."""
    port, http_port, governor_port = free_port(), free_port(), free_port()
    words = [program("asyncflow"), "dev", "--data-dir", str(folder / "data")]
    words += ["--listen", f"127.0.0.1:{port}", "--http-listen", f"127.0.0.1:{http_port}"]
    words += ["--governor-listen", f"127.0.0.1:{governor_port}"]
    for setting in settings:
        words += ["--set", setting]
    return Server(folder, words, port, http_port)
