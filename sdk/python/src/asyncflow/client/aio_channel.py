"""The channel of `channel.py` for asyncio."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable, Optional

import grpc

from asyncflow.client import status
from asyncflow.client.channel import Connection, Metadata, nothing
from asyncflow.client.retry import Tries, identified, seconds, traced


class RetryingAioChannel:
    """What the generated stubs take for a channel. Errors of its calls are BrokerErrors."""

    def __init__(self, connection: Connection[grpc.aio.Channel], timeout_s: float) -> None:
        self.connection = connection
        self.timeout_s = timeout_s

    def unary_unary(self, method: str, **codecs: Any) -> Callable[..., Awaitable[Any]]:
        """A call with one answer."""
        return functools.partial(self._call, method, codecs)

    def unary_stream(self, method: str, **codecs: Any) -> Callable[..., AsyncIterator[Any]]:
        """A call with a stream of answers; it is not repeated and has no deadline of its own."""
        return functools.partial(self._stream, "unary_stream", method, codecs)

    def stream_stream(self, method: str, **codecs: Any) -> Callable[..., AsyncIterator[Any]]:
        """A call with streams both ways; it is not repeated and has no deadline of its own."""
        return functools.partial(self._stream, "stream_stream", method, codecs)

    async def _call(
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
                left = tries.time_left(time.monotonic())
                return await call(request, timeout=left, metadata=headers)
            except grpc.RpcError as error:
                told = status.of_call(error, self.connection.settings)
            await asyncio.sleep(tries.wait_after(told, time.monotonic()))

    async def _stream(
        self,
        kind: str,
        method: str,
        codecs: dict[str, Any],
        request: Any,
        timeout: Optional[float] = None,
        metadata: Metadata = (),
        opened: Callable[[], None] = nothing,
    ) -> AsyncIterator[Any]:
        headers = [*self.connection.headers, *traced(metadata)]
        call = getattr(self.connection.channel(), kind)(method, **codecs)
        answers = call(request, timeout=timeout, metadata=headers)
        try:
            await answers.initial_metadata()
            if not answers.done():
                opened()
            async for answer in answers:
                yield answer
        except grpc.RpcError as error:
            raise status.of_call(error, self.connection.settings) from None
        finally:
            answers.cancel()
