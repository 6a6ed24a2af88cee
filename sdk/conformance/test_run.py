"""The driver and the player must fail where they should: python3 -m unittest discover here."""

import json
import os
import socket
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
import story
from proxy import Proxy

SCENARIO = {"about": "", "steps": [{"do": "get"}]}
WANTED = {"one": ("one.json", SCENARIO), "two": ("two.json", SCENARIO)}
FALSIFIED = {"bad": ("bad.json", {"about": "", "steps": [{"do": "get"}, {"do": "get"}]})}
BAD = '{"scenario": "bad", "ok": false, "step": 1, "message": "b instead of a"}'


class FakeStack:
    """What a Run asks of a stack."""

    def variables(self):
        return {}


class Judging(unittest.TestCase):
    """A runner's output as the driver judges it."""

    def judge(self, lines, code, bad=BAD):
        lines = [bad, *lines]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "conformance.sh")
            with open(path, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\ncat <<'END'\n%s\nEND\nexit %d\n" % ("\n".join(lines), code))
            os.chmod(path, 0o755)
            with mock.patch.object(run, "runner_of", lambda _: path):
                with mock.patch("builtins.print"):
                    return run.Run("fake", WANTED, FALSIFIED).start(FakeStack()).wrong

    def test_all_well(self):
        lines = [json.dumps({"scenario": name, "ok": True}) for name in WANTED]
        self.assertEqual(self.judge(lines, 1), [])
        for code, bad in ((0, BAD.replace("false", "true")), (1, BAD.replace("1", "0"))):
            self.assertNotEqual(self.judge(lines, code, bad), [])

    def test_a_reason_to_skip(self):
        lines = ['{"scenario": "one", "ok": true}']
        skipped = '{"scenario": "two", "ok": false, "skipped": "because"}'
        self.assertEqual(self.judge([*lines, skipped], 1), [])
        silent = '{"scenario": "two", "ok": false, "skipped": ""}'
        self.assertEqual(self.judge([*lines, silent], 1), ["two: failed"])

    def test_what_is_missing_failed_or_nonsense(self):
        wrong = self.judge(['{"scenario": "one", "ok": true}'], 1)
        self.assertEqual(wrong, ["two: missing from the output"])
        failed = '{"scenario": "one", "ok": false, "step": 0, "message": "no"}'
        two = '{"scenario": "two", "ok": true}'
        self.assertEqual(self.judge([failed, two], 1), ["one: failed"])
        self.assertIn("ended with 0, though not all is well", self.judge([failed, two], 0))
        one = '{"scenario": "one", "ok": true}'
        self.assertEqual(len(self.judge([one, two, "hello"], 1)), 1)
        self.assertEqual(len(self.judge([one, two, one], 1)), 1)
        self.assertEqual(len(self.judge([one, two], 0)), 1)
        self.assertEqual(len(self.judge([one, '{"scenario": "two", "ok": "yes"}'], 1)), 1)


class Player:
    """Answers what the test says."""

    def __init__(self, answer):
        self.answer = answer

    def get(self, **_):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _create_type(self, _):
        pass

    def _close(self):
        pass


class Playing(unittest.TestCase):
    """Steps and their conditions."""

    def play(self, answer, **step):
        scenario = {"name": "s", "types": {"work": {}}, "steps": [{"do": "get", **step}]}
        return story.play(scenario, Player(answer))

    def test_conditions(self):
        answer = {"n": "3", "list": [{"a": 1}], "flag": True}
        good = {"n": 3, "list.#": 1, "list.0.a": {"any": [2, 1]}, "flag": True}
        good |= {"gone": 0, "gone.#": 0, "gone.deep": {"exists": False}}
        self.assertTrue(self.play(answer, expect=good)["ok"])
        bad = [("n", 4), ("flag", 1), ("list.#", 0), ("list.1.a", 1), ("n", {"exists": False})]
        bad += [("gone", 1), ("gone", "x"), ("n", {"any": ["4"]}), ("flag", False)]
        for path, condition in bad:
            self.assertFalse(self.play(answer, expect={path: condition})["ok"], (path, condition))

    def test_errors(self):
        error = story.CallFailed("NOT_FOUND", "GONE", ["b", "a"], False)
        right = {"code": "NOT_FOUND", "reason": "GONE", "violations": ["a", "b"]}
        self.assertTrue(self.play(error, expect_error=right)["ok"])
        for wrong in ({"code": "INTERNAL"}, {"violations": ["a"]}, {"retryable": True}, {"odd": 1}):
            self.assertFalse(self.play(error, expect_error=wrong)["ok"], wrong)
        self.assertFalse(self.play(error)["ok"])
        self.assertFalse(self.play({}, expect_error={"code": "NOT_FOUND"})["ok"])

    def test_times_variables_and_unknown_steps(self):
        self.assertFalse(self.play({}, at_least_ms=50)["ok"])
        self.assertFalse(self.play({}, task="$nothing.id")["ok"])
        self.assertEqual(story.fill("<$t.a.0>", {"t": {"a": [7]}}), "<7>")
        scenario = {"name": "s", "types": {}, "steps": [{"do": "_close"}]}
        self.assertFalse(story.play(scenario, Player({}))["ok"])


class Proxying(unittest.TestCase):
    """The proxy before a server that sends back what it gets."""

    def setUp(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        threading.Thread(target=self.serve, args=[server], daemon=True).start()
        self.proxy = Proxy(server.getsockname()[1])
        self.addCleanup(self.proxy.close)

    def serve(self, server):
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self.send_back, args=[peer], daemon=True).start()

    def send_back(self, peer):
        with peer:
            try:
                while data := peer.recv(100):
                    peer.sendall(data)
            except OSError:
                pass

    def connect(self):
        peer = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=5)
        self.addCleanup(peer.close)
        return peer

    def ask(self, peer):
        peer.sendall(b"x")
        return peer.recv(1)

    def test_cut_and_down(self):
        peer = self.connect()
        self.assertEqual(self.ask(peer), b"x")
        self.proxy.cut()
        with self.assertRaises(OSError):
            self.ask(peer)
        self.assertEqual(self.ask(self.connect()), b"x")
        self.proxy.down()
        with self.assertRaises(OSError):
            if not self.ask(self.connect()):
                raise OSError("closed")
        self.proxy.up()
        self.assertEqual(self.ask(self.connect()), b"x")

    def test_black_hole(self):
        old = self.connect()
        self.assertEqual(self.ask(old), b"x")
        self.proxy.blackhole(0.6)
        new = self.connect()
        for peer in (old, new):
            peer.settimeout(0.15)
            with self.assertRaises(socket.timeout):
                self.ask(peer)
        time.sleep(0.5)
        for peer in (old, new):
            peer.settimeout(2)
            with self.assertRaises(ConnectionError):
                if not self.ask(peer):
                    raise ConnectionError
        self.assertEqual(self.ask(self.connect()), b"x")


if __name__ == "__main__":
    unittest.main()
