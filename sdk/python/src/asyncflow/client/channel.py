"""A channel to a broker on which every call carries the token and a trace, and is repeated where
that may help. The generated stubs are put on it, so that all their calls have this."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Generic, Optional, TypeVar

import grpc

from asyncflow.client import status
from asyncflow.client.retry import Tries, identified, seconds, traced
from asyncflow.client.settings import Settings

C = TypeVar("C")

Metadata = Sequence[tuple[str, str]]

# Channel arguments. A dead connection is noticed after the keep-alive's interval and timeout; gRPC
# itself would wait for minutes before it looks for a broker again that was away.
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The proxies of the environment are for the web; as in the SDKs of the other languages.
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "asyncflow-python/0.1.0"),
)

_opened_in: Optional[int] = None
_forked_with_grpc = False


def _after_fork() -> None:
    global _forked_with_grpc
    _forked_with_grpc = _opened_in is not None


os.register_at_fork(after_in_child=_after_fork)


class Connection(Generic[C]):
    """Opens its channel at the first call, in the process that makes it."""

    def __init__(self, settings: Settings, open_channel: Callable[[Settings], C]) -> None:
        self.settings = settings
        self.headers: Metadata = (
            (("authorization", f"Bearer {settings.token}"),) if settings.token else ()
        )
        self._open = open_channel
        self._channel: Optional[C] = None
        self._is_closed = False

    def channel(self) -> C:
        """The open channel. Errors: RuntimeError when it is closed, and in a forked child of a
        process that used one."""
        global _opened_in
        if _forked_with_grpc:
            raise RuntimeError(
                f"this process ({os.getpid()}) was forked from one ({_opened_in}) that had used an "
                "asyncflow client, and gRPC does not survive a fork: make the first call after the "
                "fork, or start the process by 'spawn' "
                "(multiprocessing.get_context('spawn'))"
            )
        if self._is_closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            _opened_in = os.getpid()
            self._channel = self._open(self.settings)
        return self._channel

    def taken(self) -> Optional[C]:
        """Gives the open channel away, if there is one, to be closed. It is not opened again."""
        self._is_closed = True
        channel, self._channel = self._channel, None
        return channel


def open_channel(settings: Settings) -> grpc.Channel:
    """A channel of gRPC for these settings."""
    if settings.is_tls:
        return grpc.secure_channel(settings.target, credentials(settings), options=_OPTIONS)
    return grpc.insecure_channel(settings.target, options=_OPTIONS)


def open_aio_channel(settings: Settings) -> grpc.aio.Channel:
    """The same for asyncio; it belongs to the loop that runs now."""
    if settings.is_tls:
        return grpc.aio.secure_channel(settings.target, credentials(settings), options=_OPTIONS)
    return grpc.aio.insecure_channel(settings.target, options=_OPTIONS)


def nothing() -> None:
    """What is done when a stream is open, unless somebody wants to know."""


def credentials(settings: Settings) -> grpc.ChannelCredentials:
    """TLS that trusts the CA file, else the authorities that gRPC knows."""
    return grpc.ssl_channel_credentials(settings.root_certificates())


class RetryingChannel:
    """What the generated stubs take for a channel. Errors of its calls are BrokerErrors."""

    def __init__(self, connection: Connection[grpc.Channel], timeout_s: float) -> None:
        self.connection = connection
        self.timeout_s = timeout_s

    def unary_unary(self, method: str, **codecs: Any) -> Callable[..., Any]:
        """A call with one answer."""
        return functools.partial(self._call, method, codecs)

    def unary_stream(self, method: str, **codecs: Any) -> Callable[..., Iterator[Any]]:
        """A call with a stream of answers; it is not repeated and has no deadline of its own."""
        return functools.partial(self._stream, "unary_stream", method, codecs)

    def stream_stream(self, method: str, **codecs: Any) -> Callable[..., Iterator[Any]]:
        """A call with streams both ways; it is not repeated and has no deadline of its own."""
        return functools.partial(self._stream, "stream_stream", method, codecs)

    def _call(
        self,
        method: str,
        codecs: dict[str, Any],
        request: Any,
        timeout: Optional[float] = None,
        metadata: Metadata = (),
    ) -> Any:
        call = self.connection.channel().unary_unary(method, **codecs)
        request = identified(request)
        timeout = seconds(timeout, self.timeout_s)
        tries = Tries(method, timeout, time.monotonic(), metadata)
        headers = [*self.connection.headers, *tries.metadata]
        while True:
            try:
                return call(
                    request, timeout=tries.time_left(time.monotonic()), metadata=tuple(headers)
                )
            except grpc.RpcError as error:
                told = status.of_call(error, self.connection.settings)
            self.pause(tries.wait_after(told, time.monotonic()))

    def pause(self, wait_s: float) -> None:
        """Sleeps, and has the connection made meanwhile: between calls nothing else drives it, and
        a handshake that goes on only while calls fail at once never ends."""
        end = time.monotonic() + wait_s
        ready = grpc.channel_ready_future(self.connection.channel())
        try:
            ready.result(timeout=wait_s)
        except grpc.FutureTimeoutError:
            pass
        finally:
            ready.cancel()
        time.sleep(max(0.0, end - time.monotonic()))

    def _stream(
        self,
        kind: str,
        method: str,
        codecs: dict[str, Any],
        request: Any,
        timeout: Optional[float] = None,
        metadata: Metadata = (),
        opened: Callable[[], None] = nothing,
    ) -> Iterator[Any]:
        headers = [*self.connection.headers, *traced(metadata)]
        call = getattr(self.connection.channel(), kind)(method, **codecs)
        return self._answers(call(request, timeout=timeout, metadata=headers), opened)

    def _answers(self, answers: Any, opened: Callable[[], None]) -> Iterator[Any]:
        try:
            answers.initial_metadata()
            if answers.is_active():
                opened()
            yield from answers
        except grpc.RpcError as error:
            raise status.of_call(error, self.connection.settings) from None
        finally:
            answers.cancel()
