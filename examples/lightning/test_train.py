"""A Lightning training by a real worker, killed in the middle of an epoch.

    python3 -m unittest discover examples/lightning     (a Python that has requirements.txt)

It takes `asyncflow` from target/debug, or from $ASYNCFLOW_BIN_DIR.
"""

import importlib.util
import json
import os
import re
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "examples", "digits"))

import processes  # noqa: E402
from demo import Dev  # noqa: E402

SOURCES = os.path.join(ROOT, "sdk", "python", "src")
STEPS, EPOCHS = 32, 3
MISSING = [name for name in ("torch", "pytorch_lightning") if not importlib.util.find_spec(name)]


@unittest.skipIf(MISSING, "%s is not installed here" % ", ".join(MISSING))
class LightningTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        data_dir = os.path.join(self.folder, "data")
        os.makedirs(data_dir)
        given = os.environ.get("ASYNCFLOW_BIN_DIR") or os.path.join(ROOT, "target", "debug")
        program = os.path.join(given, "asyncflow")
        self.dev = Dev(program, data_dir, os.path.join(self.folder, "log"))
        self.dev.start()
        self.addCleanup(self.end)

    def end(self):
        for left in processes.mentioning(self.folder):
            processes.kill(left)
        self.dev.process.wait()

    def until(self, reached):
        deadline = time.monotonic() + 240
        while True:
            task = self.dev.task(self.task_id)
            if reached(task):
                return task
            self.assertNotIn(task["state"], ("FAILED", "CANCELLED"), task)
            self.assertLess(time.monotonic(), deadline, task)
            time.sleep(0.1)

    def test_killed_in_mid_epoch_it_goes_on_with_the_saved_step(self):
        variables = ["PYTHONPATH=" + SOURCES, "CUDA_VISIBLE_DEVICES="]
        variables += ["ASYNCFLOW_CHECKPOINTS=" + os.path.join(self.folder, "checkpoints")]
        words = ["run", "--detach", "--type", "lightning", "-o", "id"]
        words += [word for variable in variables for word in ("--env", variable)]
        words += ["--", sys.executable, os.path.join(HERE, "train.py")]
        words += ["--epochs", str(EPOCHS), "--pace", "0.1"]
        self.task_id = self.dev.cli(*words).split()[-1]

        def step(task):
            text = (task.get("context") or {}).get("text")
            return json.loads(text)["step"] if text else 0

        self.until(lambda task: STEPS < step(task) < 2 * STEPS)
        for process in processes.with_environment("ASYNCFLOW_TASK_ID", self.task_id):
            if b"train.py" in processes.contents(process, "cmdline"):
                processes.kill(process)
        task = self.until(lambda task: task["state"] == "SUCCEEDED")
        self.assertEqual(task["attempt"], 2)
        log = self.dev.cli("task", "logs", self.task_id, "--attempt", "2")
        begun = int(re.search(r"begins at step (\d+)", log).group(1))
        self.assertTrue(STEPS < begun < 2 * STEPS, begun)
        result = json.loads(task["result"]["text"])
        self.assertEqual(result["steps"], STEPS * EPOCHS)
        self.assertGreater(result["accuracy"], 0.9)


if __name__ == "__main__":
    unittest.main()
