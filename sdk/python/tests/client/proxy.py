"""A TCP proxy that cuts connections when it is told to."""

from __future__ import annotations

import socket
import socketserver
import threading
from types import TracebackType
from typing import Optional


class Proxy:
    """Passes everything on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._open: list[socket.socket] = []
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._pass_on(self.request, port)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.connections = 0

    def _pass_on(self, client: socket.socket, port: int) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            return
        self._open += [client, server]
        self.connections += 1
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()

    def cut(self) -> None:
        """Breaks all connections; new ones are accepted."""
        ends, self._open = self._open, []
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._server.shutdown()
        self.cut()
        self._server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
