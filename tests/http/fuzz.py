#!/usr/bin/env python3
"""Sends a real broker what its OpenAPI document allows, and what it does not, by schemathesis.

    tests/http/fuzz.py [--seconds N] [--seed N] [--examples N] [--database URL]

Fails on an answer of 5xx, or one that the document does not describe. 503 is described: it is
UNAVAILABLE, which a broker with its database at hand must not say, so it fails too.
The broker is that of $ASYNCFLOW_BIN_DIR, by default target/debug, on SQLite in a fresh directory,
or on the database that is named, which should be an empty one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Those answer for as long as they are listened to; the last reads lines, which schemathesis does
# not write. They are called in broker/tests/it/http.
EXCLUDED = ["WatchTasks", "WatchWorkflow", "StreamCreateTasks"]
CHECKS = [
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
]
READY_SECONDS_MAX = 60


def main():
    options = parse()
    programs = Path(os.environ.get("ASYNCFLOW_BIN_DIR") or ROOT / "target" / "debug")
    with tempfile.TemporaryDirectory(prefix="asyncflow-fuzz-") as folder:
        with open(Path(folder) / "broker.log", "w+", encoding="utf-8") as log:
            settings = [
                f"database.url={options.database or f'sqlite://{folder}/fuzz.db'}",
                "listen.address=127.0.0.1:0",
                "metrics.address=",
                "auto_create_task_types=true",
            ]
            words = [str(programs / "asyncflow-broker")]
            for setting in settings:
                words += ["--set", setting]
            broker = subprocess.Popen(words, stdout=log, stderr=log)
            try:
                url = wait_for(broker, log)
                code = fuzz(url, folder, options)
                if broker.poll() is not None:
                    sys.exit(f"the broker ended with {broker.returncode}:\n{tail(log)}")
            finally:
                broker.terminate()
                broker.wait(timeout=30)
            if code != 0 or " ERROR " in tail(log):
                sys.exit(f"schemathesis ended with {code}; the broker's log:\n{tail(log)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=60, help="stop generating after so long")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--examples", type=int, default=8, help="of each call")
    parser.add_argument("--database", help="the URL of an empty database")
    return parser.parse_args()


def tail(log):
    log.seek(0)
    return log.read()[-8_000:]


def wait_for(broker, log):
    """Where it listens, by its log."""
    end = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < end and broker.poll() is None:
        log.seek(0)
        for line in log.read().splitlines():
            if "the broker listens" in line:
                return "http://" + line.split("address=", maxsplit=1)[1].split()[0]
        time.sleep(0.1)
    sys.exit(f"the broker does not serve:\n{tail(log)}")


def call(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def make_things(url):
    """Something of each kind, by the names under which requests ask for it."""
    call(f"{url}/v1/taskTypes", {"name": "fuzzed"})
    task = {"task_type": "fuzzed", "payload": {"json": {"a": 1}}}
    ids = [call(f"{url}/v1/tasks", task)["task"]["id"] for _ in range(12)]
    nodes = [{"name": "a", "task": task}, {"name": "b", "depends_on": ["a"], "task": task}]
    workflow = call(f"{url}/v1/workflows", {"nodes": nodes})["workflow"]["id"]
    timing = {"interval": "86400s", "task": task}
    schedule = call(f"{url}/v1/schedules", timing)["schedule"]["id"]
    selection = {"selection": {"filter": "state = FAILED"}}
    operation = call(f"{url}/v1/tasks:bulkRetry", selection)["operation"]["id"]
    hello = {"worker_id": "w1", "incarnation": "a", "task_types": ["fuzzed"], "slots": 4}
    session = call(f"{url}/v1/workers:register", hello)["session_id"]
    acquire = {"session_id": session, "acquire_id": "1", "max_tasks": 4, "start": True}
    call(f"{url}/v1/workers:acquireTasks", acquire)
    return {
        "task_id": ids,
        "task_type": ["fuzzed"],
        "name": ["fuzzed"],
        "workflow_id": [workflow],
        "schedule_id": [schedule],
        "operation_id": [operation],
        "worker_id": ["w1"],
        "session_id": [session],
        "attempt": [1],
        "wait": ["0.01s"],
        "timeout": ["0.01s"],
        "follow": [False],
        "filter": ["state = PENDING", "task_type = fuzzed", ""],
    }


def fuzz(url, folder, options):
    document = Path(folder) / "openapi.json"
    with urllib.request.urlopen(f"{url}/v1/openapi.json", timeout=30) as answer:
        document.write_bytes(answer.read())
    words = [sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", url]
    words += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"]
    words += ["--max-examples", str(options.examples), "--max-time", str(options.seconds)]
    words += ["--seed", str(options.seed), "--continue-on-failure", "--request-timeout", "20"]
    words += ["--warnings", "off"]
    for name in EXCLUDED:
        words += ["--exclude-operation-id", name]
    environment = dict(os.environ)
    environment["FUZZ_NAMES"] = json.dumps(make_things(url))
    environment["SCHEMATHESIS_HOOKS"] = "hooks"
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    return subprocess.run(words, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    main()
