#!/usr/bin/env python3
"""The demo: train on real digits, pull the plug in the middle, and watch it go on.

    make demo            or            python3 examples/digits/demo.py

It builds asyncflow (unless ASYNCFLOW_BIN names a binary), makes a virtual environment beside this
file, starts `asyncflow dev` on a fresh data directory, submits digits.py as a task, and then kills
broker, worker, governor and training with SIGKILL, all at once. It starts `asyncflow dev` again on
the same directory and checks that the second attempt goes on from the saved epoch, that the
network is as good as it should be, and that no process is left. Anything else is an exit code of 1.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import processes

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EPOCHS = 40
# Seconds an epoch at least: even the fastest machine can be watched, and killed, in mid-training.
PACE = 0.4
ACCURACY_MIN = 0.95


class Violation(Exception):
    """Something is not as it was promised."""


def say(text=""):
    print(text, flush=True)


def require(condition, text):
    if not condition:
        raise Violation(text)


# --- preparations ------------------------------------------------------------------------------


def build():
    """The path of the asyncflow binary, built when nobody gave one."""
    given = os.environ.get("ASYNCFLOW_BIN")
    if given:
        return os.path.abspath(given)
    say("building asyncflow …")
    subprocess.run(["cargo", "build", "--quiet", "-p", "asyncflow"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return os.path.join(target, "debug", "asyncflow")


def make_venv():
    """The Python of a virtual environment that holds exactly requirements.txt."""
    folder = os.path.join(HERE, ".venv")
    python = os.path.join(folder, "bin", "python")
    requirements = os.path.join(HERE, "requirements.txt")
    with open(requirements, "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest()
    marker = os.path.join(folder, "installed")
    if os.path.exists(marker):
        with open(marker, encoding="ascii") as file:
            if file.read() == wanted:
                return python
    say("making a virtual environment with scikit-learn …")
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    except subprocess.CalledProcessError:
        raise Violation("python3 cannot make virtual environments: apt install python3-venv")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(pip + ["-r", requirements], check=True)
    with open(marker, "w", encoding="ascii") as file:
        file.write(wanted)
    return python


# --- asyncflow ---------------------------------------------------------------------------------


class Dev:
    """`asyncflow dev` on one data directory, and the command line that talks to it."""

    def __init__(self, binary, data_dir, log):
        self.binary = binary
        self.data_dir = data_dir
        self.log = log
        self.process = None
        self.broker = None

    def command(self):
        return [self.binary, "dev", "--data-dir", self.data_dir, "--listen", "127.0.0.1:0"]

    def start(self):
        ready_file = os.path.join(self.data_dir, "dev.json")
        if os.path.exists(ready_file):
            os.remove(ready_file)  # of the one that was killed
        command = self.command()
        say("$ %s" % " ".join([os.path.basename(self.binary)] + command[1:]))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.data_dir)
        deadline = time.monotonic() + 30
        while not os.path.exists(ready_file):
            require(self.process.poll() is None, "asyncflow dev ended; see %s" % self.log)
            require(time.monotonic() < deadline, "asyncflow dev is not ready after 30 s")
            time.sleep(0.02)
        with open(ready_file, encoding="utf-8") as file:
            self.broker = json.load(file)["broker"]
        if "://" not in self.broker:
            self.broker = "http://" + self.broker

    def cli(self, *arguments):
        environment = dict(os.environ, ASYNCFLOW_BROKER=self.broker, NO_COLOR="1")
        done = subprocess.run(
            [self.binary] + list(arguments), env=environment, timeout=30,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )
        shown = " ".join(arguments)
        require(done.returncode == 0, "asyncflow %s: %s" % (shown, done.stderr.strip()))
        return done.stdout

    def task(self, task_id):
        return json.loads(self.cli("task", "get", task_id, "-o", "json"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            raise Violation("asyncflow dev does not end on SIGTERM")
        require(code == 0, "asyncflow dev ended with %d on SIGTERM" % code)


def saved_epoch(task):
    """The epoch of the context that the broker holds; 0 before the first."""
    content = task.get("context") or {}
    return json.loads(content["text"])["epoch"] if content.get("text") else 0


def follow(dev, task_id, until):
    """Show the progress as it comes; the first task that `until` accepts."""
    shown = None
    deadline = time.monotonic() + 240
    while True:
        task = dev.task(task_id)
        progress = task.get("progress") or {}
        line = "  attempt %d  %-9s %3.0f%%  %s" % (
            task["attempt"], task["state"], progress.get("percent") or 0.0,
            progress.get("message") or "",
        )
        if line != shown:
            say(line)
            shown = line
        if until(task):
            return task
        require(task["state"] not in ("FAILED", "CANCELLED"), "the task: %s" % task["failure"])
        require(time.monotonic() < deadline, "nothing happens")
        time.sleep(0.2)


# --- the plug ----------------------------------------------------------------------------------


def pull_the_plug(dev, task_id):
    """SIGKILL to everything at once; returns when the last of them is dead."""
    payload = processes.with_environment("ASYNCFLOW_TASK_ID", task_id)
    require(payload, "there is no process of the training")
    victims = {v.pid: v for v in processes.tree(dev.process.pid) | payload}.values()
    for victim in victims:
        processes.kill(victim)
    dev.process.wait()
    say("SIGKILL to %s" % ", ".join("%s (%d)" % (v.name, v.pid) for v in sorted(victims)))
    deadline = time.monotonic() + 10
    while any(processes.is_alive(victim) for victim in victims):
        require(time.monotonic() < deadline, "some of them are still alive")
        time.sleep(0.01)
    require(dev.process.returncode == -signal.SIGKILL, "asyncflow dev died of something else")
    say("all of them are dead")


def checkpoints(run_dir):
    """Epoch → inode of its file. A file that is written again gets a new inode."""
    found = {}
    for name in os.listdir(run_dir):
        match = re.match(r"^epoch-(\d+)\.joblib$", name)
        if match:
            found[int(match.group(1))] = os.stat(os.path.join(run_dir, name)).st_ino
    return found


def epoch_gone_on_from(before, after):
    """What the files tell: the last epoch that the second attempt did not train again."""
    written = [epoch for epoch, inode in after.items() if before.get(epoch) != inode]
    return min(written) - 1


def wait_for_log(dev, task_id, line):
    """The log of the second attempt comes through the broker, a moment after it was written."""
    deadline = time.monotonic() + 10
    while line not in dev.cli("task", "logs", task_id, "--attempt", "2"):
        require(time.monotonic() < deadline, "its log does not say %r" % line)
        time.sleep(0.1)


# --- the story ---------------------------------------------------------------------------------


def submit(dev, python, run_dir):
    command = [python, os.path.join(HERE, "digits.py"), "--run-dir", run_dir]
    command += ["--epochs", str(EPOCHS), "--pace", str(PACE)]
    say("$ asyncflow run --detach --type digits -- python digits.py …")
    output = dev.cli("run", "--detach", "--type", "digits", "-o", "id", "--", *command)
    task_id = output.split()[-1]
    say("  task %s" % task_id)
    return task_id


def check_outcome(dev, task_id, run_dir):
    task = dev.task(task_id)
    require(task["attempt"] == 2, "it took %d attempts" % task["attempt"])
    require(task["failures"] == 0, "the crash was counted as a failure of the task")
    result = json.loads(task["result"]["text"])
    require(result["accuracy"] >= ACCURACY_MIN, "accuracy %(accuracy).4f" % result)
    with open(result["png"], "rb") as file:
        require(file.read(8) == b"\x89PNG\r\n\x1a\n", "%(png)s is no PNG" % result)
    require(sorted(checkpoints(run_dir)) == list(range(1, EPOCHS + 1)), "an epoch is missing")
    return result


def tell_story(dev, python, run_dir):
    dev.start()
    task_id = submit(dev, python, run_dir)

    plug = random.randint(5, EPOCHS // 2)
    seen = saved_epoch(follow(dev, task_id, lambda task: saved_epoch(task) >= plug))
    require(seen < EPOCHS, "the training was over before the plug could be pulled")
    say("\nepoch %d is saved; pulling the plug" % seen)
    pull_the_plug(dev, task_id)
    before = checkpoints(run_dir)

    say("\nthe same again, on the same data directory")
    dev.start()
    follow(dev, task_id, lambda t: t["attempt"] >= 2 and len(checkpoints(run_dir)) > len(before))
    resumed = epoch_gone_on_from(before, checkpoints(run_dir))
    require(resumed >= seen, "attempt 2 began after epoch %d, saved was %d" % (resumed, seen))
    wait_for_log(dev, task_id, "attempt goes on from epoch %d\n" % resumed)
    say("  attempt 2 goes on from epoch %d" % resumed)

    follow(dev, task_id, lambda task: task["state"] == "SUCCEEDED")
    result = check_outcome(dev, task_id, run_dir)
    say("\n$ asyncflow task attempts %s" % task_id)
    say(dev.cli("task", "attempts", task_id).rstrip())

    dev.stop()
    left = processes.mentioning(dev.data_dir)
    require(not left, "processes are left: %s" % ", ".join("%d %s" % (p.pid, p.name) for p in left))
    say("\nno process is left")
    say("accuracy %.4f" % result["accuracy"])
    say("new digits: %s" % os.path.relpath(result["png"]))


def main():
    binary, python = build(), make_venv()
    out = os.path.join(HERE, "out", time.strftime("%Y%m%d-%H%M%S"))
    data_dir, run_dir = os.path.join(out, "data"), os.path.join(out, "run")
    os.makedirs(data_dir)
    os.makedirs(run_dir)
    dev = Dev(binary, data_dir, os.path.join(out, "dev.log"))
    try:
        tell_story(dev, python, run_dir)
    except (Violation, subprocess.SubprocessError) as violation:
        say("\nFAILED: %s\n(the servers' log is %s)" % (violation, dev.log))
        return 1
    finally:
        for left in processes.mentioning(data_dir):
            processes.kill(left)
        if dev.process is not None:
            dev.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
