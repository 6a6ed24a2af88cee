#!/usr/bin/env python3
"""Submit 20 runs with different parameters, wait for all of them, and show the best.

    asyncflow dev &
    python3 examples/sweep/sweep.py

Where hosts have GPUs each run gets one for itself, so that as many run at once as there are GPUs;
elsewhere they run on the CPU. ASYNCFLOW_BIN names the program, if it is not on the PATH. A run is
named by its parameters, and submitting the same sweep again (--name) makes no second one.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RATES = [0.01, 0.03, 0.1, 0.3, 1.0]
DEGREES = [1, 3, 5, 9]


def asyncflow(*args):
    """What the program prints; it prints its own errors."""
    program = os.environ.get("ASYNCFLOW_BIN", "asyncflow")
    done = subprocess.run([program, *args], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("%s ended with %d" % (" ".join((program,) + args), done.returncode))
    return done.stdout


def parameters():
    return [{"rate": rate, "degree": degree} for rate, degree in itertools.product(RATES, DEGREES)]


def arguments(name, run, with_gpu):
    """The command line that submits one run."""
    label = "rate-%(rate)g-degree-%(degree)d" % run
    words = ["run", "--detach", "-o", "id", "--name", label, "--label", "sweep=" + name]
    words += ["--request-id", "%s-%s" % (name, label)]
    if with_gpu:
        words += ["--gpus", "1"]
    words += ["--", sys.executable, os.path.join(HERE, "trial.py")]
    return words + ["--rate", "%g" % run["rate"], "--degree", "%d" % run["degree"]]


def best_of(tasks):
    """Those that succeeded, the smallest loss first."""
    done = [task for task in tasks if task["state"] == "SUCCEEDED"]
    results = [(json.loads(task["result"]["text"]), task) for task in done]
    return sorted(results, key=lambda pair: pair[0]["loss"])


def has_gpus():
    """Whether any host has told of GPUs. One that has just begun needs a few seconds to."""
    for pause in (0, 1, 2, 3):
        time.sleep(pause)
        listed = asyncflow("gpu", "list", "-o", "json").strip()
        if listed and json.loads(listed):
            return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="sweep-%d" % os.getpid())
    args = parser.parse_args()
    with_gpu = has_gpus()
    runs = [asyncflow(*arguments(args.name, run, with_gpu)).strip() for run in parameters()]
    print("%d runs submitted, %s" % (len(runs), "a GPU each" if with_gpu else "on the CPU"))
    tasks = []
    for task_id in runs:
        program = os.environ.get("ASYNCFLOW_BIN", "asyncflow")
        # Its exit code is that of the run, and a run may fail.
        subprocess.run([program, "task", "wait", task_id], stdout=subprocess.DEVNULL, check=False)
        tasks.append(json.loads(asyncflow("task", "get", task_id, "-o", "json")))
    ranked = best_of(tasks)
    for result, task in ranked[:3]:
        print("%-24s loss %.5f  %s" % (task["name"], result["loss"], task["id"]))
    print("%d of %d succeeded" % (len(ranked), len(tasks)))
    return 0 if len(ranked) == len(tasks) else 1


if __name__ == "__main__":
    sys.exit(main())
