"""digits.py against a stand-in for the worker: kill it, stop it, run it again.

    python -m unittest discover examples/digits
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import joblib
import numpy as np

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "digits.py")
EPOCHS = 30


class Task:
    """What asyncflow keeps of a task, and how its worker runs an attempt."""

    def __init__(self, directory, name):
        self.directory = os.path.join(directory, name)
        self.run_dir = os.path.join(self.directory, "run")
        os.makedirs(self.run_dir)
        self.stage = ""
        self.context = None
        self.contexts_saved = 0
        self.result = None
        self.attempt = 0

    def path(self, name):
        return os.path.join(self.directory, "%s-%d" % (name, self.attempt))

    def start(self, pace=0.0):
        self.attempt += 1
        with open(self.path("context"), "w", encoding="utf-8") as file:
            file.write("" if self.context is None else json.dumps(self.context))
        environment = dict(
            os.environ,
            ASYNCFLOW_STAGE=self.stage,
            ASYNCFLOW_CONTEXT=self.path("context"),
            ASYNCFLOW_EVENTS=self.path("events"),
            ASYNCFLOW_STOP=self.path("stop"),
        )
        command = [sys.executable, SCRIPT, "--run-dir", self.run_dir, "--epochs", str(EPOCHS)]
        return subprocess.Popen(
            command + ["--pace", str(pace)], env=environment, stdout=subprocess.DEVNULL
        )

    def events(self):
        """The whole lines that the attempt has appended so far."""
        try:
            with open(self.path("events"), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in data.splitlines(keepends=True) if line[-1:] == b"\n"]

    def settle(self):
        """Take over what the attempt saved, as the worker does when its process has ended."""
        for event in self.events():
            if event["event"] == "context":
                self.context = event["data"]
                self.contexts_saved += 1
                self.stage = event.get("stage", self.stage)
            elif event["event"] == "result":
                self.result = event["data"]

    def wait_for_epoch(self, process, epoch):
        while process.poll() is None:
            saved = [e["data"]["epoch"] for e in self.events() if e["event"] == "context"]
            if saved and saved[-1] >= epoch:
                return
            time.sleep(0.01)
        raise AssertionError("it ended before epoch %d" % epoch)


class DigitsTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def finish(self, task):
        self.assertEqual(task.start().wait(timeout=300), 0)
        task.settle()

    def test_killed_twice_ends_like_an_undisturbed_run(self):
        calm = Task(self.directory.name, "calm")
        self.finish(calm)

        rough = Task(self.directory.name, "rough")
        for epoch in (5, 12):
            process = rough.start(pace=0.2)
            rough.wait_for_epoch(process, epoch)
            process.send_signal(signal.SIGKILL)
            self.assertEqual(process.wait(), -signal.SIGKILL)
            rough.settle()
            self.assertGreaterEqual(rough.context["epoch"], epoch)
            self.assertLess(rough.context["epoch"], EPOCHS)
            self.assertEqual(rough.stage, "")
        self.finish(rough)

        # No epoch was saved twice, and none was left out: 1 to EPOCHS, then one a stage.
        self.assertEqual(rough.contexts_saved, EPOCHS + 3)
        self.assertEqual(rough.stage, "generate")
        self.assertGreaterEqual(rough.result["accuracy"], 0.95)
        for digit, row in enumerate(rough.result["confusion_matrix"]):
            self.assertEqual(max(range(10), key=row.__getitem__), digit)
        calm_net, rough_net = (joblib.load(t.context["checkpoint"]) for t in (calm, rough))
        for a, b in zip(calm_net.coefs_, rough_net.coefs_):
            # Where arrays lie in memory moves the last digits, even without a kill.
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        with open(rough.result["png"], "rb") as sheet:
            self.assertEqual(sheet.read(8), b"\x89PNG\r\n\x1a\n")

    def test_asked_to_stop_it_saves_and_says_so(self):
        for name in ("by signal", "by file"):
            task = Task(self.directory.name, name)
            process = task.start(pace=0.2)
            task.wait_for_epoch(process, 3)
            if name == "by signal":
                process.send_signal(signal.SIGTERM)
            else:
                with open(task.path("stop"), "w", encoding="utf-8"):
                    pass
            self.assertEqual(process.wait(timeout=60), 85, name)
            task.settle()
            self.assertGreaterEqual(task.context["epoch"], 3)

    def test_a_checkpoint_that_is_not_the_saved_one_is_refused(self):
        task = Task(self.directory.name, "forged")
        forged = os.path.join(task.run_dir, "epoch-003.joblib")
        with open(forged, "wb") as file:
            file.write(b"not the network that was saved")
        task.context = {"epoch": 3, "checkpoint": forged, "sha256": "0" * 64, "loss": 0.1}
        self.assertEqual(task.start().wait(timeout=60), 65)

    def test_parts_of_a_workflow_hand_on_what_they_made(self):
        folder = self.directory.name
        events = os.path.join(folder, "events")

        def run(script, *arguments, **environment):
            environment = dict(os.environ, ASYNCFLOW_EVENTS=events, **environment)
            path = os.path.join(os.path.dirname(SCRIPT), script)
            done = subprocess.run(
                [sys.executable, path, *arguments], env=environment, stdout=subprocess.DEVNULL
            )
            self.assertEqual(done.returncode, 0, script)
            with open(events, encoding="utf-8") as file:
                said = [json.loads(line) for line in file]
            os.remove(events)
            return [event["data"] for event in said if event["event"] == "result"][-1]

        trained = [
            run("digits.py", "--run-dir", os.path.join(folder, "hidden-%s" % hidden),
                "--epochs", "3", "--stages", "train,validate", "--hidden", hidden)
            for hidden in ("4", "64")
        ]
        self.assertLess(trained[0]["accuracy"], trained[1]["accuracy"])
        results = [trained[0], None, trained[1]]
        best = run("choose.py", ASYNCFLOW_INPUT=json.dumps(results))
        self.assertEqual(best["training"], 2)
        self.assertEqual(best["checkpoint"], trained[1]["checkpoint"])
        network = [best["checkpoint"], best["sha256"], str(best["accuracy"])]
        drawn = run("digits.py", "--run-dir", os.path.join(folder, "drawn"),
                    "--stages", "generate", "--network", *network)
        self.assertEqual(drawn["accuracy"], best["accuracy"])
        with open(drawn["png"], "rb") as sheet:
            self.assertEqual(sheet.read(8), b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    unittest.main()
