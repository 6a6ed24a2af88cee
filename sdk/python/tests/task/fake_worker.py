"""A fake of the worker's Unix socket, for what a real worker cannot be made to do on demand.

It answers as `AttemptService` over HTTP/1.1 does, and keeps what it was told. The tests in
test_real_worker.py show that the real one answers alike.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import parse_qs, urlsplit

TOKEN = "the-token"
Answer = tuple[int, dict[str, Any]]


def error(code: int, status: str, message: str, reason: str = "") -> Answer:
    """An answer that is an error of this status."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    details = [{"@type": kind, "reason": reason}] if reason else []
    return code, {
        "error": {"code": code, "status": status, "message": message, "details": details}
    }


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


class FakeWorker:
    """One attempt's directory, and a socket that can be closed and opened again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, Any]] = []
        self.connections = 0
        # Asked before each call; an answer of its own takes the place of the usual one.
        self.instead: Callable[[str, Any], Optional[Answer]] = lambda _method, _body: None
        self.children: list[dict[str, Any]] = []
        self._server: Optional[_Server] = None
        self._open: list[Any] = []
        for name in ("context", "payload", "events.jsonl"):
            (folder / name).write_bytes(b"")

    def environment(self, **changed: str) -> dict[str, str]:
        """The variables that the worker sets."""
        path = self.folder.__truediv__
        return {
            "ASYNCFLOW_TASK_ID": "work-1-0an6fq2jdr400",
            "ASYNCFLOW_TASK_TYPE": "work",
            "ASYNCFLOW_ATTEMPT": "1",
            "ASYNCFLOW_STAGE": "",
            "ASYNCFLOW_CONTEXT": str(path("context")),
            "ASYNCFLOW_PAYLOAD": str(path("payload")),
            "ASYNCFLOW_EVENTS": str(path("events.jsonl")),
            "ASYNCFLOW_STOP": str(path("stop")),
            "ASYNCFLOW_SOCKET": str(path("s")),
            "ASYNCFLOW_ATTEMPT_TOKEN": TOKEN,
            **changed,
        }

    def start(self) -> None:
        """Listens."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                fake.connections += 1
                fake._open.append(self.connection)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def address_string(self) -> str:
                return "unix"

            def _answer(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                method = self.path.split(":", 1)[-1]
                given = self.headers.get("asyncflow-attempt-token")
                code, answer = fake._answered(given, method, body)
                data = json.dumps(answer).encode()
                with contextlib.suppress(OSError):
                    self.send_response(code)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            do_GET = do_POST = _answer

        self._server = _Server(str(self.folder / "s"), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Is gone, with all connections, as one that was killed."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            os.unlink(self.folder / "s")
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(2)
        self._open.clear()

    def _answered(self, token: Optional[str], method: str, body: Any) -> Answer:
        if token != TOKEN:
            return error(401, "UNAUTHENTICATED", "no attempt has this token")
        given = self.instead(method, body)
        self.calls.append((method, body))
        if given is not None:
            return given
        if method == "saveContext":
            return 200, {"context_version": str(len(self.calls))}
        if method.startswith("listChildren"):
            query = parse_qs(urlsplit(method).query)
            begin = int(query.get("page_token", ["0"])[0])
            page = self.children[begin : begin + 64]
            more = str(begin + 64) if len(self.children) > begin + 64 else ""
            return 200, {"children": page, "next_page_token": more}
        return 200, {}

    def told(self, method: str) -> list[Any]:
        """The bodies of the calls of this method."""
        return [body for called, body in self.calls if called == method]

    def contexts(self) -> list[Any]:
        """The contexts that were saved by the socket."""
        return [self.json_of(body["context"]) for body in self.told("saveContext")]

    @staticmethod
    def json_of(content: dict[str, str]) -> Any:
        """What a Content holds."""
        return json.loads(base64.b64decode(content["data"]))

    def events(self, kind: str = "") -> list[Any]:
        """The events in the file."""
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [event for event in found if not kind or event["event"] == kind]
