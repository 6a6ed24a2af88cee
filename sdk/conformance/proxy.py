"""A TCP proxy in front of the broker, which can be cut, taken down, and swallow everything."""

import asyncio
import socket
import struct
import threading

CHUNK_BYTES = 64 * 1024


class Proxy:
    """Listens on a free port of this machine and passes on to `upstream`, a port here too.

    It runs in a thread of its own; all methods may be called from any thread and return when what
    they say is done.
    """

    def __init__(self, upstream):
        self._upstream = upstream
        self._connections = set()
        self._pumps = set()
        self._down = False
        self._hole_end = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._call(self._listen())

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _listen(self):
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    def cut(self):
        """Resets all connections; new ones are accepted at once."""
        self._call(self._reset())

    def down(self):
        """Resets all connections, and each new one, until `up`."""
        self._down = True
        self._call(self._reset())

    def up(self):
        """Passes on again, also after a black hole that is not over."""
        self._down = False
        self._call(self._end_hole())

    def blackhole(self, seconds):
        """For so long nothing passes and connections stay open; then all are reset."""
        self._call(self._begin_hole(seconds))

    def close(self):
        """Ends it; the port is free again."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _close(self):
        self._server.close()
        await self._end_hole()
        await self._reset()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _begin_hole(self, seconds):
        self._passing.clear()
        if self._hole_end:
            self._hole_end.cancel()
        ending = asyncio.ensure_future
        self._hole_end = self._loop.call_later(seconds, lambda: ending(self._end_hole()))

    async def _end_hole(self):
        if self._hole_end:
            self._hole_end.cancel()
            self._hole_end = None
            await self._reset()
            self._passing.set()

    async def _reset(self):
        for writer in list(self._connections):
            reset(writer)
        self._connections.clear()

    async def _serve(self, reader, writer):
        self._pumps.add(asyncio.current_task())
        self._connections.add(writer)
        try:
            if self._down:
                return
            await self._passing.wait()
            if writer.is_closing():
                return
            upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._connections.add(upstream[1])
            there = asyncio.ensure_future(self._pump(reader, upstream[1]))
            back = asyncio.ensure_future(self._pump(upstream[0], writer))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
            reset(upstream[1])
            self._connections.discard(upstream[1])
        except OSError:
            # No broker: the client sees a connection that is reset, as from a balancer.
            pass
        finally:
            reset(writer)
            self._connections.discard(writer)
            self._pumps.discard(asyncio.current_task())

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass


def reset(writer):
    """Closes with RST instead of FIN, so that nobody takes it for a good end."""
    if writer.is_closing():
        return
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
