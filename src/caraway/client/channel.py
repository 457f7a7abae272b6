"""A channel of a session: one task that takes messages in order and hands them to their handlers.

State and behaviour live here and in the subclasses; the socket is a `Connection`, the order of bytes a `ChannelFlow`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from caraway.client.connection import CLOSE_DEADLINE, Connection
from caraway.client.deadline import deadline
from caraway.client.flow import ChannelFlow
from caraway.client.lifetime import Lifetime
from caraway.errors import CarawayError, ProtocolError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import Buffer, LayoutError
from caraway.wire.framing import Frame
from caraway.wire.messages import base
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import (
    AckSync,
    ChannelSerial,
    Disconnecting,
    List,
    Migrate,
    MigrateData,
    Notify,
    Ping,
    Pong,
    SetAck,
    Severity,
    WaitForChannels,
)
from caraway.wire.messages.handlers import Handler, handlers_of, handles
from caraway.wire.sublist import unpack_sub_list

if TYPE_CHECKING:
    from caraway.client.session import Session

log = logging.getLogger(__name__)

WAIT_FOR_CHANNELS_DEADLINE = 10.0
"""Seconds: a wait for other channels that lasts longer is a fault of the server (or cyclic)."""

TURN = 0.01
"""Seconds of messages that a channel takes before others get their turn."""

T = TypeVar("T")


class Channel:
    """What all channels have in common: acknowledgements, pings, notices, waiting for each other."""

    channel_type: ClassVar[ChannelType]
    capabilities: ClassVar[Capabilities] = Capabilities()
    """What the client announces in this channel's link."""
    handlers: ClassVar[dict[int, tuple[type[Message], Handler]]]

    def __init_subclass__(cls) -> None:
        cls.handlers = handlers_of(cls)

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        self.session = session
        self.id = id
        self.key = (self.channel_type, id)
        self.name = f"{self.channel_type.name.lower()} {id}"
        self.connection = connection
        self.flow = ChannelFlow(connection)
        self.halted = False
        """Whether the channel is without a connection for now."""
        self.arrival: int | None = None
        """The migration attempt that brought the connection of now, until a sign of life has come over it."""
        self._life = Lifetime()
        self.processed_serial = 0
        self._processed = asyncio.Event()
        self._turn_ends = 0.0

    @property
    def silence_limit(self) -> float | None:
        """Seconds without a byte after which the server counts as gone; None: it may be silent for ever."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{f': {self.error}' if self.error else ''}>"

    def start(self) -> None:
        """Send what belongs to a start."""

    def reset(self) -> None:
        """Forget what belongs to the server's side of this channel: another server begins anew."""

    def continue_on(self, connection: Connection, first: Message | None) -> None:
        """Go on with another connection: queue, serials and state stay."""
        self.connection = connection
        self.flow.move(connection, first)

    def begin_on(self, connection: Connection, first: Message | None = None) -> None:
        """Begin anew with another connection."""
        self.reset()
        self.connection = connection
        self.flow.drop()
        self.flow = ChannelFlow(connection)
        self.processed_serial = 0
        if first is not None:
            self.flow.send(first)
        self.start()

    def send(self, message: Message) -> None:
        """Queue a message. Raises what ended the channel, if something did."""
        self.check()
        self.flow.send(message)

    @property
    def error(self) -> CarawayError | None:
        """Why the channel has ended; None while it lives."""
        return self._life.error

    def check(self) -> None:
        """Raise what ended the channel, if something did."""
        self._life.check()

    async def run(self) -> None:
        """Take messages from the connection of now, until it ends or this channel leaves it. Raises what ended it."""
        connection = self.connection
        while self._uses(connection):
            self._turn_ends = time.monotonic() + TURN
            while self._uses(connection) and (frame := self._next_frame(connection)) is not None:
                if time.monotonic() > self._turn_ends:
                    await self._give_way()
                await self._take(frame)
            if not self._uses(connection):
                return
            await self._wait_for_more(connection)

    async def _wait_for_more(self, connection: Connection) -> None:
        limit = self.silence_limit
        if limit is None:
            await connection.readable()
        else:
            async with deadline(limit, f"{connection.peer}: a sign of life"):
                await connection.readable()

    def _next_frame(self, connection: Connection) -> Frame | None:
        try:
            return connection.next_frame()
        except ProtocolError as error:
            raise ProtocolError(f"{self.name}: {error}") from None

    async def _give_way(self) -> None:
        """Let others have their turn."""
        await asyncio.sleep(0)
        self._turn_ends = time.monotonic() + TURN

    def _uses(self, connection: Connection) -> bool:
        return self.connection is connection and not self.halted

    async def _take(self, frame: Frame) -> None:
        if frame.type != MigrateData.id:
            self.flow.received(frame)
        if frame.sub_list:
            await self._handle_sub_list(frame.body, frame.sub_list)
        self.flow.acknowledge()
        try:
            waiting = self._dispatch(frame.type, frame.body)
            if waiting is not None:
                await waiting
        except ProtocolError as error:
            if str(error).startswith(self.name):
                raise
            message = base.messages(self.channel_type, Sender.SERVER)[frame.type]
            raise type(error)(f"{self.name}: {message.wire_name()}: {error}") from None
        self._set_processed()

    def _dispatch(self, type: int, body: Buffer) -> Awaitable[None] | None:
        entry = self.handlers.get(type)
        if entry is None:
            if type not in base.messages(self.channel_type, Sender.SERVER):
                log.debug("%s: message %d is unknown, skipped", self.name, type)
            return None
        message, handler = entry
        return handler(self, base.unpack(message, body, self.name))

    async def _handle_sub_list(self, body: Buffer, offset: int) -> None:
        try:
            for type, data in unpack_sub_list(body, offset):
                if type == List.id:
                    raise ProtocolError(f"{self.name}: a LIST inside a list")
                waiting = self._dispatch(type, data)
                if waiting is not None:
                    await waiting
                if time.monotonic() > self._turn_ends:
                    await self._give_way()
        except LayoutError as error:
            raise ProtocolError(f"{self.name}: sub-messages {error}") from None

    def _set_processed(self) -> None:
        self.processed_serial = self.flow.received_serial
        self._processed.set()

    async def wait_processed(self, serial: int) -> None:
        """Wait until the message of that number has been processed, or the channel has ended."""
        while self.processed_serial < serial and self.error is None:
            self._processed.clear()
            await self._processed.wait()

    async def until(self, wait: Coroutine[Any, Any, T]) -> T:
        """Await something, but no longer than the channel lives. Raises what ended it if that comes first."""
        return await self._life.until(wait)

    def end(self, error: CarawayError) -> None:
        """The channel is over."""
        self._life.end(error)
        self._processed.set()

    def seems_alive(self) -> None:
        """A message came that a guest which runs has caused."""
        if self.arrival is not None:
            attempt, self.arrival = self.arrival, None
            self.session.follower.alive(attempt)

    async def aclose(self) -> None:
        """Close the connection in order: what is queued leaves first, within a deadline."""
        await self.flush()
        await self.connection.aclose()

    async def flush(self) -> None:
        """Wait, within a deadline, until what is queued is with the socket."""
        with contextlib.suppress(CarawayError, TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self.until(self.flow.drained())

    @handles(SetAck)
    def _set_ack(self, message: SetAck) -> None:
        self.flow.acks.set(message.window)
        self.flow.answer(AckSync(message.generation))

    @handles(Ping)
    def _ping(self, message: Ping) -> None:
        self.flow.answer(Pong(message.ping_id, message.timestamp))

    @handles(List)
    async def _list(self, message: List) -> None:
        await self._handle_sub_list(message.sub_list, 0)

    @handles(Migrate, MigrateData)
    def _migrate(self, message: Migrate | MigrateData) -> None:
        self.session.follower.received(self, message)

    @handles(WaitForChannels)
    async def _wait_for_channels(self, message: WaitForChannels) -> None:
        await self.wait_for_channels(message.wait_list)

    async def wait_for_channels(self, wait_list: Iterable[ChannelSerial]) -> None:
        """Wait until other channels have processed these messages."""
        async with deadline(WAIT_FOR_CHANNELS_DEADLINE, f"{self.name}: waiting for other channels"):
            for entry in wait_list:
                other = self.session.channels.get((entry.channel_type, entry.channel_id))
                if other is not None and other is not self:
                    await other.wait_processed(entry.message_serial)

    @handles(Notify)
    def _notify(self, message: Notify) -> None:
        level = logging.WARNING if message.severity == Severity.ERROR else logging.INFO
        log.log(level, "%s: the server says: %.200r", self.name, message.message)

    @handles(Disconnecting)
    def _disconnecting(self, message: Disconnecting) -> None:
        log.info("%s: the server is about to leave (%s)", self.name, message.reason)
