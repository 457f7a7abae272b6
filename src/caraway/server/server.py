"""The server: a guest, the sockets at which viewers come, and the viewers that are there."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from caraway.errors import EndpointError
from caraway.migration.destination import Destination
from caraway.migration.target import ARRIVAL_DEADLINE
from caraway.server.access import Access, Throttle
from caraway.server.admission import Admission
from caraway.server.agent import Agent
from caraway.server.arrival import Arrival
from caraway.server.capture import Capture
from caraway.server.channel import ServerChannel
from caraway.server.channels import CHANNELS
from caraway.server.connection import CLOSE_DEADLINE, Connection
from caraway.server.departures import Announcement, Departures
from caraway.server.display_options import DisplayOptions
from caraway.server.given import Given, GivenKind
from caraway.server.guest import Display, Guest
from caraway.server.listener import MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ADDRESS, Listener
from caraway.server.signal import Signal
from caraway.server.ticket_keys import TicketKeys
from caraway.server.viewer import Viewer
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.framing import Frame
from caraway.wire.messages.hand_over import TOKEN_SIZE
from caraway.wire.messages.main import ChannelEntry

if TYPE_CHECKING:
    from caraway.wire.sasl import ScramCredential

log = logging.getLogger(__name__)

MAX_ARRIVALS = 512
"""Viewers that may be on their way from another host."""

MAX_TOKENS = 16
"""Announcements whose viewers are expected; of one guest there is one."""

FORMER_IDS = 256
"""A client whose session ends while its channels link does not guess: the ids of so many are remembered."""


class Sharing(enum.Enum):
    """What becomes of the viewers that are there when another one comes."""

    TAKE_OVER = "take-over"
    """The newcomer has the guest to itself, as with the deployed servers."""
    SHARE = "share"
    REFUSE = "refuse"
    """The first one stays, others are turned away."""


class Server:
    """Serves a guest to viewers: `async with Server(guest, port=5900): ...`.

    host: where to listen; "" for every address. port: TCP, where SPICE and WebSocket are told apart by their first
        bytes, and TLS too if `tls` is given; 0 chooses one. tls_port: TLS only. unix_path: a socket for its owner.
    tls: an SSL context of a server, or paths of a certificate chain and its key.
    password: None asks for none. view_only_password: whoever gives this one may look and not touch.
    users: names and passwords for SASL, which needs TLS.
    secure_channels, plain_channels: channel types that need TLS, or must not have it.
    view_only: nobody may do more than look.
    display: compression, loss and video.
    copy_paste, file_transfer: whether viewers may use them with the guest's agent.
    max_connections, max_connections_of_address: at once; a viewer has four to ten. An IPv6 address is its /64 network.
    seamless_migration: whether viewers that move with their guest keep the state of their channels.
    """

    def __init__(
        self,
        guest: Guest,
        *,
        host: str = "localhost",
        port: int | None = None,
        tls_port: int | None = None,
        unix_path: str | Path | None = None,
        tls: ssl.SSLContext | tuple[str | Path, str | Path] | None = None,
        password: str | None = None,
        view_only_password: str | None = None,
        users: Mapping[str, str | ScramCredential] | None = None,
        secure_channels: Iterable[ChannelType] = (),
        plain_channels: Iterable[ChannelType] = (),
        sharing: Sharing | str = Sharing.TAKE_OVER,
        view_only: bool = False,
        display: DisplayOptions | None = None,
        copy_paste: bool = True,
        file_transfer: bool = True,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_of_address: int = MAX_CONNECTIONS_OF_ADDRESS,
        seamless_migration: bool = True,
    ) -> None:
        if port is None and tls_port is None and unix_path is None:
            raise EndpointError("a server needs a port, a tls_port or a unix_path")
        if tls_port is not None and tls is None:
            raise EndpointError("tls_port needs tls: a certificate and its key")
        self.guest = guest
        self.host, self.port, self.tls_port = host, port, tls_port
        self.unix_path = Path(unix_path) if unix_path is not None else None
        self.access = Access(password, view_only_password, users)
        self.throttle = Throttle()
        self.secure_channels, self.plain_channels = frozenset(secure_channels), frozenset(plain_channels)
        self.sharing = Sharing(sharing)
        self.view_only = view_only
        self.display_options = display if display is not None else DisplayOptions()
        self.captures: dict[Display, Capture] = {}
        """What viewers of a display share."""
        self.agent = Agent(guest, copy_paste=copy_paste, file_transfer=file_transfer)
        self.ticket_keys = TicketKeys()
        self.seamless_migration = seamless_migration
        self.departures = Departures(self, seamless=seamless_migration)
        self.viewers: dict[int, Viewer] = {}
        """By session id."""
        self.former_ids: deque[int] = deque(maxlen=FORMER_IDS)
        """Session ids of viewers that have left."""
        self.connected: Signal[[Connection]] = Signal()
        """A connection has come; it has not linked yet."""
        self.initialized: Signal[[ServerChannel]] = Signal()
        """A channel was linked."""
        self.freed: Signal[[]] = Signal()
        """A channel that only one viewer may have is to be had again."""
        self.disconnected: Signal[[Connection, ServerChannel | None]] = Signal()
        """A connection is over; with its channel, if it was linked."""
        self._context = tls if tls is None or isinstance(tls, ssl.SSLContext) else _context(*tls)
        self._listener = Listener(
            self._attend,
            context=self._context,
            max_connections=max_connections,
            max_connections_of_address=max_connections_of_address,
        )
        self._arrivals_until = 0.0
        self._tokens: deque[bytes] = deque(maxlen=MAX_TOKENS)
        self._guest_awaited = guest.incoming
        self._disconnects: list[Callable[[], None]] = []
        self._no_viewers = asyncio.Event()
        self._no_viewers.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen. Raises LinkError if a port or path cannot be had."""
        self.agent.attach()
        self.departures.attach()
        self._disconnects = [
            self.guest.incoming_changed.connect(self._incoming_changed),
            self.guest.running_changed.connect(self._running_changed),
        ]
        try:
            if self.port is not None:
                self.port = await self._listener.listen(
                    self.host, self.port, tls=None if self._context is not None else False
                )
            if self.tls_port is not None:
                self.tls_port = await self._listener.listen(self.host, self.tls_port, tls=True)
            if self.unix_path is not None:
                self._listener.listen_unix(self.unix_path)
        except BaseException:
            await self._listener.aclose()
            self.agent.close()
            raise

    async def aclose(self) -> None:
        """Tell the viewers, and close everything."""
        await self._listener.stop()
        for viewer in list(self.viewers.values()):
            viewer.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._no_viewers.wait()
        await self._listener.aclose()
        await self.ticket_keys.aclose()
        self.departures.close()
        for disconnect in self._disconnects:
            disconnect()
        self._disconnects.clear()
        self.agent.close()

    # migration

    async def announce_migration(self, destination: Destination, token: bytes | None = None) -> Announcement:
        """The guest is about to move: viewers that can link the target now, and go there when the guest has gone.

        token: 16 random bytes that the target was told to expect, if it is a server of Caraway's and gets all of
        `departures.handed_over`: channels then go on there without a word from the viewer.
        Raises MigrationError if the guest has gone already.
        """
        return self.departures.announce(destination, token)

    def expect(self, token: bytes) -> None:
        """Viewers will come that show this token, and the state of their channels will come from their source.

        Raises EndpointError if it has not 16 bytes.
        """
        if len(token) != TOKEN_SIZE:
            raise EndpointError(f"a token of {len(token)} bytes, it has to have {TOKEN_SIZE}")
        self._tokens.append(bytes(token))

    def take_over(self, given: Given) -> None:
        """Take what the source's `departures.handed_over` tells, in its order."""
        viewer = self.viewers.get(given.viewer)
        if viewer is None:
            return
        if viewer.arrival is not None:
            viewer.arrival.take_over(given)
        elif given.kind is GivenKind.MESSAGE and given.channel in viewer.channels:
            viewer.channels[given.channel].give(Frame(given.type, given.data))

    def migrate_start(self) -> None:
        """The guest's migration has begun."""
        self.departures.start()

    def migrate_end(self, completed: bool) -> None:
        """The guest's migration is over: it is at the target, or has stayed. To be called once it does not run here."""
        self.departures.end(completed)

    def expects_arrivals(self) -> bool:
        """Whether another viewer may come that says it is on its way from another host."""
        expected = self.guest.incoming or self._arrivals_until > asyncio.get_running_loop().time()
        return expected and sum(viewer.arrival is not None for viewer in self.viewers.values()) < MAX_ARRIVALS

    @property
    def guest_is_away(self) -> bool:
        """Whether the guest does not run because it is between two hosts: what it is told must wait for it."""
        return not self.guest.running and (self._guest_awaited or self.departures.under_way)

    def _running_changed(self) -> None:
        if self.guest.running:
            self._guest_awaited = False

    def _incoming_changed(self) -> None:
        if self.guest.incoming:
            self._guest_awaited = True
        else:
            self._arrivals_until = asyncio.get_running_loop().time() + ARRIVAL_DEADLINE

    # what admission asks

    def offers(self, kind: ChannelType, id: int) -> bool:
        """Whether the guest has such a channel."""
        channel = CHANNELS.get(kind)
        return channel is not None and id in channel.ids(self.guest)

    def capabilities(self, kind: ChannelType) -> Capabilities:
        """What is announced in a link of this type."""
        return CHANNELS[kind].announced(self.guest)

    def may_open(self, viewer: Viewer, kind: ChannelType, id: int) -> bool:
        """Whether a viewer may have this channel now."""
        channel = CHANNELS[kind]
        if channel.interactive and viewer.view_only:
            return False
        own = viewer.channels.get((kind, id))
        if own is not None and not own.ended:
            return False
        return not (channel.exclusive and any((kind, id) in each.channels for each in self.viewers.values()))

    def channel_list(self, viewer: Viewer) -> list[ChannelEntry]:
        """The channels that a viewer may link, but main."""
        return [
            ChannelEntry(kind, id)
            for kind, channel in CHANNELS.items()
            if kind is not ChannelType.MAIN
            for id in channel.ids(self.guest)
            if (kind, id) in viewer.channels or self.may_open(viewer, kind, id)
        ]

    def has_room(self) -> bool:
        """Whether another viewer may come. Nobody takes over from those that come with the guest, before it is here."""
        if self.sharing is Sharing.TAKE_OVER and self.guest.incoming:
            return not self.viewers
        return self.sharing is not Sharing.REFUSE or not self.viewers

    def welcome(self, viewer: Viewer, *, arrives: bool = False) -> None:
        """A viewer has come. arrives: from another host, with or before its guest."""
        former = self.viewers.get(viewer.id)
        if former is not None:
            former.end("its client begins anew")
        if arrives:
            viewer.arrival = Arrival(viewer, seamless=self.seamless_migration, tokens=self._tokens)
            viewer.arrival.settled.connect(lambda: self.departures.came(viewer, complete=True))
        elif self.sharing is Sharing.TAKE_OVER:
            for other in list(self.viewers.values()):
                other.end(f"{viewer.address} takes over")
        self.viewers[viewer.id] = viewer
        self._no_viewers.clear()
        log.info("viewer %s has come%s", viewer.address, ", to look only" if viewer.view_only else "")

    def open_channel(self, viewer: Viewer, kind: ChannelType, id: int, connection: Connection) -> ServerChannel:
        """Make the channel of a connection that has linked."""
        channel = viewer.channels[kind, id] = CHANNELS[kind](viewer, id, connection)
        return channel

    # what the control socket asks

    def set_password(self, password: str) -> None:
        """Another password for whoever comes from now on."""
        self.access.set_password(password)

    def expire_password(self, when: float | None) -> None:
        """Take no password from `when` on, seconds since 1970; None: never."""
        self.access.expire(when)

    async def _attend(self, connection: Connection, host: str, linked: Callable[[], None]) -> None:
        """A connection's life, from its first byte."""
        channel: ServerChannel | None = None
        self.connected(connection)
        try:
            channel = await Admission(self, connection, host).admit()
            linked()
            self.initialized(channel)
            await channel.run()
        finally:
            if channel is not None:
                await self._left(channel)
            else:
                await connection.aclose()
            self.disconnected(connection, channel)

    async def _left(self, channel: ServerChannel) -> None:
        viewer = channel.viewer
        if viewer.channels.get(channel.key) is channel:
            del viewer.channels[channel.key]
        if viewer.arrival is not None:
            viewer.arrival.lost(channel)
        if channel.channel_type is ChannelType.MAIN:
            if viewer.departed:
                # Other channels may have something to read yet that is for the target.
                asyncio.get_running_loop().call_later(CLOSE_DEADLINE, viewer.end, "it has gone to another host")
            else:
                viewer.end("its main channel is closed")
            if self.viewers.get(viewer.id) is viewer:
                del self.viewers[viewer.id]
                self.former_ids.append(viewer.id)
                self.departures.gone(viewer)
            log.info("viewer %s has left", viewer.address)
            if not self.viewers:
                self._no_viewers.set()
        elif channel.exclusive:
            self.freed()
        await channel.aclose()


def _context(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise EndpointError(f"certificate {certificate}, key {key}: {error}") from None
    return context
