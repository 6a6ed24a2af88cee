"""The lab of the checks beside this: broker, governor and worker as processes, and their client."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.environ.get("ASYNCFLOW", os.path.join(ROOT, "target", "release", "asyncflow"))
CUDA = [sys.executable, os.path.join(HERE, "cuda.py")]
GIB, PATIENCE = 1024**3, 60


class Wrong(Exception):
    """What is not as it should be."""


def holds(what, told):
    if not what:
        raise Wrong(told)


def until(probe, told, seconds=PATIENCE):
    """What `probe` answers once that is true, and how long that took."""
    begun = time.monotonic()
    while True:
        found = probe()
        if found:
            return found, time.monotonic() - begun
        if time.monotonic() - begun >= seconds:
            raise Wrong("not within %d s: %s" % (seconds, told() if callable(told) else told))
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """Broker, governor and worker, each a process, and their client."""

    def __init__(self, folder):
        self.folder, self.processes = folder, {}
        port = free_port()
        self.broker = "http://127.0.0.1:%d" % port
        database = "database.url=sqlite://%s/asyncflow.db" % folder
        quick = ["lease.ttl_ms=6000", "lease.heartbeat_interval_ms=1000"]
        listen = ["listen.address=127.0.0.1:%d" % port, "auto_create_task_types=true"]
        self.start("broker", [database, *listen, *quick])
        until(self.answers, "the broker serves")
        self.start("governor", [database, "listen.address=127.0.0.1:0", quick[1]])
        self.start_worker()

    def answers(self):
        done = self.call("worker", "list", check=False)
        return done.returncode == 0

    def start(self, name, settings):
        words = [PROGRAM, name]
        for setting in [*settings, "metrics.address="]:
            words += ["--set", setting]
        log = open(os.path.join(self.folder, name + ".log"), "ab")
        self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log)

    def start_worker(self, *settings):
        usual = ["slots=16", "gpu.cool_down_ms=5000", "gpu.sample_interval_ms=500", "worker_id=w"]
        usual += ["data_dir=%s/worker" % self.folder, 'broker.addresses=["%s"]' % self.broker]
        self.start("worker", usual + list(settings))
        until(lambda: self.gpus() and self.gpus()[0]["alive"], "the worker shows its GPUs")

    def stop_worker(self, sign=signal.SIGTERM):
        process = self.processes.pop("worker")
        process.send_signal(sign)
        process.wait(timeout=PATIENCE)

    def end(self):
        for name in ("worker", "governor", "broker"):
            process = self.processes.get(name)
            if process:
                process.terminate()
                process.wait(timeout=PATIENCE)

    def call(self, *words, check=True):
        environment = {**os.environ, "ASYNCFLOW_BROKER": self.broker, "NO_COLOR": "1"}
        done = subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True)
        holds(not check or done.returncode == 0, "%s: %s" % (" ".join(words), done.stderr))
        return done

    def ask(self, *words):
        return json.loads(self.call(*words, "-o", "json").stdout)

    def gpus(self):
        return self.ask("gpu", "list")

    def is_quiet(self):
        used = [gpu for gpu in self.gpus() if gpu["tasks"] or gpu["processes"]]
        return not used and all(gpu["state"] == "READY" for gpu in self.gpus())

    def alarms(self):
        return self.ask("worker", "show", "w")["alarms"]

    def run(self, *command, options=()):
        options = ["--max-retries", "0", *options] if "--max-retries" not in options else options
        words = ["run", "--detach", "-o", "id", "--no-code", *options, "--", *command]
        return self.call(*words).stdout.split()[-1]

    def task(self, task_id):
        return self.ask("task", "get", task_id)

    def ended(self, task_id):
        """The task when it has ended, its last attempt, and what it wrote."""
        self.call("task", "wait", task_id, check=False)
        attempts = self.ask("task", "attempts", task_id)
        done = self.call("task", "logs", task_id)
        return self.task(task_id), attempts[-1], done.stdout + done.stderr

    def running(self, task_id):
        until(lambda: self.task(task_id)["state"] == "RUNNING", task_id + " runs")

    def says(self, task_id, text):
        log = lambda: self.call("task", "logs", task_id).stdout
        return until(lambda: text in log(), "%s writes %r" % (task_id, text))


@contextmanager
def by_hand(*words):
    """A program that no worker started; it is ready at the beginning and gone at the end."""
    process = subprocess.Popen([*CUDA, *words], stdout=subprocess.PIPE, text=True)
    try:
        holds(process.stdout.readline() == "ready\n", "cuda.py %s" % " ".join(words))
        yield process.pid
    finally:
        process.kill()
        process.wait()
