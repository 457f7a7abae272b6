"""What a channel keeps of its byte stream: the outgoing queue, both serials, the ACK window.

The queue is ours rather than the transport's: it is fed only while the transport's buffer is nearly empty, so a later
message can still be overtaken or kept back when the channel moves to another connection.
"""

from __future__ import annotations

import asyncio
from collections import deque

from caraway.client.connection import Connection
from caraway.errors import LinkError
from caraway.wire.acks import ReceiveWindow
from caraway.wire.framing import FULL_HEADER, Frame
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import Ack

MAX_QUEUED = 8 << 20
"""Bytes that may wait for a peer that does not read. Whoever sends much waits for `drained` long before."""


class ChannelFlow:
    """The outgoing and incoming order of one channel."""

    def __init__(self, connection: Connection) -> None:
        self.acks = ReceiveWindow()
        self.received_serial = 0
        self.sent_serial = 0
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._held = False
        self._connection = connection
        connection.on_writable = self._pump

    def received(self, frame: Frame) -> None:
        """Count a message in; the serial of a full header counts as given."""
        self.received_serial = frame.serial or self.received_serial + 1

    def acknowledge(self, count: int = 1) -> None:
        """So many more messages are processed, at most `acks.until_due`: send an ACK if it is due."""
        if self.acks.received(count):
            self.answer(Ack())

    def send(self, message: Message) -> None:
        """Queue a message. Raises LinkError if the peer has long stopped reading."""
        body = message.pack()
        self._queue.append((message.id, body))
        self._queued += FULL_HEADER.size + len(body)
        self._pump()
        if self._queued > MAX_QUEUED:
            raise LinkError(f"{self._connection.peer}: the server does not read; {self._queued} bytes wait")

    def answer(self, message: Message) -> None:
        """Send what concerns only the connection of now (ACK, PONG); once that is held it is pointless."""
        if not self._held:
            self.send(message)

    async def drained(self) -> None:
        """Wait until nothing is queued."""
        await self._drained.wait()

    def hold(self, last: Message | None = None) -> None:
        """Give nothing more to this connection, but for `last`, which goes ahead of what is queued."""
        if last is not None and not self._held:
            self._write(last.id, last.pack())
        self._held = True

    def move(self, connection: Connection, first: Message | None = None) -> None:
        """Go on with another connection: `first` goes ahead of what is queued."""
        self._connection.on_writable = _nothing
        self._connection = connection
        connection.on_writable = self._pump
        self._held = False
        if first is not None:
            self._write(first.id, first.pack())
        self._pump()

    def drop(self) -> None:
        """Forget what is queued: the channel begins anew, with another flow."""
        self._queue.clear()
        self._queued = 0
        self._connection.on_writable = _nothing
        self._drained.set()

    def _pump(self) -> None:
        while self._queue and self._connection.writable and not self._held:
            type, body = self._queue.popleft()
            self._queued -= FULL_HEADER.size + len(body)
            self._write(type, body)
        if self._queue:
            self._drained.clear()
        else:
            self._drained.set()

    def _write(self, type: int, body: bytes) -> None:
        self.sent_serial += 1
        self._connection.write_message(type, body, self.sent_serial)


def _nothing() -> None:
    """What a connection that nobody uses does when it could take more."""
