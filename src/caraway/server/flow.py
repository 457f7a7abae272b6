"""The outgoing order of one channel: its queue, its serial, its window of unacknowledged messages.

The queue is ours rather than the transport's. What can wait is not put into it at all, but made when there is `room`:
then it is new.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from caraway.errors import LinkError
from caraway.server.connection import Connection
from caraway.wire.acks import SendWindow
from caraway.wire.framing import FULL_HEADER
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import SetAck

MAX_QUEUED = 4 << 20
"""Bytes that may wait for a client that does not read. What is large is made only when there is room."""

ACK_WINDOW = 20
"""Messages for each acknowledgement: what the deployed server asks for."""


class Flow:
    """What leaves on one channel, in order.

    acked: whether the client has to acknowledge (display and cursor): the first message is SET_ACK then.
    """

    def __init__(self, connection: Connection, *, acked: bool = False) -> None:
        self.connection = connection
        self.on_room: Callable[[], None] = _nothing
        """Called when there is room again."""
        self.sent_serial = 0
        self.queued = 0
        """Bytes that wait."""
        self.window = SendWindow(ACK_WINDOW if acked else 0)
        self._queue: deque[tuple[int, bytes]] = deque()
        self._hurries = self._sealed = False
        self._drained = asyncio.Event()
        self._drained.set()
        connection.on_writable = self.pump
        if acked:
            set_ack = SetAck(self.window.begin(), self.window.window)
            self._write(set_ack.id, set_ack.pack())

    @property
    def room(self) -> bool:
        """Whether what is sent now leaves at once."""
        return not self._queue and not self._sealed and self._may_send

    def send(self, message: Message) -> None:
        """Queue a message. Raises LinkError if the client has long stopped reading."""
        self.send_body(message.id, message.pack())

    def send_body(self, type: int, body: bytes) -> None:
        """Queue a message that is packed already."""
        if self._sealed:
            return
        self._queue.append((type, body))
        self.queued += FULL_HEADER.size + len(body)
        self._send_queued()
        if self.queued > MAX_QUEUED:
            raise LinkError(f"{self.connection.peer}: the client does not read; {self.queued} bytes wait")

    def hurry(self) -> None:
        """What waits, and what is sent from now on, leaves at once: these are the last messages of this connection."""
        self._hurries = True
        self._send_queued()

    def relax(self) -> None:
        """What is sent waits again for the client."""
        self._hurries = False

    def seal(self) -> None:
        """Nothing that is sent from now on leaves."""
        self._sealed = True

    def unseal(self) -> None:
        """What is sent leaves again."""
        self._sealed = False

    async def drained(self) -> None:
        """Wait until nothing is queued."""
        await self._drained.wait()

    def synced(self, generation: int) -> None:
        """ACK_SYNC came."""
        self.window.synced(generation)

    def acknowledged(self) -> None:
        """ACK came."""
        self.window.acknowledged()
        self.pump()

    def pump(self) -> None:
        """Send what can be sent now."""
        self._send_queued()
        if self.room:
            self.on_room()

    @property
    def _may_send(self) -> bool:
        return self._hurries or (self.connection.writable and self.window.open)

    def _send_queued(self) -> None:
        while self._queue and self._may_send:
            type, body = self._queue.popleft()
            self.queued -= FULL_HEADER.size + len(body)
            self.window.sent()
            self._write(type, body)
        if self._queue:
            self._drained.clear()
        else:
            self._drained.set()

    def _write(self, type: int, body: bytes) -> None:
        self.sent_serial += 1
        self.connection.write_message(type, body, self.sent_serial)


def _nothing() -> None:
    """What a channel does that makes nothing on demand."""
