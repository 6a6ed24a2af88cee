"""Workers of the scenarios: `asyncflow worker --python` with a module of the wanted handlers."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from story import Failed

from asyncflow import Client

REGISTER_S_MAX = 30
MODULE = "conformance_tasks"
HANDLERS = ("echo", "stages", "until_stopped", "retry_later", "permanent", "save_until_lost")


def program() -> str:
    """The program `asyncflow`."""
    return os.path.join(os.environ["ASYNCFLOW_BIN_DIR"], "asyncflow")


class Worker:
    """A worker in a process group of its own."""

    def __init__(self, client: Client, handlers: dict[str, str], slots: int) -> None:
        unknown = set(handlers.values()) - set(HANDLERS)
        if unknown:
            raise Failed(f"no such handler: {', '.join(sorted(unknown))}")
        words = [program(), "worker", "--python", MODULE]
        self._id = f"conformance-{secrets.token_hex(6)}"
        self._folder = Path(tempfile.mkdtemp(prefix="asyncflow-conformance-"))
        lines = ["import handlers", "from asyncflow import task", ""]
        lines += [f"{name} = task({name!r})(handlers.{kind})" for name, kind in handlers.items()]
        (self._folder / f"{MODULE}.py").write_text("\n".join(lines) + "\n")
        settings = {
            "worker_id": self._id,
            "data_dir": str(self._folder / "data"),
            "slots": str(slots),
            "broker.addresses": f'["{client.address}"]',
            "drain_time_ms": "0",
            "stop_grace_ms": "5000",
            "gpu.provider": "none",
            "python.executable": sys.executable,
        }
        for name, value in settings.items():
            words += ["--set", f"{name}={value}"]
        path = os.pathsep.join([str(self._folder), str(Path(__file__).parent)])
        self._log = open(self._folder / "log", "wb")
        self._process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": path},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._await(client)

    def _await(self, client: Client) -> None:
        end = time.monotonic() + REGISTER_S_MAX
        while not any(one.worker_id == self._id for one in client.list_workers()):
            if self._process.poll() is not None or time.monotonic() > end:
                log = (self._folder / "log").read_text()[-2000:]
                self.kill()
                raise Failed(f"the worker does not register: {log}")
            time.sleep(0.1)

    def stop(self, drain_s: float, timeout_s: float) -> None:
        """Lets what runs end for so long, then has it stopped and given back, and ends."""
        end = time.monotonic() + timeout_s
        try:
            if drain_s:
                words = [program(), "worker", "drain", self._id]
                subprocess.run(words, check=True, stdout=self._log, stderr=self._log)
                self._wait(min(drain_s, timeout_s))
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            if not self._wait(end - time.monotonic()):
                raise Failed(f"the worker has not ended after {timeout_s} s")
        finally:
            self.kill()

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Ends it at once, with all that it runs."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
