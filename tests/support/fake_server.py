"""A SPICE server of a test's own: it links every channel, and the test says the rest."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.framing import Frame, FrameReader, pack_header
from caraway.wire.link import LinkRequested, ServerLink, TicketReceived
from caraway.wire.messages import base
from caraway.wire.messages.base import Message
from caraway.wire.messages.main import ChannelEntry, ChannelsList, Init, MouseModes
from caraway.wire.ticket import TicketKey
from support import relays

M = TypeVar("M", bound=Message)

FULL_HEADERS = Capabilities([CommonCapability.AUTH_SELECTION])
MINI_HEADERS = FULL_HEADERS | Capabilities([CommonCapability.MINI_HEADER])

ticket_key = functools.cache(TicketKey.generate)


class Linked:
    """The server's end of one channel."""

    def __init__(
        self, link: ServerLink, type: ChannelType, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert link.request is not None
        self.link = link
        self.request = link.request
        self.type = type
        self.writer = writer
        self._frames = FrameReader(mini=link.mini_header, initial=link.rest)
        self._reader = reader
        self._serial = 0
        self.serials: list[int] = []
        """Of what the client sent, as full headers say."""
        self.closes_with_client = True
        """Close, as servers do, when the client has ended its direction."""
        self._received: asyncio.Queue[Message | None] = asyncio.Queue()

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.send_raw(message.id, message.pack())

    def send_raw(self, type: int, body: bytes, *, sub_list: int = 0) -> None:
        self._serial += 1
        header = bytearray(pack_header(self.link.mini_header, type, len(body), self._serial))
        if sub_list:
            header[-4:] = sub_list.to_bytes(4, "little")
        self.writer.write(bytes(header) + body)

    async def pump(self) -> None:
        """Take what the client sends, until its end."""
        for frame in self._frames:
            self._take(frame)
        while data := await self._reader.read(65536):
            for frame in self._frames.feed(data):
                self._take(frame)
        self._received.put_nowait(None)
        if self.closes_with_client:
            self.writer.close()

    def _take(self, frame: Frame) -> None:
        self.serials.append(frame.serial)
        self._received.put_nowait(base.messages(self.type, Sender.CLIENT)[frame.type].unpack(frame.body))

    async def receive(self) -> Message:
        """The client's next message. Raises EOFError at its end."""
        message = await self._received.get()
        if message is None:
            self._received.put_nowait(None)
            raise EOFError
        return message

    async def expect(self, kind: type[M]) -> M:
        """The client's next message of that kind; others are dropped."""
        while True:
            if isinstance(message := await self.receive(), kind):
                return message

    def close(self, *, reset: bool = False) -> None:
        if reset:
            relays.reset(self.writer)
        else:
            self.writer.close()


class FakeServer:
    """channels: what main's list names. lists: whether it sends that.

    on: capabilities to announce for a channel type.
    """

    def __init__(
        self,
        channels: Iterable[tuple[ChannelType, int]],
        *,
        password: str = "",
        common: Capabilities = MINI_HEADERS,
        on: Mapping[ChannelType, Capabilities] | None = None,
        mouse_modes: tuple[MouseModes, MouseModes] = (MouseModes(3), MouseModes.CLIENT),
        lists: bool = True,
    ) -> None:
        self.channels = list(channels)
        self.uri = ""
        self.linked: dict[tuple[ChannelType, int], Linked] = {}
        self._password = password
        self._common = common
        self._on = on or {}
        self._mouse_modes = mouse_modes
        self._lists = lists
        self._arrived = asyncio.Condition()

    async def channel(self, type: ChannelType, id: int = 0) -> Linked:
        """The client's link of a channel, once it is there."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: (type, id) in self.linked)
            return self.linked[type, id]

    def list(self) -> ChannelsList:
        """What there is to link."""
        return ChannelsList([ChannelEntry(*channel) for channel in self.channels])

    async def main(self) -> Linked:
        return await self.channel(ChannelType.MAIN)

    async def display(self) -> Linked:
        return await self.channel(ChannelType.DISPLAY)

    async def inputs(self) -> Linked:
        return await self.channel(ChannelType.INPUTS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = ServerLink()
        while not (link.done or link.closed):
            data = await reader.read(65536)
            if not data:
                return
            link.receive(data)
            while link.question is not None:
                self._answer(link)
            writer.write(link.data_to_send())
        if link.closed:
            writer.close()
            return
        assert link.request is not None
        type = ChannelType(link.request.channel_type)
        linked = Linked(link, type, reader, writer)
        if type is ChannelType.MAIN and link.request.connection_id == 0:
            linked.send(Init(1, 1, *self._mouse_modes, False, 0, 0, 0))
            if self._lists:
                linked.send(self.list())
        async with self._arrived:
            self.linked[type, link.request.channel_id] = linked
            self._arrived.notify_all()
        with contextlib.suppress(ConnectionError):
            await linked.pump()

    def _answer(self, link: ServerLink) -> None:
        question = link.question
        if isinstance(question, LinkRequested):
            channel = self._on.get(ChannelType(question.channel_type), Capabilities())
            link.accept(channel, ticket_key=ticket_key(), common=self._common)
        elif isinstance(question, TicketReceived) and question.matches(self._password):
            link.grant()
        else:
            link.deny()


@asynccontextmanager
async def fake_server(*channels: str, **options: object) -> AsyncIterator[FakeServer]:
    """A server with channels of these names (`display` is id 0, `display:1` another); options of FakeServer."""
    wanted = []
    for text in channels:
        name, _, id = text.partition(":")
        wanted.append((ChannelType[name.upper()], int(id or 0)))
    server = FakeServer(wanted, **options)  # type: ignore[arg-type]
    async with relays.listening(server.serve) as port:
        server.uri = f"spice://127.0.0.1:{port}"
        yield server
