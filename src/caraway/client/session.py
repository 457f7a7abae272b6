"""A session: a main channel and the channels linked to it, from `connect` to the end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from caraway.client.channel import Channel
from caraway.client.connection import CLOSE_DEADLINE, Connection
from caraway.client.dial import Dialer
from caraway.client.lifetime import Lifetime
from caraway.client.main import MainChannel
from caraway.client.relinking import connecting, link_in_turn, picture_first
from caraway.endpoint import Credentials, Endpoint
from caraway.errors import CarawayError, DeadlineError, LinkError, ProtocolError
from caraway.migration.offer import Policy
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType

if TYPE_CHECKING:
    from caraway.client.cursor import CursorChannel
    from caraway.client.display import DisplayChannel
    from caraway.client.follower import Follower
    from caraway.client.inputs import InputsChannel
    from caraway.client.shared_images import SharedImages
    from caraway.migration.reports import Report
    from caraway.wire.messages.main import Init

log = logging.getLogger(__name__)

SETTLE_DEADLINE = 0.5
"""Seconds that an ending session waits for the first message of a channel that has just been linked."""

T = TypeVar("T")

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

    def __init__(
        self,
        dialer: Dialer,
        channels: frozenset[str],
        *,
        credentials: Credentials,
        policy: Policy,
        wants_client_mouse: bool,
    ) -> None:
        self.wants_client_mouse = wants_client_mouse
        self.channels: dict[tuple[ChannelType, int], Channel] = {}
        """Main and what was linked to it; the `error` of a channel that is over says what became of it."""
        self.dialer = dialer
        """Makes connections to where the session is now."""
        self.policy = policy
        """What a server may do with the session when its VM moves."""
        self._credentials = credentials
        self._initialised = False
        self._follower: Follower | None = None
        self._images: SharedImages | None = None
        self._wanted = channels
        self._started = False
        self._closing = False
        self._running: dict[tuple[ChannelType, int], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._life = Lifetime()

    @property
    def error(self) -> CarawayError | None:
        """Why the session is over; None while it runs."""
        return self._life.error

    @property
    def endpoint(self) -> Endpoint:
        """Where the session is connected to."""
        return self.dialer.endpoint

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

    def __repr__(self) -> str:
        return f"<Session with {self.endpoint}{f': {self.error}' if self.error else ''}>"

    def living(self) -> dict[tuple[ChannelType, int], Channel]:
        """The channels that are not over."""
        return {key: channel for key, channel in self.channels.items() if channel.error is None}

    def migrations(self) -> AsyncGenerator[Report, None]:
        """What happens from now on when the VM moves: Announced, Linked, Switched, Cancelled, Failed and the like."""
        return self.follower.reports()

    @property
    def follower(self) -> Follower:
        """Makes the session follow its VM; made when there is a first word of a migration."""
        if self._follower is None:
            from caraway.client.follower import Follower

            if not self._initialised:
                raise ProtocolError("main 0: a word of migration before INIT")
            self._follower = Follower(self, self.policy, self._credentials)
        return self._follower

    def initialised(self, message: Init) -> None:
        """Main has processed an INIT."""
        self._initialised = True
        if self._follower is not None:
            self._follower.initialised(message)

    @property
    def images(self) -> SharedImages:
        """What the display channels share; made with the first of them."""
        if self._images is None:
            from caraway.client.shared_images import SharedImages

            self._images = SharedImages(self._count_displays, self.main.ram_hint)
        return self._images

    def images_after(self, old: SharedImages) -> SharedImages:
        """What they share with the next server: the first display that begins anew leaves the old images behind."""
        if self._images is old:
            self._images = None
        return self.images

    def _count_displays(self) -> int:
        return sum(type is ChannelType.DISPLAY for type, _ in self.living())

    def input_channels(self) -> list[InputsChannel]:
        """The channels whose keys wait while the VM moves."""
        return [cast("InputsChannel", c) for key, c in self.living().items() if key[0] is ChannelType.INPUTS]

    async def start(self) -> None:
        """Link main, then all channels that are wanted and there. The caller sets the deadline."""
        connection = await self.dialer.dial(ChannelType.MAIN, 0, 0, self.capabilities(MainChannel))
        main = MainChannel(self, 0, connection)
        self.channels[main.key] = main
        self.run(main)
        await self._link_listed(self.dialer)

    async def begin_anew(self, dialer: Dialer, attempt: int) -> None:
        """A new session under the living channels; those that the host does not have are over."""
        self._started = False
        self._images = None
        main = self.main
        keys = picture_first(self.living().keys() - {main.key})
        with connecting(dialer, keys) as early:
            connection = await dialer.dial(ChannelType.MAIN, 0, 0, self.capabilities(MainChannel))
            main.attaches, main.arrival = True, attempt
            main.available.clear()
            main.begin_on(connection)
            self.run(main)
            await self.until(main.initialised.wait())
            link = partial(self._link, dialer, attempt, early)
            errors = await self.until(link_in_turn(link, keys))
        await self.until(main.listed.wait())
        for key in keys:
            if key not in main.available:
                self.drop(key, LinkError(f"{dialer.endpoint}: there is no channel {key[0].name.lower()} {key[1]}"))
            elif key in errors:
                raise errors[key]
        await self._link_listed(dialer, keys)

    async def _link_listed(self, dialer: Dialer, known: Sequence[tuple[ChannelType, int]] = ()) -> None:
        """Link what the host lists and is not known yet."""
        main = self.main
        await self.until(main.initialised.wait())
        await self.until(main.listed.wait())
        linked = [*known]
        while new := [key for key in main.available if key not in linked]:
            linked += new
            await self.until(self._link_all(dialer, new))
        self._started = True

    def capabilities(self, kind: type[Channel]) -> Capabilities:
        """What a link of such a channel announces."""
        if kind is MainChannel:
            return kind.capabilities | self.policy.offer.capabilities
        return kind.capabilities

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
        if self._follower is not None:
            self._follower.ended()
        for channel in self.channels.values():
            channel.end(error)
            channel.connection.abort()

    def drop(self, key: tuple[ChannelType, int], error: CarawayError) -> None:
        """A channel is over."""
        channel = self.channels[key]
        if key in self.main.available:
            self.main.available.remove(key)
        self.stop(channel)
        channel.end(error)
        channel.connection.abort()

    async def aclose(self) -> None:
        """End the session in order: what was sent still arrives. May be called again."""
        with contextlib.suppress(CarawayError, TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                for inputs in self.input_channels():
                    await inputs.delivered()
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
        tasks = self._tasks | set(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._follower is not None:
            await self._follower.aclose()
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

    async def _link_all(self, dialer: Dialer, available: list[tuple[ChannelType, int]]) -> None:
        """Link what is wanted of these channels and not there yet."""
        wanted = self._wanted - self.endpoint.disable_channels
        living = self.living()
        links = [
            self._link(dialer, None, {}, key)
            for key in available
            if key[0] in _CLASSES and key[0].name.lower() in wanted and key not in living
        ]
        # One that fails does not stop the others: a server may not survive a link that ends as soon as it is made.
        for error in await asyncio.gather(*links, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    async def _link_later(self, available: list[tuple[ChannelType, int]]) -> None:
        try:
            await self._link_all(self.dialer, available)
        except CarawayError as error:
            log.warning("a channel that appeared later could not be linked: %s", error)

    async def _link(
        self,
        dialer: Dialer,
        attempt: int | None,
        early: Mapping[tuple[ChannelType, int], asyncio.Task[Connection]],
        key: tuple[ChannelType, int],
        answered: Callable[[], None] | None = None,
    ) -> None:
        kind = _channel_class(key[0])
        connection = await dialer.dial(
            *key, self.main.session_id, self.capabilities(kind), early=early.get(key), answered=answered
        )
        channel = self.living().get(key)
        if channel is None:
            channel = self.channels[key] = kind(self, key[1], connection)
            channel.start()
        else:
            channel.arrival = attempt
            channel.begin_on(connection)
        self.run(channel)
        if attempt is None and self._follower is not None:
            self._follower.opened(key)

    def run(self, channel: Channel) -> None:
        """Take messages from the channel's connection of now."""
        channel.halted = False
        running = self._running.get(channel.key)
        if running is not None and running is asyncio.current_task():
            return
        if running is not None:
            self._give_up(running)
        self._running[channel.key] = asyncio.ensure_future(self._run(channel))

    def stop(self, channel: Channel) -> None:
        """Take no more messages until the channel has another connection."""
        channel.halted = True
        running = self._running.pop(channel.key, None)
        if running is not None and running is not asyncio.current_task():
            self._give_up(running)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._keep(task)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(asyncio.ensure_future(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lost(self, channel: Channel, error: CarawayError) -> bool:
        """A connection has ended. False if the session ends with it."""
        if self._follower is not None:
            self._follower.lost(channel, error)
            return True
        if channel.channel_type is ChannelType.MAIN:
            return False
        self.drop(channel.key, error)
        return True

    async def _run(self, channel: Channel) -> None:
        try:
            while not channel.halted:
                await channel.run()
        except CarawayError as error:
            # a deadline on main is its silence; on others it is a server that keeps a channel waiting for ever
            is_lost = isinstance(error, LinkError) or (isinstance(error, DeadlineError) and channel is self.main)
            if is_lost and (self._closing or self.error is not None or self._lost(channel, error)):
                return
            self.end(self._was_closed() if self._closing else error)
        except Exception as error:
            log.exception("%s: a fault of this client", channel.name)
            self.end(CarawayError(f"{channel.name}: internal error: {error!r}"))
