#!/usr/bin/env python3
"""Checks asyncflow on a host with a real NVIDIA GPU: what docs/gpu.md marks with G, and more.

    python3 tests/gpu/check.py [CHECK…]

Needs the driver, a Python with PyTorch (and Lightning, else that check fails), and GPUs that nobody
else uses meanwhile. $ASYNCFLOW names the program; it is the release build unless given. Everything
runs in a temporary directory: a broker on SQLite, a governor, a worker. Ends with 0 if all hold.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from lab import CUDA, GIB, ROOT, Lab, Wrong, by_hand, holds, until

CHECKS = {}


def check(works):
    CHECKS[works.__name__] = works
    return works


def visits(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def most_at_once(spans):
    """How many of them overlap at most."""
    events = [(one["begin"], 1) for one in spans] + [(one["end"], -1) for one in spans]
    now = most = 0
    for _, step in sorted(events):
        now += step
        most = max(most, now)
    return most


@check
def nvml(lab):
    """The worker sees what nvidia-smi sees."""
    fields = "--query-gpu=uuid,name,memory.total,driver_version"
    told = subprocess.check_output(["nvidia-smi", fields, "--format=csv,noheader"], text=True)
    seen, shown = lab.gpus(), [line.split(", ") for line in told.splitlines()]
    holds([gpu["uuid"] for gpu in seen] == [line[0] for line in shown], "%s, %s" % (seen, shown))
    holds(seen[0]["state"] == "READY", seen[0])
    provider = lab.ask("worker", "show", "w")["gpu_provider"]
    holds(provider == "nvml", provider)
    return "%d × %s, driver %s, by %s" % (len(seen), shown[0][1], shown[0][3], provider)


@check
def nobody_else(lab):
    """A hundred tasks that want a GPU: never two on one, and each sees exactly one."""
    file = os.path.join(lab.folder, "visits")
    ids = [lab.run(*CUDA, "visit", file, "0.2", options=["--gpus", "1"]) for _ in range(100)]
    bad = [done for done in map(lab.ended, ids) if done[0]["state"] != "SUCCEEDED"]
    holds(not bad, bad[:1])
    spans, count = visits(file), len(lab.gpus())
    holds(len(spans) == 100 and {one["devices"] for one in spans} == {1}, spans[:1])
    for index in range(count):
        there = [one for one in spans if one["CUDA_VISIBLE_DEVICES"] == str(index)]
        holds(most_at_once(there) <= 1, "%d at once on GPU %d" % (most_at_once(there), index))
    busy = sum(one["end"] - one["begin"] for one in spans)
    whole = max(one["end"] for one in spans) - min(one["begin"] for one in spans)
    return "100 tasks in %.1f s, GPUs held by their programs %.0f %% of it" % (
        whole,
        100 * busy / whole / count,
    )


@check
def none(lab):
    """Who asked for none sees none; what a task says itself of what it sees does not count."""
    _, _, log = lab.ended(lab.run(*CUDA, "see"))
    holds(json.loads(log.splitlines()[0])["devices"] == 0, log)
    wants = ["--gpus", str(len(lab.gpus())), "--env", "CUDA_VISIBLE_DEVICES=7"]
    _, _, given = lab.ended(lab.run(*CUDA, "see", options=wants))
    holds(json.loads(given.splitlines()[0])["devices"] == len(lab.gpus()), given)
    return "%s; with all of them: %s" % (log.splitlines()[0], given.splitlines()[0])


@check
def shares(lab):
    """Tasks of 30 % of a card, which take what they asked for: never more than three at once."""
    gpu, file = lab.gpus()[0], os.path.join(lab.folder, "shares")
    share = gpu["memory_bytes"] * 3 // 10
    script = (
        "import subprocess, sys, time, json\n"
        "begin = time.monotonic()\n"
        "subprocess.run(sys.argv[2:], check=True)\n"
        "line = json.dumps({'begin': begin, 'end': time.monotonic()}) + '\\n'\n"
        "open(sys.argv[1], 'a').write(line)\n"
    )
    mib = share // 1024**2 - 1024
    words = [sys.executable, "-c", script, file, *CUDA, "hold", str(mib), "1"]
    options = ["--gpu-memory", "%dMiB" % (share // 1024**2), "--gpu-model", gpu["model"]]
    ids = [lab.run(*words, options=options) for _ in range(4 * 3)]
    used = 0
    while any(lab.task(one)["state"] not in ("SUCCEEDED", "FAILED") for one in ids):
        used = max(used, lab.gpus()[0]["memory_used_bytes"])
    bad = [done for done in map(lab.ended, ids) if done[0]["state"] != "SUCCEEDED"]
    holds(not bad, bad[:1])
    most = most_at_once(visits(file))
    cards = len(lab.gpus())
    holds(1 < most <= 3 * cards, "%d at once" % most)
    return "12 tasks, %d at once at most, %.1f of %.1f GiB used at most" % (
        most,
        used / GIB,
        gpu["memory_bytes"] / GIB,
    )


@check
def stranger(lab):
    """Where somebody works by hand nothing starts; explain names him; after him it cools down."""
    with by_hand("hold", str(20 * 1024), "600") as pid:
        shown, seconds = until(
            lambda: lab.gpus()[0]["state"] == "FOREIGN" and lab.gpus()[0], "FOREIGN is shown"
        )
        process = shown["processes"][0]
        holds(process["pid"] == pid and process["memory_bytes"] > 20 * GIB, process)
        options = ["--gpus", str(len(lab.gpus()))]
        task_id = lab.run(*CUDA, "see", options=options)
        # The worker may have been asked for tasks before it saw him; then it gives this one back.
        explain = lambda: lab.call("explain", task_id).stdout
        until(lambda: "pid %d" % pid in explain(), "explain names him")
        said = explain()
        time.sleep(2)
        holds(lab.task(task_id)["state"] == "PENDING", lab.task(task_id)["state"])
    _, back = until(lambda: lab.task(task_id)["state"] == "SUCCEEDED", "it runs after him")
    return "shown after %.1f s; runs %.1f s after his end (cool-down 5 s); %s" % (
        seconds,
        back,
        said.splitlines()[0],
    )


@check
def small_stranger(lab):
    """One with 642 MiB who does nothing: the card is used, with less memory."""
    gpu = lab.gpus()[0]
    with by_hand("hold", "642", "600") as pid:
        until(lambda: lab.gpus()[0]["processes"], "he is shown")
        shown = lab.gpus()[0]
        holds(shown["state"] == "READY" and shown["processes"][0]["pid"] == pid, shown)
        half = "%dMiB" % (gpu["memory_bytes"] // 2 // 1024**2)
        task, _, log = lab.ended(lab.run(*CUDA, "see", options=["--gpu-memory", half]))
        holds(task["state"] == "SUCCEEDED", log)
        whole = lab.run(
            *CUDA, "see", options=["--gpu-memory", "%dMiB" % (gpu["memory_bytes"] // 1024**2 - 300)]
        )
        time.sleep(2)
        holds(lab.task(whole)["state"] == "PENDING", "nearly all of the memory was given away")
    lab.call("task", "cancel", whole)
    return "%.2f GiB of his are left out" % (shown["processes"][0]["memory_bytes"] / GIB)


@check
def trespass(lab):
    """Who takes a GPU without asking is reported within 10 s, and stopped if that is wanted."""
    command = ["env", "CUDA_VISIBLE_DEVICES=0", *CUDA, "compute", "512", "60"]
    first = lab.run(*command)
    lab.says(first, "ready")
    tasks = lambda: lab.ask("worker", "show", "w")["tasks"]
    told = lambda: [one for one in tasks() if one["trespassed_gpus"]]
    found, seconds = until(told, "the trespass is told", 10)
    holds(found[0]["task_id"] == first, found)
    alarm, _ = until(lab.alarms, "an alarm", 10)
    lab.call("task", "cancel", first)
    second = lab.run(*command, options=["--stop-on-trespass"])
    lab.running(second)
    begun = time.monotonic()
    task, _, _ = lab.ended(second)
    holds(task["failure"]["reason"] == "TRESPASSED", task["failure"])
    return "told after %.1f s, stopped after %.1f s; %s" % (
        seconds,
        time.monotonic() - begun,
        alarm[0],
    )


@check
def fault(lab):
    """A bad address (XID 31 or 13) is charged to its task, and the card stays in use."""
    task, _, log = lab.ended(lab.run(*CUDA, "fault", options=["--gpus", "1"]))
    holds(task["state"] == "FAILED" and "ILLEGAL_ADDRESS" in log, log)
    again, _, _ = lab.ended(lab.run(*CUDA, "see", options=["--gpus", "1"]))
    holds(again["state"] == "SUCCEEDED", again)
    holds("XID" in task["failure"]["message"], "no XID is told: %s" % task["failure"])
    return task["failure"]["message"]


@check
def exhausted(lab):
    """No memory left on the card is told apart from other failures."""
    task, attempt, _ = lab.ended(lab.run(*CUDA, "exhaust", options=["--gpus", "1"]))
    holds("OUT_OF_MEMORY" in task["failure"]["reason"], task["failure"])
    return "%s, peak %.1f GiB" % (
        task["failure"]["reason"],
        attempt["usage"]["gpu_memory_peak_bytes"] / GIB,
    )


@check
def accounts(lab):
    """What a task uses stands in its attempt."""
    _, attempt, _ = lab.ended(lab.run(*CUDA, "compute", "2048", "8", options=["--gpus", "1"]))
    usage = attempt["usage"]
    holds(8 <= usage["gpu_seconds"] < 20 and usage["gpu_utilization_percent"] > 50, usage)
    holds(usage["gpu_memory_peak_bytes"] > 2 * GIB, usage)
    lab.call("usage")
    return "%.1f GPU-seconds, %.0f %% busy, peak %.2f GiB" % (
        usage["gpu_seconds"],
        usage["gpu_utilization_percent"],
        usage["gpu_memory_peak_bytes"] / GIB,
    )


def training(lab, name, pace, options=()):
    out = os.path.join(lab.folder, name)
    script = os.path.join(ROOT, "examples", "pytorch", "train.py")
    words = [sys.executable, script, "--out", out, "--epochs", "3", "--pace", pace]
    options = ["--gpus", "1", "--max-retries", "3", "--retry-interval", "100ms", *options]
    return lab.run(*words, options=[*options, "--cwd", os.path.dirname(script)])


def program_of(lab, word):
    """The pid of the process whose command has the word, and which is no shim."""
    told = subprocess.check_output(["ps", "-eo", "pid,args"], text=True)
    pids = [
        line.split()[0]
        for line in told.splitlines()
        if word in line and "python" in line.split()[1] and sys.argv[0] not in line
    ]
    return int(pids[0])


@check
def adopted(lab):
    """kill -9 of the worker in mid-training: the same process goes on, and keeps its GPU."""
    task_id = training(lab, "adopted", "0.05")
    lab.says(task_id, "epoch 1/3")
    pid = program_of(lab, "out %s/adopted" % lab.folder)
    lab.stop_worker(signal.SIGKILL)
    rival = lab.run(*CUDA, "see", options=["--gpus", str(len(lab.gpus()))])
    time.sleep(2)
    lab.start_worker()
    shown, seconds = until(lambda: lab.gpus()[0]["tasks"], "the GPU is shown as held")
    holds(shown[0]["task_id"] == task_id, shown)
    holds(program_of(lab, "out %s/adopted" % lab.folder) == pid, "another process runs")
    holds(lab.task(rival)["state"] == "PENDING", "the GPU was given to another")
    task, _, log = lab.ended(task_id)
    holds(task["state"] == "SUCCEEDED" and task["attempt"] == 1, task)
    holds(all("epoch %d/3" % epoch in log for epoch in (1, 2, 3)), log)
    rival_task, _, _ = lab.ended(rival)
    holds(rival_task["state"] == "SUCCEEDED", rival_task)
    return "pid %d throughout, attempt 1, result %s" % (pid, task["result"]["text"])


@check
def resumed(lab):
    """SIGKILL of the training: the next attempt goes on from its checkpoint, on the GPU."""
    task_id = training(lab, "resumed", "0.02")
    lab.says(task_id, "epoch 1/3")
    os.kill(program_of(lab, "out %s/resumed" % lab.folder), signal.SIGKILL)
    task, _, log = lab.ended(task_id)
    holds(task["state"] == "SUCCEEDED" and task["attempt"] == 2, task)
    lines = [line for line in log.splitlines() if " on " in line]
    holds(any("goes on on NVIDIA" in line for line in lines), lines)
    return "; ".join(lines)


@check
def lightning(lab):
    """The same through the SDK's callback of PyTorch Lightning."""
    script = os.path.join(ROOT, "examples", "lightning", "train.py")
    options = ["--gpus", "1", "--max-retries", "3", "--retry-interval", "100ms"]
    variables = {
        "PYTHONPATH": os.path.join(ROOT, "sdk", "python", "src"),
        "ASYNCFLOW_CHECKPOINTS": os.path.join(lab.folder, "checkpoints"),
        # Lightning asks an MPI that is installed how many we are; it must not look for ssh.
        "OMPI_MCA_ess_singleton_isolated": "1",
        "OMPI_MCA_plm_rsh_agent": "/bin/false",
    }
    for name, value in variables.items():
        options += ["--env", "%s=%s" % (name, value)]
    words = [sys.executable, script, "--epochs", "3", "--pace", "0.1"]
    task_id = lab.run(*words, options=options)

    def saved():
        task = lab.task(task_id)
        holds(task["state"] != "FAILED", lab.call("task", "logs", task_id).stderr)
        return task["context_version"] >= 2

    until(saved, "two checkpoints", 120)
    os.kill(program_of(lab, "lightning/train.py"), signal.SIGKILL)
    task, _, log = lab.ended(task_id)
    holds(task["state"] == "SUCCEEDED" and task["attempt"] == 2, (task["state"], log))
    begins = re.findall(r"begins at step (\d+)", log)
    holds(int(begins[-1]) > 0, begins)
    holds("used: True" in log, log)
    return "begins at steps %s, %s" % (begins, task["result"]["text"])


