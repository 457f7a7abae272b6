"""One connection of a viewer: a socket, perhaps TLS and a WebSocket on it, its link, and then messages.

What the messages mean is the channel's. Buffers are small: a server has many connections, and clients say little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from caraway.errors import CarawayError, LinkError
from caraway.server.websocket import REQUEST_BEGINS, WebSocket
from caraway.wire.capabilities import Capabilities
from caraway.wire.fields import Buffer
from caraway.wire.framing import Frame, FrameReader, pack_header
from caraway.wire.link import ServerLink

READ_SIZE = 4 << 10
"""Bytes asked of the socket at once, in a link and on channels that carry files."""

SMALL_READ_SIZE = 1 << 10
"""On other channels: keys and pointer positions have some twenty each. Idle connections hold four times as much."""

WRITE_BUFFER_HIGH = 32 << 10
WRITE_BUFFER_LOW = 8 << 10
"""The transport holds little, so that a picture is encoded from the newest pixels."""

AT_ONCE = 16 << 10
"""Bytes of messages that are kept until the loop's next turn: many small ones leave by one call of the system."""

CLOSE_DEADLINE = 2.0
"""Seconds that the last bytes may take to leave when a connection is closed."""


class Connection(asyncio.BufferedProtocol):
    """The server's end of one link.

    peer: how logs and errors name the client: its address.
    local: whether it came over a Unix socket.
    secure: whether TLS protects it.
    """

    def __init__(self, peer: str, *, local: bool = False, secure: bool = False) -> None:
        self.peer, self.local, self.secure = peer, local, secure
        self.link = ServerLink(secure=secure or local)
        self.writable = True
        self.on_writable: Callable[[], None] = lambda: None
        self.transport: asyncio.Transport | None = None
        self.client_capabilities = Capabilities()
        """What the client announced for this channel."""
        self._websocket: WebSocket | None = None
        self._begun = False
        self._outbox = bytearray()
        self._flushing: asyncio.Handle | None = None
        self._inbox = memoryview(bytearray(READ_SIZE))
        self._reader: FrameReader | None = None
        self._unwrapped = bytearray()
        """What came by WebSocket and waits for the reader: a frame's payload at most, and one read."""
        self._paused = False
        self._ended: CarawayError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        """Whether nothing more comes from the client, nor is wanted from it."""
        return self._ended is not None

    async def authenticate(self, answer: Callable[[ServerLink], Awaitable[None]]) -> None:
        """Go through the link. Raises what ends it.

        answer: answers the link's question.
        """
        link = self.link
        while not link.done:
            if self._ended is not None:
                raise self._ended
            if link.question is None:
                await self.readable()
                continue
            try:
                await answer(link)
            finally:
                self.write(link.data_to_send())
            if link.closed:
                raise LinkError(f"{link.name}: turned away")
        assert link.request is not None
        self.client_capabilities = link.request.channel

    def begin(self, max_size: int, read_size: int = SMALL_READ_SIZE) -> None:
        """The link is done: read messages from now on, of at most so many bytes."""
        link = self.link
        self._reader = FrameReader(mini=link.mini_header, max_size=max_size, initial=link.rest, read_size=read_size)
        self._begun = True
        if self._websocket is None:
            self._inbox = memoryview(b"")
        if self._reader.crowded:
            self._pause()

    def next_frame(self) -> Frame | None:
        """The next message, if it is complete. Raises ProtocolError."""
        reader = self._reader
        assert reader is not None
        while (frame := reader.next_frame()) is None and self._unwrapped:
            target = reader.get_buffer()
            count = min(len(target), len(self._unwrapped))
            target[:count] = self._unwrapped[:count]
            del self._unwrapped[:count]
            reader.received(count)
        if self._paused and frame is None:
            self._paused = False
            cast(asyncio.Transport, self.transport).resume_reading()
        return frame

    async def readable(self) -> None:
        """Wait until more has come. Raises what ended the connection."""
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    def wake(self) -> None:
        """Let `readable` return: what has come already is wanted now."""
        self._wake()

    def write_message(self, type: int, body: bytes, serial: int) -> None:
        """Write a data message, together with others that follow at once."""
        header = pack_header(self.link.mini_header, type, len(body), serial)
        if len(self._outbox) + len(body) > AT_ONCE:
            self.write(header + body)
            return
        self._outbox += header
        self._outbox += body
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def write(self, data: bytes) -> None:
        """Write bytes of the stream, after what waits."""
        if self._outbox:
            data = bytes(self._outbox) + data
            self._outbox.clear()
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data if self._websocket is None else self._websocket.wrap(data))

    def _flush(self) -> None:
        self._flushing = None
        self.write(b"")

    async def aclose(self) -> None:
        """Close in order: what was written leaves first, within a deadline."""
        if self.transport is None:
            return
        self.write(b"")
        if self._websocket is not None and not self.transport.is_closing():
            self.transport.write(self._websocket.close())
        self.transport.close()
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self.transport.abort()
            await asyncio.shield(self._closed)

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.write(b"")
            self.transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH, low=WRITE_BUFFER_LOW)

    def get_buffer(self, sizehint: int) -> Buffer:
        return self._inbox if self._reader is None or self._websocket is not None else self._reader.get_buffer()

    def buffer_updated(self, count: int) -> None:
        try:
            if self._reader is None or self._websocket is not None:
                self._received(self._inbox[:count])
            else:
                self._reader.received(count)
                if self._reader.crowded:
                    self._pause()
        except CarawayError as error:
            self._fail(error)
        self._wake()

    def eof_received(self) -> bool:
        self._end(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.on_writable()

    def _received(self, data: memoryview) -> None:
        """Bytes of the link, or of a WebSocket."""
        if not self._begun:
            self._begun = True
            if bytes(data[:4]) == REQUEST_BEGINS[: len(data)]:
                self._websocket = WebSocket()
        stream: Buffer = data
        if self._websocket is not None:
            stream = self._unwrap(self._websocket, data)
        if self._reader is None:
            self.link.receive(stream)
            self.write(self.link.data_to_send())
            return
        self._unwrapped += stream
        if len(self._unwrapped) > READ_SIZE:
            self._pause()

    def _unwrap(self, websocket: WebSocket, data: memoryview) -> bytes:
        try:
            return websocket.receive(data)
        finally:
            # Who pings and does not read gets no pongs: they would heap up here.
            if (said := websocket.data_to_send()) and self.writable:
                cast(asyncio.Transport, self.transport).write(said)
            if websocket.ended:
                self._end(None)

    def _pause(self) -> None:
        self._paused = True
        cast(asyncio.Transport, self.transport).pause_reading()

    def _end(self, error: Exception | None) -> None:
        if self._ended is None:
            self._ended = LinkError(f"{self.peer}: {error or 'the client closed the connection'}")
            if self._reader is None:
                try:
                    self.link.eof()
                except CarawayError as typed:
                    self._ended = typed
        self._wake()

    def _fail(self, error: CarawayError) -> None:
        """The client broke the rules: what is still to be said is said, then the connection ends."""
        if self._ended is None:
            self._ended = error
        if self.transport is not None:
            self.write(self.link.data_to_send() if self._reader is None else b"")
            self.transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            if self._ended is None:
                self._waiter.set_result(None)
            else:
                self._waiter.set_exception(self._ended)
