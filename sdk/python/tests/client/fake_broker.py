"""A broker that answers as a test says, for what a real one cannot be made to do on demand."""

from __future__ import annotations

from concurrent import futures
from types import TracebackType
from typing import Any, Callable, Optional

import grpc

Handler = Callable[[Any, Any], Any]


class FakeBroker:
    """Serves these methods of the broker's service, e.g. `DeleteTask=lambda request, context: …`.

    What is a generator function is a stream of answers.
    """

    def __init__(self, **methods: Handler) -> None:
        from asyncflow.v1 import broker_service_pb2_grpc as generated

        servicer = type("Servicer", (generated.BrokerServiceServicer,), {})()
        for name, method in methods.items():
            setattr(servicer, name, method)
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        generated.add_BrokerServiceServicer_to_server(servicer, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"http://127.0.0.1:{port}"

    def __enter__(self) -> FakeBroker:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._server.stop(None)


def answers_lost_first(code: grpc.StatusCode) -> Handler:
    """Does what it is asked for at the first try, but loses the answer; so the next is refused."""
    tries: list[Any] = []

    def answer(request: Any, context: Any) -> Any:
        tries.append(request)
        if len(tries) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        context.abort(code, "so it is already")

    return answer