@check
def held(lab):
    """A reservation for work by hand, which ends when nothing is computed."""
    told = lab.call("hold", "--gpus", "1", "--for", "5m", "--idle", "5s").stdout
    holds("CUDA_VISIBLE_DEVICES=0" in told, told)
    with by_hand("compute", "2048", "600"):
        time.sleep(8)
        shown = lab.gpus()[0]
        holds(shown["state"] == "READY" and shown["tasks"], shown)
        task_id = shown["tasks"][0]["task_id"]
    _, seconds = until(lambda: lab.task(task_id)["state"] == "SUCCEEDED", "it ends early")
    return "kept while it computed for 8 s, ended %.1f s after" % seconds


@check
def by_nvidia_smi(lab):
    """Without the library, by the program: the same card, and the stranger on it."""
    before = lab.gpus()[0]
    lab.stop_worker()
    lab.start_worker("gpu.provider=nvidia-smi")
    provider = lab.ask("worker", "show", "w")["gpu_provider"]
    holds(provider == "nvidia-smi" and lab.gpus()[0]["uuid"] == before["uuid"], provider)
    with by_hand("hold", str(20 * 1024), "600") as pid:
        until(lambda: any(one["pid"] == pid for one in lab.gpus()[0]["processes"]), "he is shown")
    until(lambda: lab.gpus()[0]["state"] == "READY", "it is free again")
    task, _, log = lab.ended(lab.run(*CUDA, "see", options=["--gpus", "1"]))
    holds(task["state"] == "SUCCEEDED" and json.loads(log.splitlines()[0])["devices"] == 1, log)
    lab.stop_worker()
    lab.start_worker()
    return "the same UUID, the stranger seen, a task ran"


def main(wanted):
    failed = []
    folder = tempfile.mkdtemp(prefix="asyncflow-gpu-")
    lab = Lab(folder)
    try:
        for name in wanted or CHECKS:
            begun = time.monotonic()
            try:
                until(lab.is_quiet, "nobody uses a GPU")
                told = CHECKS[name](lab)
            except Exception as error:
                failed.append(name)
                what = error if isinstance(error, Wrong) else traceback.format_exc()
                told = "FAILED: %s" % what
            print("%-14s %5.1f s  %s" % (name, time.monotonic() - begun, told), flush=True)
    finally:
        lab.end()
        if failed:
            for name in ("worker", "broker", "governor"):
                with open(os.path.join(folder, name + ".log"), encoding="utf-8") as log:
                    print("%s:\n%s" % (name, "".join(log.readlines()[-30:])))
        shutil.rmtree(folder, ignore_errors=True)
    print(
        "%d checks, %d failed%s"
        % (len(wanted or CHECKS), len(failed), ": " + ", ".join(failed) if failed else "")
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
