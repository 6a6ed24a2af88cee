"""A worker with Python tasks that is a process of its own, and can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Callable

from asyncflow import Client
from client import stack

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "src"


class Host:
    """A worker that is a process of its own, and can be killed."""

    def __init__(self, broker: str, folder: Path, *words: str) -> None:
        self.folder = folder
        self.sources = SOURCES
        self._id = f"host-{uuid.uuid4().hex[:8]}"
        settings = {
            "worker_id": self._id,
            "broker.addresses": f'["{broker}"]',
            "data_dir": folder / "worker",
            "metrics.address": "",
            "gpu.provider": "none",
            "slots": 4,
            # Beside these, only the Python ones: it takes nothing of another test's.
            "task_types": '["nothing"]',
            "stop_grace_ms": 3000,
            "drain_time_ms": 0,
            "python.executable": sys.executable,
            "python.path": f'["{HERE}"]',
        }
        pairs = (f"--set={name}={value}" for name, value in settings.items())
        self._settings = [*pairs, *words]
        self._client = Client(broker)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> Host:
        """Returns when it is registered."""
        clean = {name: value for name, value in os.environ.items() if "ASYNCFLOW" not in name}
        clean.update(PYTHONPATH=str(self.sources), SECRET_OF_THE_WORKER="hush")
        count = self.log().count("registered worker_id")
        with open(self.folder / "worker.log", "ab") as log:
            self._process = subprocess.Popen(
                [stack.program("asyncflow"), "worker", *self._settings, *words],
                cwd=self.folder,
                env=clean,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.log().count("registered worker_id") > count, lambda: not self.is_gone())
        return self

    def log(self) -> str:
        """What it has written."""
        path = self.folder / "worker.log"
        return path.read_text() if path.exists() else ""

    def is_gone(self) -> bool:
        """Whether it has ended."""
        assert self._process is not None
        return self._process.poll() is not None

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """Returns when it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(sign)
            self._process.wait(timeout=30)

    def end(self) -> None:
        """What it runs ends, too."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self._client.close()


def until(reached: Callable[[], bool], may_go_on: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert may_go_on() and time.monotonic() < deadline
        time.sleep(0.02)
