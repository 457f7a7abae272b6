"""A session: a main channel and the channels linked to it, from `connect` to the end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from caraway.client.channel import Channel
from caraway.client.dial import Dialer
from caraway.client.lifetime import Lifetime
from caraway.client.main import MainChannel
from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, LinkError
from caraway.wire.constants import ChannelType

if TYPE_CHECKING:
    from caraway.client.cursor import CursorChannel
    from caraway.client.display import DisplayChannel
    from caraway.client.inputs import InputsChannel

log = logging.getLogger(__name__)

SETTLE_DEADLINE = 0.5
"""Seconds that an ending session waits for the first message of a channel that has just been linked."""

T = TypeVar("T")
C = TypeVar("C", bound=Channel)

_CLASSES = {
    ChannelType.DISPLAY: ("caraway.client.display", "DisplayChannel"),
    ChannelType.INPUTS: ("caraway.client.inputs", "InputsChannel"),
    ChannelType.CURSOR: ("caraway.client.cursor", "CursorChannel"),
}
"""Where each kind of channel lives; imported when one is linked."""

_SET_UP_BY_THREADS = frozenset({ChannelType.DISPLAY, ChannelType.CURSOR})


def _channel_class(of: ChannelType) -> type[Channel]:
    module, name = _CLASSES[of]
    return cast(type[Channel], getattr(importlib.import_module(module), name))


def preload(channels: frozenset[str]) -> None:
    """Import what links and channels will need. Done in a thread, while the server makes the key of the first link."""
    importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    for type in _CLASSES:
        if type.name.lower() in channels:
            _channel_class(type)


CHANNELS = frozenset(type.name.lower() for type in _CLASSES)
"""Names of the channels that a session links besides main."""


class Session:
    """A viewer's view of a VM. Made by `connect`.

    Everything ends together: when main's connection ends, or a server breaks the protocol, `error` says why and every
    wait and every call raises it. A server that merely closes another channel ends that channel only.
    """

    def __init__(self, dialer: Dialer, channels: frozenset[str], *, wants_client_mouse: bool) -> None:
        self.wants_client_mouse = wants_client_mouse
        self.channels: dict[tuple[ChannelType, int], Channel] = {}
        self._dialer = dialer
        self._wanted = channels
        self._started = False
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._life = Lifetime()

    @property
    def error(self) -> CarawayError | None:
        """Why the session is over; None while it runs."""
        return self._life.error

    @property
    def endpoint(self) -> Endpoint:
        """Where the session is connected to."""
        return self._dialer.endpoint

    @property
    def main(self) -> MainChannel:
        """The main channel."""
        return cast(MainChannel, self._channel(ChannelType.MAIN, 0))

    @property
    def displays(self) -> list[DisplayChannel]:
        """All display channels, by id."""
        ids = sorted(id for type, id in self.channels if type is ChannelType.DISPLAY)
        return [cast("DisplayChannel", self.channels[ChannelType.DISPLAY, id]) for id in ids]

    @property
    def display(self) -> DisplayChannel:
        """The first display. Raises LinkError if the server has none."""
        return cast("DisplayChannel", self._channel(ChannelType.DISPLAY, 0))

    @property
    def inputs(self) -> InputsChannel:
        """Keyboard and mouse."""
        return cast("InputsChannel", self._channel(ChannelType.INPUTS, 0))

    @property
    def cursor(self) -> CursorChannel:
        """The first display's pointer."""
        return cast("CursorChannel", self._channel(ChannelType.CURSOR, 0))

    def _channel(self, type: ChannelType, id: int) -> Channel:
        channel = self.channels.get((type, id))
        if channel is None:
            raise self.error or LinkError(f"{self.endpoint}: this session has no channel {type.name.lower()} {id}")
        return channel

    async def start(self) -> None:
        """Link main, then all channels that are wanted and there. The caller sets the deadline."""
        main = await self._link(MainChannel, 0, connection_id=0)
        await self.until(main.initialised.wait())
        await self.until(main.listed.wait())
        self._started = True
        await self.until(self._link_all(main.available))

    def channels_listed(self, new: Iterable[tuple[ChannelType, int]]) -> None:
        """Main learned of channels: link those that appear later, too."""
        if self._started:
            self._spawn(self._link_later(list(new)))

    async def until(self, wait: Coroutine[Any, Any, T]) -> T:
        """Await something, but no longer than the session lives. Raises the session's error if that comes first."""
        return await self._life.until(wait)

    def end(self, error: CarawayError) -> None:
        """The session is over."""
        self._life.end(error)
        for channel in self.channels.values():
            channel.end(error)
            channel.connection.abort()

    async def aclose(self) -> None:
        """End the session in order: what was sent still arrives. May be called again."""
        self._closing = True
        main = self.channels.get((ChannelType.MAIN, 0))
        await self._settle()
        if self.error is None:
            await asyncio.gather(*(c.aclose() for c in self.channels.values() if c is not main))
            if main is not None:
                await main.aclose()
        await self.abort()

    async def abort(self) -> None:
        """End the session without waiting for what was sent, and wait until nothing is left of it."""
        await self._settle()
        self.end(self._was_closed())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(c.connection.wait_closed() for c in self.channels.values()))

    def _was_closed(self) -> LinkError:
        return LinkError(f"{self.endpoint}: the session was closed")

    async def _settle(self) -> None:
        """Wait until the server has set up the channels that are linked.

        libspice-server 0.15.1 crashes, and the VM with it, when a client leaves while a thread of the server makes its
        end of a display or cursor channel. It has made it once it sends something.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_DEADLINE):
                for (type, _), channel in tuple(self.channels.items()):
                    if self.error is None and type in _SET_UP_BY_THREADS:
                        await channel.wait_processed(1)

    async def _link_all(self, available: list[tuple[ChannelType, int]]) -> None:
        unwanted = self.endpoint.disable_channels
        links = []
        for key in available:
            if key[0] in _CLASSES and key[0].name.lower() in self._wanted - unwanted and key not in self.channels:
                links.append(self._link(_channel_class(key[0]), key[1], connection_id=self.main.session_id))
        try:
            async with asyncio.TaskGroup() as group:
                for link in links:
                    group.create_task(link)
        except* CarawayError as errors:
            failed = errors.exceptions[0]
        else:
            return
        raise failed

    async def _link_later(self, available: list[tuple[ChannelType, int]]) -> None:
        try:
            await self._link_all(available)
        except CarawayError as error:
            log.warning("a channel that appeared later could not be linked: %s", error)

    async def _link(self, kind: type[C], id: int, *, connection_id: int) -> C:
        connection = await self._dialer.dial(kind.channel_type, id, connection_id, kind.capabilities)
        channel = kind(self, id, connection)
        self.channels[kind.channel_type, id] = channel
        channel.start()
        self._spawn(self._run(channel))
        return channel

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, channel: Channel) -> None:
        try:
            await channel.run()
        except CarawayError as error:
            ended = self.error or (self._was_closed() if self._closing else error)
        except Exception as error:
            log.exception("%s: a fault of this client", channel.name)
            ended = CarawayError(f"{channel.name}: internal error: {error!r}")
        channel.end(ended)
        channel.connection.abort()
        if channel.channel_type is ChannelType.MAIN or not isinstance(ended, LinkError):
            self.end(ended)
        elif not self._closing:
            log.info("%s", ended)
