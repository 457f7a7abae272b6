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
from caraway.wire.framing import FULL_HEADER, Frame, pack_header
from caraway.wire.messages.base import Message

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
        self._connection = connection
        connection.on_writable = self._pump

    def received(self, frame: Frame) -> None:
        """Count a message in; the serial of a full header counts as given."""
        self.received_serial = frame.serial or self.received_serial + 1

    def send(self, message: Message) -> None:
        """Queue a message. Raises LinkError if the peer has long stopped reading."""
        body = message.pack()
        self._queue.append((message.id, body))
        self._queued += FULL_HEADER.size + len(body)
        self._pump()
        if self._queued > MAX_QUEUED:
            raise LinkError(f"{self._connection.peer}: the server does not read; {self._queued} bytes wait")

    async def drained(self) -> None:
        """Wait until nothing is queued."""
        await self._drained.wait()

    def _pump(self) -> None:
        machine = self._connection.machine
        assert machine is not None
        while self._queue and self._connection.writable:
            type, body = self._queue.popleft()
            self._queued -= FULL_HEADER.size + len(body)
            self.sent_serial += 1
            self._connection.write(pack_header(machine.mini_header, type, len(body), self.sent_serial) + body)
        if self._queue:
            self._drained.clear()
        else:
            self._drained.set()
