"""The digits through the SDK, by a real worker, with a kill in the middle of an epoch.

    python3 -m unittest discover examples/digits_sdk

The Python must have ../digits/requirements.txt. It takes `asyncflow` from target/debug, or from
$ASYNCFLOW_BIN_DIR.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "examples", "digits"))

import processes  # noqa: E402
from demo import Dev, checkpoints, saved_epoch  # noqa: E402

SCRIPT = os.path.join(HERE, "digits.py")
SOURCES = os.path.join(ROOT, "sdk", "python", "src")
EPOCHS = 15


def program():
    folder = os.environ.get("ASYNCFLOW_BIN_DIR") or os.path.join(ROOT, "target", "debug")
    return os.path.join(folder, "asyncflow")


class DigitsSdkTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.run_dir = os.path.join(folder.name, "run")
        self.data_dir = os.path.join(folder.name, "data")
        os.makedirs(self.data_dir)
        self.dev = Dev(program(), self.data_dir, os.path.join(folder.name, "log"))
        self.dev.start()
        self.addCleanup(self.end)

    def end(self):
        for left in processes.mentioning(self.data_dir):
            processes.kill(left)
        self.dev.process.wait()

    def until(self, reached):
        deadline = time.monotonic() + 120
        while True:
            task = self.dev.task(self.task_id)
            if reached(task):
                return task
            self.assertNotIn(task["state"], ("FAILED", "CANCELLED"), task)
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_killed_in_mid_epoch_it_goes_on_behind_the_saved_one(self):
        words = [sys.executable, SCRIPT, "--run-dir", self.run_dir, "--pace", "0.3"]
        words += ["--epochs", str(EPOCHS)]
        options = ["--detach", "--type", "digits_sdk", "-o", "id", "--env", "PYTHONPATH=" + SOURCES]
        self.task_id = self.dev.cli("run", *options, "--", *words).split()[-1]
        self.until(lambda task: saved_epoch(task) >= 4)
        time.sleep(0.1)  # Into the rest of the next epoch.
        payload = processes.with_environment("ASYNCFLOW_TASK_ID", self.task_id)
        payload = {one for one in payload if b"digits.py" in processes.contents(one, "cmdline")}
        self.assertTrue(payload)
        for process in payload:
            processes.kill(process)
        self.until(lambda task: task["attempt"] > 1 or task["state"] != "RUNNING")
        seen = saved_epoch(self.dev.task(self.task_id))
        self.assertLess(seen, EPOCHS)
        before = checkpoints(self.run_dir)

        task = self.until(lambda task: task["state"] == "SUCCEEDED")
        self.assertEqual(task["attempt"], 2)
        log = self.dev.cli("task", "logs", self.task_id, "--attempt", "2")
        resumed = int(re.search(r"attempt 2 goes on behind epoch (\d+)", log).group(1))
        self.assertGreaterEqual(resumed, 4)
        after = checkpoints(self.run_dir)
        self.assertEqual(sorted(after), list(range(1, EPOCHS + 1)))
        kept = [epoch for epoch, inode in before.items() if after[epoch] == inode]
        self.assertTrue(set(range(1, resumed + 1)) <= set(kept), "saved epochs were trained again")
        result = json.loads(task["result"]["text"])
        self.assertGreaterEqual(result["accuracy"], 0.95)
        self.assertEqual((task["progress"] or {}).get("percent"), 100)
        self.assertEqual(task["stage"], "generate")
        with open(result["png"], "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_by_hand_it_runs_without_asyncflow(self):
        environment = {k: v for k, v in os.environ.items() if "ASYNCFLOW" not in k}
        done = subprocess.run(
            [sys.executable, SCRIPT, "--run-dir", self.run_dir, "--epochs", "2"],
            env={**environment, "PYTHONPATH": SOURCES},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("'accuracy': 0.", done.stdout)


if __name__ == "__main__":
    unittest.main()
