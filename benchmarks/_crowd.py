"""Many viewers that draw nothing, as a program of its own for `server.py`: they take what comes and acknowledge it.

When all are there it says so. For each line on the standard input, a number, it tells in JSON what has come, as soon as
so many pixels have been drawn by commands with a rectangle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
from functools import partial

from caraway.wire.constants import ChannelType
from caraway.wire.link import ClientLink
from caraway.wire.messages.common import Ack, AckSync, Ping, Pong, SetAck
from caraway.wire.messages.display import Init, Mark
from caraway.wire.messages.draw import DrawCopy, DrawFill
from caraway.wire.messages.main import AttachChannels
from caraway.wire.messages.main import Init as MainInit

WINDOW_PIXELS = 3 << 20
AT_ONCE = 20
HEADER = struct.Struct("<HI")
RECTANGLE = struct.Struct("<4x4i")
SMALL = 64
"""Bytes of a body that are looked at."""


class Crowd:
    """What all viewers together have got."""

    def __init__(self) -> None:
        self.area = self.bytes = self.messages = self.complete = self.lost = 0
        self.changed = asyncio.Event()

    async def until(self, *, complete: int = 0, area: int = 0) -> None:
        """Wait for so many complete pictures, or pixels. Raises ConnectionError once a connection is lost."""
        while self.complete < complete or self.area < area:
            if self.lost:
                raise ConnectionError("the server closed a connection")
            self.changed.clear()
            await self.changed.wait()


class Link(asyncio.Protocol):
    """One channel of a viewer."""

    def __init__(self, crowd: Crowd, session: int, type: ChannelType) -> None:
        self.crowd = crowd
        self.machine = ClientLink(session, type, 0)
        self.linked = asyncio.get_running_loop().create_future()
        """The session's id once a message has come."""
        self._session, self._type = session, type
        self._rest = bytearray()
        self._skip = 0
        self._window = self._unacknowledged = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.machine.data_to_send())

    def data_received(self, data: bytes) -> None:
        self.crowd.bytes += len(data)
        if not self.machine.done:
            self.machine.receive(data)
            self.transport.write(self.machine.data_to_send())
            if not self.machine.done:
                return
            if self._type is ChannelType.DISPLAY:
                self.send(Init(1, 1 << 20, 1, WINDOW_PIXELS))
            data = bytes(self.machine.rest)
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        self._rest += memoryview(data)[self._skip :]
        self._skip = 0
        self._take_messages()

    def _take_messages(self) -> None:
        at, rest = 0, self._rest
        while len(rest) - at >= HEADER.size:
            type, size = HEADER.unpack_from(rest, at)
            is_small = size <= SMALL or type == Ping.id
            if len(rest) - at - HEADER.size < (size if is_small else SMALL):
                break
            at += HEADER.size
            self._take(type, bytes(rest[at : at + (size if is_small else SMALL)]))
            at += size
        self._skip = max(0, at - len(rest))
        del rest[:at]
        self.crowd.changed.set()

    def _take(self, type: int, body: bytes) -> None:
        self.crowd.messages += 1
        if self._type is ChannelType.MAIN and type == MainInit.id:
            self._session = MainInit.unpack(body).session_id
            self.send(AttachChannels())
        if self._session and not self.linked.done():
            self.linked.set_result(self._session)
        if type == SetAck.id:
            message = SetAck.unpack(body)
            self._window = message.window
            self.send(AckSync(message.generation))
            return
        self._unacknowledged += 1
        if self._unacknowledged == self._window:
            self._unacknowledged = 0
            self.send(Ack())
        if type == Ping.id:
            ping = Ping.unpack(body)
            self.send(Pong(ping.ping_id, ping.timestamp))
        elif self._type is ChannelType.DISPLAY and type in (DrawCopy.id, DrawFill.id):
            top, left, bottom, right = RECTANGLE.unpack_from(body)
            self.crowd.area += (right - left) * (bottom - top)
        elif self._type is ChannelType.DISPLAY and type == Mark.id:
            self.crowd.complete += 1

    def send(self, message: Ack | AckSync | AttachChannels | Init | Pong) -> None:
        body = message.pack()
        self.transport.write(HEADER.pack(message.id, len(body)) + body)

    def connection_lost(self, error: Exception | None) -> None:
        self.crowd.lost += 1
        self.crowd.changed.set()
        if not self.linked.done():
            self.linked.set_exception(ConnectionError("the server closed a connection"))


async def view(crowd: Crowd, port: int, channels: list[ChannelType]) -> None:
    loop = asyncio.get_running_loop()
    _, main = await loop.create_connection(lambda: Link(crowd, 0, ChannelType.MAIN), "127.0.0.1", port)
    session = await main.linked
    for type in channels:
        _, link = await loop.create_connection(partial(Link, crowd, session, type), "127.0.0.1", port)
        await link.linked


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--channels", nargs="+", default=["display"])
    options = parser.parse_args()
    channels = [ChannelType[name.upper()] for name in options.channels]
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    crowd = Crowd()
    for begun in range(0, options.count, AT_ONCE):
        some = range(begun, min(begun + AT_ONCE, options.count))
        await asyncio.gather(*(view(crowd, options.port, channels) for _ in some))
    await crowd.until(complete=options.count)
    print("{}", flush=True)
    while line := await commands.readline():
        await crowd.until(area=int(line))
        print(json.dumps({"area": crowd.area, "bytes": crowd.bytes, "messages": crowd.messages}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
