import json
import os
import signal
import tempfile
import unittest
from unittest import mock

import protocol


class Protocol(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = lambda name: os.path.join(folder.name, name)

    def test_each_event_is_a_line(self):
        events = self.path("events.jsonl")
        with mock.patch.dict(os.environ, {"ASYNCFLOW_EVENTS": events}):
            protocol.emit({"event": "stage", "stage": "é\n"})
            protocol.emit({"event": "result", "data": 1})
        with open(events, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual([json.loads(line)["event"] for line in lines], ["stage", "result"])

    def test_the_first_attempt_has_an_empty_context(self):
        context = self.path("context")
        with mock.patch.dict(os.environ, {"ASYNCFLOW_CONTEXT": context}):
            for text, expected in [("", {}), ('{"epoch": 3}', {"epoch": 3})]:
                with open(context, "w", encoding="utf-8") as file:
                    file.write(text)
                self.assertEqual(protocol.saved_context(), expected)

    def test_it_is_told_to_stop_by_file_or_by_signal(self):
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        with mock.patch.dict(os.environ, {"ASYNCFLOW_STOP": self.path("stop")}):
            stop = protocol.Stop()
            self.assertFalse(stop.requested())
            open(self.path("stop"), "w").close()
            self.assertTrue(stop.requested())
        self.assertFalse(stop.requested())
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertTrue(stop.requested())

    def test_a_file_is_whole_or_not_there(self):
        target = self.path("checkpoint")
        protocol.write_durably(target, lambda file: file.write(b"old"))

        def fails(file):
            file.write(b"half")
            raise OSError("the disk is full")

        with self.assertRaises(OSError):
            protocol.write_durably(target, fails)
        with open(target, "rb") as file:
            self.assertEqual(file.read(), b"old")


if __name__ == "__main__":
    unittest.main()
