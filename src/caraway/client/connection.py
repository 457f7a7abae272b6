"""One connection: a socket, its TLS, the header style and capabilities that its link agreed on.

A connection belongs to a channel only for a while: a migration swaps another one under the living channel. So it knows
frames, not what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import cast

from caraway.errors import CarawayError, LinkError
from caraway.wire.fields import Buffer
from caraway.wire.framing import Frame, FrameReader, pack_header
from caraway.wire.link import ClientLink

LINK_BUFFER_SIZE = 16 << 10
"""Bytes asked of the socket at once until the link is made: a link reply is at most 4 KiB."""

WRITE_BUFFER_HIGH = 32 << 10
WRITE_BUFFER_LOW = 8 << 10
"""The transport holds little: what it has cannot be overtaken or called back."""

CLOSE_DEADLINE = 2.0
"""Seconds that the last bytes may take to leave when a connection is closed."""


class Connection(asyncio.BufferedProtocol):
    """A link to one channel of a server.

    peer: how errors name the other side, such as `display 0 of host:5900`.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.machine: ClientLink | None = None
        """The handshake: its capabilities remain after it is done."""
        self.writable = True
        self.on_writable: Callable[[], None] = lambda: None
        self._reader: FrameReader | None = None
        # A view, for asyncio's TLS fills a buffer through slices of it, which of a bytearray would be copies.
        self._unread: deque[Frame] = deque()
        self._inbox = memoryview(bytearray(LINK_BUFFER_SIZE))
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._waits = False
        """Whether authentication waits for something else."""
        self._finished = False
        self._ended: CarawayError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def secure(self) -> bool:
        """Whether TLS protects the connection."""
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    @property
    def local(self) -> bool:
        """Whether the connection is a Unix socket, where servers send no pings."""
        return self._transport is not None and isinstance(self._transport.get_extra_info("peername"), str)

    def certificate(self) -> bytes | None:
        """The server's certificate, DER."""
        tls = self._transport and self._transport.get_extra_info("ssl_object")
        return cast(bytes | None, tls.getpeercert(binary_form=True)) if tls else None

    async def link(
        self,
        machine: ClientLink,
        *,
        after: asyncio.Future[None] | None = None,
        answered: Callable[[], None] | None = None,
    ) -> None:
        """Go through link and authentication. Raises what the machine raises, or LinkError at the end of the stream.

        after: what authentication waits for. answered: called once the server has taken up the link.
        """
        self.machine = machine
        self.write(machine.data_to_send())
        if after is not None:
            self._waits = True
            await asyncio.shield(after)
            self._waits = False
            self.write(machine.data_to_send())
        while not machine.done:
            await self.readable()
            if answered is not None and machine.answered:
                answered()

    def next_frame(self) -> Frame | None:
        """The next message, if it is complete. Raises ProtocolError."""
        if self._unread:
            return self._unread.popleft()
        assert self._reader is not None
        frame = self._reader.next_frame()
        if frame is None and self._paused:
            self._paused = False
            cast(asyncio.Transport, self._transport).resume_reading()
        return frame

    @property
    def pending(self) -> FrameReader | None:
        """What may be read in place of `next_frame`: messages with mini headers; None if there is anything else."""
        reader = self._reader
        return None if self._unread or reader is None or not reader.mini else reader

    def unread(self, frame: Frame) -> None:
        """Give back a message that was only looked at: `next_frame` gives it again, behind those given back before."""
        self._unread.append(frame)

    async def readable(self) -> None:
        """Wait until more has come. Raises LinkError once there is nothing more to come."""
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    def write_message(self, type: int, body: bytes, serial: int) -> None:
        """Write a data message."""
        machine = cast(ClientLink, self.machine)
        self.write(pack_header(machine.mini_header, type, len(body), serial) + body)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self._finished:
            self._transport.write(data)

    async def aclose(self) -> None:
        """Close in order: what was written leaves first, within a deadline."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self.abort()
            await self._closed

    async def finish(self) -> None:
        """Close once the server has read everything: end our direction and wait, within a deadline, for its end."""
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._finished = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await asyncio.shield(self._closed)
        await self.aclose()

    async def wait_closed(self) -> None:
        """Wait until nothing is left of the connection."""
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH, low=WRITE_BUFFER_LOW)

    def get_buffer(self, sizehint: int) -> Buffer:
        return self._inbox if self._reader is None else self._reader.get_buffer()

    def buffer_updated(self, count: int) -> None:
        if self._reader is None:
            self._link_received(count)
        else:
            self._reader.received(count)
            if self._reader.crowded:
                self._paused = True
                cast(asyncio.Transport, self._transport).pause_reading()
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

    def _link_received(self, count: int) -> None:
        if self.machine is None:
            self._fail(LinkError(f"{self.peer}: the server spoke before the client"))
            return
        try:
            self.machine.receive(bytes(self._inbox[:count]))
        except CarawayError as error:
            self._fail(error)
            return
        if not self._waits:
            self.write(self.machine.data_to_send())
        if self.machine.done:
            self._reader = FrameReader(mini=self.machine.mini_header, initial=self.machine.rest)

    def _end(self, error: Exception | None) -> None:
        """The stream is over: with a typed error, whatever was under way."""
        if self._ended is None:
            self._ended = LinkError(f"{self.peer}: {error or 'the server closed the connection'}")
            if self._reader is None and self.machine is not None:
                try:
                    self.machine.eof()
                except CarawayError as typed:
                    self._ended = typed
        self._wake()

    def _fail(self, error: CarawayError) -> None:
        self._ended = error
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            if self._ended is None:
                self._waiter.set_result(None)
            else:
                self._waiter.set_exception(self._ended)
