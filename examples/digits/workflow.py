#!/usr/bin/env python3
"""The demo of a workflow: three trainings on two hosts, of which one dies.

    make demo-workflow   or            python3 examples/digits/workflow.py

It starts `asyncflow dev`, which has a worker of its own, and a second worker that stands for
another host; creates workflow.yaml; and kills the second worker, with all that it runs, by SIGKILL
in the middle of a training. The training goes on from its saved epoch on the host that is left, the
chord's callback is made once, and new digits are drawn with the best network. Anything else is an
exit code of 1.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import processes
from demo import Dev, Violation, build, make_venv, require, say

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = 15
# Seconds an epoch at least, so that there is a middle in which to kill.
PACE = 1.0
# A host is given up for dead after so long, and not after half a minute.
LEASE = ["lease.ttl_ms=6000", "lease.heartbeat_interval_ms=2000"]
SECONDS_MAX = 240


class WorkflowDev(Dev):
    """`asyncflow dev` with room for two tasks, whose leases are short."""

    def command(self):
        settings = ["broker.%s" % setting for setting in LEASE]
        settings += ["governor.%s" % LEASE[1], "worker.slots=2", "worker.worker_id=this-host"]
        return super().command() + [word for setting in settings for word in ("--set", setting)]

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "-o", "json"))


class Host:
    """A worker in a process of its own: all that is on another host."""

    def __init__(self, folder):
        self.data_dir = os.path.join(folder, "other-host")
        self.log = os.path.join(folder, "other-host.log")
        self.process = None

    def start(self, dev):
        settings = {
            "worker_id": "other-host",
            "slots": "1",
            "data_dir": self.data_dir,
            "broker.addresses": json.dumps([dev.broker]),
            "metrics.address": "",
        }
        command = [dev.binary, "worker"]
        for setting in settings.items():
            command += ["--set", "%s=%s" % setting]
        say("$ asyncflow worker --set worker_id=other-host …")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def victims(self):
        """The worker, and all that it started: what a dead host takes with it."""
        own = processes.tree(self.process.pid)
        return own | set(processes.mentioning(self.data_dir))

    def kill(self):
        victims = self.victims()
        for victim in victims:
            processes.kill(victim)
        self.process.wait()
        names = ("%s (%d)" % (v.name, v.pid) for v in sorted(victims))
        say("SIGKILL to %s" % ", ".join(names))


def until(what, reached):
    """Wait until `reached` gives something."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        found = reached()
        if found:
            return found
        require(time.monotonic() < deadline, "not after %d s: %s" % (SECONDS_MAX, what))
        time.sleep(0.2)


def tasks(dev, workflow, node):
    """The tasks of a node, with everything."""
    items = dev.json("workflow", "items", workflow, "--node", node)
    return [dev.task(item["task_id"]) for item in items]


def epoch_of(task):
    content = task.get("context") or {}
    return json.loads(content["text"])["epoch"] if content.get("text") else 0


def in_the_middle(dev, workflow):
    """The training on the other host, once it has saved a third of its epochs."""
    for task in tasks(dev, workflow, "best/members"):
        if task["worker_id"] == "other-host" and epoch_of(task) >= EPOCHS // 3:
            require(task["state"] == "RUNNING", "the training was over before the kill")
            return task
    return None


def check_outcome(dev, workflow, killed, seen):
    shown = dev.json("workflow", "show", workflow)
    states = {node["name"]: node["state"] for node in shown["nodes"]}
    wanted = {"best/members": "SUCCEEDED", "best": "SUCCEEDED", "generate": "SUCCEEDED",
              "mourn": "SKIPPED"}
    require(states == wanted, "the nodes are %s" % states)
    again = dev.task(killed["id"])
    require(again["attempt"] > killed["attempt"], "the training that was killed ran once")
    require(again["worker_id"] == "this-host", "it ran on %s" % again["worker_id"])
    log = dev.cli("task", "logs", killed["id"], "--attempt", str(again["attempt"]))
    resumed = int(log.split("attempt goes on from epoch ")[1].split()[0])
    require(resumed >= seen, "it went on from epoch %d, saved was %d" % (resumed, seen))
    trained = [json.loads(task["result"]["text"]) for task in tasks(dev, workflow, "best/members")]
    callbacks = tasks(dev, workflow, "best")
    require(len(callbacks) == 1, "the callback was made %d times" % len(callbacks))
    best = json.loads(callbacks[0]["result"]["text"])
    accuracies = [result["accuracy"] for result in trained]
    require(best["accuracy"] == max(accuracies), "%s of %s" % (best["accuracy"], accuracies))
    drawn = json.loads(tasks(dev, workflow, "generate")[0]["result"]["text"])
    with open(drawn["png"], "rb") as file:
        require(file.read(8) == b"\x89PNG\r\n\x1a\n", "%(png)s is no PNG" % drawn)
    return again, resumed, accuracies, best, drawn


