"""Sessions played from what a server sent: each connection up to a byte of the test's choice, and then its end."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import caraway
from caraway.endpoint import Endpoint
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.framing import FrameReader, pack_header
from caraway.wire.link import ClientLink, LinkRequested, ServerLink, TicketReceived
from caraway.wire.messages.base import Message
from support.fake_server import MINI_HEADERS, ticket_key
from support.relays import listening, reset

LINK_HEADER = 16
RESULT_SIZE = 4

AT_ONCE = 32
"""Sessions that run at the same time."""

DEADLINE = 60.0
"""Seconds: what must be noticed at once is noticed long before, also on a busy machine."""

Ending = Literal["close", "reset", "stall"]


@dataclass
class Recorded:
    """What a server sent on one channel, in mini headers."""

    data: bytes
    linked: int = 0
    """Bytes up to the end of the link result."""
    messages: list[tuple[int, int, int]] = field(default_factory=list)
    """Type, first byte and end of each."""

    def __post_init__(self) -> None:
        self.linked = at = LINK_HEADER + struct.unpack_from("<I", self.data, 12)[0] + RESULT_SIZE
        for frame in FrameReader(mini=True).feed(self.data[at:]):
            self.messages.append((frame.type, at, at + 6 + len(frame.body)))
            at = self.messages[-1][2]
        assert at == len(self.data)

    def end_of(self, type: int) -> int:
        """Bytes up to the end of the first message of a type."""
        return next(end for kind, _, end in self.messages if kind == type)


Recording = Mapping[ChannelType, Recorded]


def scripted(type: ChannelType, *messages: Message) -> Recorded:
    """What a server with these messages would send."""
    client, server = ClientLink(1, type, 0, channel=Capabilities(), password=""), ServerLink()
    data = b""
    while not server.done:
        server.receive(client.data_to_send())
        match server.question:
            case LinkRequested():
                server.accept(Capabilities(), ticket_key=ticket_key(), common=MINI_HEADERS)
            case TicketReceived():
                server.grant()
        data += (sent := server.data_to_send())
        client.receive(sent)
    bodies = [(message.id, message.pack()) for message in messages]
    return Recorded(data + b"".join(pack_header(True, id, len(body), 0) + body for id, body in bodies))


class Player:
    """Plays a recording.

    limits: bytes after which a channel's connection ends in the way that `how` says.
    is_proxied: a proxy answers first.
    """

    def __init__(
        self,
        recording: Recording,
        limits: Mapping[ChannelType, int] = MappingProxyType({}),
        how: Ending = "close",
        *,
        is_proxied: bool = False,
    ) -> None:
        self.recording = recording
        self.limits = limits
        self.how = how
        self.is_proxied = is_proxied

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self.is_proxied:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            head = await reader.readexactly(LINK_HEADER)
            link = await reader.readexactly(struct.unpack_from("<I", head, 12)[0])
            type = ChannelType(link[4])
            limit = self.limits.get(type)
            writer.write(self.recording[type].data[:limit])
            await writer.drain()
            if limit is not None and self.how == "reset":
                reset(writer)
                return
            if limit is not None and self.how == "close":
                writer.write_eof()
            # The client may go on as it likes.
            while await reader.read(65536):
                pass
        writer.close()


@asynccontextmanager
async def playing(recording: Recording, limits: Mapping[ChannelType, int], how: Ending) -> AsyncIterator[str]:
    """A server that plays a recording."""
    async with listening(Player(recording, limits, how).serve) as port:
        yield f"spice://127.0.0.1:{port}"


async def short_session(
    server: str | Endpoint, channel: ChannelType, timeout: float = DEADLINE, *, to_the_end: bool = False
) -> None:
    """Connect, wait for the picture, take it; then wait for the channel's end, which is noticed unasked."""
    wanted = [] if channel is ChannelType.MAIN else [channel.name.lower()]
    async with caraway.connect(server, channels=wanted, timeout=timeout) as session:  # type: ignore[arg-type]
        if channel is ChannelType.DISPLAY:
            await session.display.ready(timeout)
            session.display.screenshot()
        if to_the_end:
            await session.channels[channel, 0].until(asyncio.Event().wait())


async def each(cuts: Iterable[int], run: Callable[[int], Awaitable[None]]) -> None:
    """Run something for each cut, many at once."""
    waiting = iter(cuts)

    async def work() -> None:
        for cut in waiting:
            await run(cut)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
