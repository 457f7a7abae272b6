"""A client that says what a test wants: links of its own, and messages or bytes in any order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.framing import Frame, FrameReader, pack_header
from caraway.wire.link import ClientLink
from caraway.wire.messages import base
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import AckSync, Ping, Pong, SetAck
from caraway.wire.messages.main import Init

M = TypeVar("M", bound=Message)

DEADLINE = 10.0


class RawChannel:
    """One linked channel."""

    def __init__(
        self, type: ChannelType, link: ClientLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.type, self.link, self.reader, self.writer = type, link, reader, writer
        self.frames = FrameReader(mini=link.mini_header, initial=link.rest)
        self.answers = True
        """Answer PING and SET_ACK, as a client does."""
        self._serial = 0

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.send_raw(message.id, message.pack())

    def send_raw(self, type: int, body: bytes, *, size: int | None = None) -> None:
        """size: what the header says, if it is not true."""
        self._serial += 1
        header = pack_header(self.link.mini_header, type, len(body) if size is None else size, self._serial)
        self.writer.write(header + body)

    async def frame(self) -> Frame:
        """The next message. Raises EOFError at the server's end."""
        async with asyncio.timeout(DEADLINE):
            while (frame := self.frames.next_frame()) is None:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    raise EOFError
                for position in range(0, len(data), 4096):
                    part = data[position : position + 4096]
                    while part:
                        target = self.frames.get_buffer()
                        count = min(len(target), len(part))
                        target[:count] = part[:count]
                        self.frames.received(count)
                        part = part[count:]
            return frame

    async def receive(self) -> Message:
        """The next message that is not answered by itself."""
        while True:
            frame = await self.frame()
            message = base.messages(self.type, Sender.SERVER)[frame.type].unpack(frame.body)
            if self.answers and isinstance(message, Ping):
                self.send(Pong(message.ping_id, message.timestamp))
            elif self.answers and isinstance(message, SetAck):
                self.send(AckSync(message.generation))
            else:
                return message

    async def expect(self, kind: type[M]) -> M:
        """The next message of that kind; others are dropped."""
        while True:
            if isinstance(message := await self.receive(), kind):
                return message

    async def ended(self) -> None:
        """Wait until the server has closed the connection."""
        with contextlib.suppress(EOFError):
            while True:
                await self.frame()

    async def aclose(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


class RawClient:
    """Where to connect, and the session's id once main has linked."""

    def __init__(self, port: int, *, password: str = "", host: str = "127.0.0.1", **options: Any) -> None:
        self.host, self.port, self.password, self.options = host, port, password, options
        self.session_id = 0
        self.channels: list[RawChannel] = []

    async def link(
        self,
        type: ChannelType,
        id: int = 0,
        *,
        connection_id: int | None = None,
        channel: Capabilities = Capabilities(),  # noqa: B008
        **options: Any,
    ) -> RawChannel:
        """Link a channel. Raises what ClientLink raises."""
        reader, writer = await asyncio.open_connection(self.host, self.port, **self.options)
        try:
            machine = ClientLink(
                self.session_id if connection_id is None else connection_id,
                type,
                id,
                channel=channel,
                **{"password": self.password, "secure": "ssl" in self.options, **options},
            )
            async with asyncio.timeout(DEADLINE):
                writer.write(machine.data_to_send())
                while not machine.done:
                    data = await reader.read(65536)
                    if data:
                        machine.receive(data)
                    else:
                        machine.eof()
                    writer.write(machine.data_to_send())
        except BaseException:
            writer.transport.abort()
            raise
        made = RawChannel(type, machine, reader, writer)
        self.channels.append(made)
        return made

    async def main(self, **options: Any) -> RawChannel:
        """Link main, which begins a session."""
        main = await self.link(ChannelType.MAIN, connection_id=0, **options)
        self.session_id = (await main.expect(Init)).session_id
        return main

    async def aclose(self) -> None:
        for channel in self.channels:
            await channel.aclose()


@asynccontextmanager
async def raw_client(port: int, **options: Any) -> AsyncIterator[RawClient]:
    """A client of a server's port; closed at the end."""
    client = RawClient(port, **options)
    try:
        yield client
    finally:
        await client.aclose()