def make_daily(dev, file, folder):
    """Schedule it for every night, and run it once without waiting for the night."""
    given = json.dumps({"out": folder, "epochs": EPOCHS, "pace": 0.0})
    daily = ["--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "--input", given]
    say("\n$ asyncflow schedule create --workflow workflow.yaml --cron '0 3 * * *' …")
    schedule = dev.cli("schedule", "create", "--workflow", file, *daily, "-o", "id").strip()
    say("$ asyncflow schedule next %s --count 2" % schedule)
    say(dev.cli("schedule", "next", schedule, "--count", "2").rstrip())
    say("$ asyncflow schedule run %s" % schedule)
    workflow = dev.json("schedule", "run", schedule)["workflow_id"]
    say("$ asyncflow workflow wait %s" % workflow)
    say(dev.cli("workflow", "wait", workflow).rstrip())
    drawn = os.path.join(folder, "best", "digits.png")
    require(os.path.isfile(drawn), "the scheduled workflow drew nothing: no %s" % drawn)


def tell_story(dev, host, out):
    dev.start()
    host.start(dev)

    def both_are_there():
        require(host.process.poll() is None, "the other host ended; see %s" % host.log)
        return len(dev.json("worker", "list")) == 2

    until("both hosts are there", both_are_there)
    given = json.dumps({"out": os.path.join(out, "run"), "epochs": EPOCHS, "pace": PACE})
    file = os.path.join(HERE, "workflow.yaml")
    say("$ asyncflow workflow create -f workflow.yaml --input …")
    workflow = dev.cli("workflow", "create", "-f", file, "--input", given, "-o", "id").strip()
    say("$ asyncflow workflow watch %s" % workflow)
    environment = dict(os.environ, ASYNCFLOW_BROKER=dev.broker, NO_COLOR="1")
    watch = subprocess.Popen([dev.binary, "workflow", "watch", workflow], env=environment)
    try:
        killed = until("a training is in its middle", lambda: in_the_middle(dev, workflow))
        seen = epoch_of(killed)
        say("\nother-host runs %s and has saved epoch %d" % (killed["id"], seen))
        host.kill()
        say()
        code = watch.wait(timeout=SECONDS_MAX)
    finally:
        watch.kill()
        watch.wait()
    require(code == 0, "the watch ended with %d" % code)
    again, resumed, accuracies, best, drawn = check_outcome(dev, workflow, killed, seen)
    say("\n$ asyncflow workflow show %s" % workflow)
    say(dev.cli("workflow", "show", workflow).rstrip())
    say("\n$ asyncflow task attempts %s" % again["id"])
    say(dev.cli("task", "attempts", again["id"]).rstrip())
    make_daily(dev, file, os.path.join(out, "daily"))
    dev.stop()
    say("\nthe training that was killed went on from epoch %d of %d" % (resumed, EPOCHS))
    say("accuracies %s; the best is number %d" % (accuracies, best["training"]))
    say("new digits: %s" % os.path.relpath(drawn["png"]))


def main():
    binary, python = build(), make_venv()
    out = os.path.join(HERE, "out", time.strftime("workflow-%Y%m%d-%H%M%S"))
    data_dir = os.path.join(out, "data")
    os.makedirs(data_dir)
    # What workers inherit: the programs, and a Python that has what they need.
    folders = [os.path.dirname(python), HERE, os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(folders)
    require(shutil.which("digits.py"), "digits.py cannot be executed")
    dev = WorkflowDev(binary, data_dir, os.path.join(out, "dev.log"))
    host = Host(out)
    try:
        tell_story(dev, host, out)
    except (Violation, subprocess.SubprocessError) as violation:
        say("\nFAILED: %s\n(the servers' log is %s)" % (violation, dev.log))
        return 1
    finally:
        for left in processes.mentioning(out):
            processes.kill(left)
        for program in (dev, host):
            if program.process is not None:
                program.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
