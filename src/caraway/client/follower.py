"""Makes a session follow its VM: feeds `ClientMigration` with what happens, and does what it says.

The machine decides, this module has the sockets: links to the target that are parked until their swap, connections to
the source that are put aside, the reconnect, the timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from caraway.client.channel import Channel
from caraway.client.connection import Connection
from caraway.client.dial import Dialer
from caraway.endpoint import Credentials, Endpoint
from caraway.errors import AuthError, CarawayError, ProtocolError
from caraway.migration import actions, events
from caraway.migration.channels import MAIN
from caraway.migration.channels import Channel as Key
from caraway.migration.client import ClientMigration
from caraway.migration.offer import Policy
from caraway.migration.rehearsal import rehearse
from caraway.migration.reports import Report
from caraway.wire.constants import Sender
from caraway.wire.framing import Frame
from caraway.wire.messages.base import Message, unpack
from caraway.wire.messages.common import MigrateFlushMark, Ping, Pong
from caraway.wire.messages.hand_over import MigrateDstHandOverAck
from caraway.wire.messages.main import Init, MigrateDstSeamlessAck, MigrateDstSeamlessNack

if TYPE_CHECKING:
    from caraway.client.session import Session

log = logging.getLogger(__name__)

MAX_PARKED_MESSAGES = 256
"""Messages that a target may send on a parked main link: a handful are usual."""

SETTLE = 0.5
"""Seconds that a link to a target outlives a try that failed, and main's the others: libspice-server 0.15.1 crashes,
and the VM with it, when a channel or main ends, or another main comes, while a thread of the server makes its end of a
display or cursor channel."""

MAX_REPORTS = 256
"""Reports that wait for a slow reader of `migrations()`; then the oldest go."""

_HANDSHAKE = {m.id: m for m in (MigrateDstSeamlessAck, MigrateDstSeamlessNack, MigrateDstHandOverAck, Init)}


async def _close_after(connection: Connection, delay: float) -> None:
    await asyncio.sleep(delay)
    await connection.aclose()


async def _rehearse() -> None:
    for _ in rehearse(Sender.CLIENT):
        await asyncio.sleep(0)


def _note(task: asyncio.Task[Any]) -> None:
    """What became of it concerns only those who wait for it."""
    if not task.cancelled():
        task.exception()


def _give_back(early: asyncio.Task[Connection], dial: asyncio.Task[None]) -> None:
    """The link that `dial` waited for is of no use if that was cancelled."""
    early.cancel()
    if dial.cancelled() and early.done() and not early.cancelled() and early.exception() is None:
        early.result().abort()


async def _read(reader: asyncio.Queue[Report | None]) -> AsyncGenerator[Report, None]:
    while (report := await reader.get()) is not None:
        yield report


class ParkedLink:
    """A link to the target that no channel uses yet. It is read, so that its end is seen."""

    def __init__(self, attempt: int, connection: Connection) -> None:
        self.attempt = attempt
        self.connection = connection
        self.task: asyncio.Task[None] | None = None
        self.frames: list[Frame] = []
        """What came on main and belongs to the channel after the swap."""


class Follower:
    """The migration side of a session."""

    def __init__(self, session: Session, policy: Policy, credentials: Credentials) -> None:
        self.policy = policy
        self._session = session
        self._credentials = credentials
        self._machine: ClientMigration | None = ClientMigration(session.endpoint, policy)
        self._events: deque[events.Event | None] = deque()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._dials: dict[Key, asyncio.Task[None]] = {}
        self._early: dict[Key, asyncio.Task[Connection]] = {}
        """Links beside that of the target's main, up to their authentication; the machine asks for them after it."""
        self._agreed: asyncio.Future[None] | None = None
        """Done once the target knows how the session will move; its other channels are let in only then."""
        self._asks = False
        """Whether it has been asked to take the session over with its state."""
        self._parked: dict[Key, ParkedLink] = {}
        self._aside: list[Connection] = []
        self._target: Dialer | None = None
        self._arriving: int | None = None
        """The attempt whose INIT is awaited on main's new connection."""
        self._reconnecting: asyncio.Task[None] | None = None
        self._lost: CarawayError | None = None
        """What ended a connection in the middle of a reconnect."""
        self._leaving: set[asyncio.Task[None]] = set()
        """Connections that outlive their use for a while; a new session comes after them."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readers: WeakSet[asyncio.Queue[Report | None]] = WeakSet()
        for key in session.living():
            self.opened(key)

    # what happens

    def initialised(self, message: Init) -> None:
        """Main has processed an INIT."""
        if self._arriving is not None:
            attempt, self._arriving = self._arriving, None
            self.feed(events.TargetReceived(attempt, message))

    def opened(self, channel: Key) -> None:
        """A channel has its connection."""
        self.feed(events.ChannelOpened(channel))

    def received(self, channel: Channel, message: Message) -> None:
        """A message about migration came."""
        self.feed(events.Received(channel.key, message))

    def lost(self, channel: Channel, error: CarawayError) -> None:
        """The connection that a channel uses has ended."""
        if self._reconnecting is not None:
            self._lost = error
            self._reconnecting.cancel()
        else:
            self.feed(events.ChannelLost(channel.key, error))

    def alive(self, attempt: int) -> None:
        """The guest runs at the target."""
        self.feed(events.TargetAlive(attempt))

    def feed(self, event: events.Event) -> None:
        """Let the machine decide, and do what it says."""
        self._turn(event)

    def _turn(self, event: events.Event | None) -> None:
        """One event, or the deadline; what comes up while it is worked on waits its turn."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        now = asyncio.get_running_loop().time()
        try:
            while self._events and self._machine is not None:
                event = self._events.popleft()
                todo = self._machine.handle_timer(now) if event is None else self._machine.handle(event, now)
                for action in todo:
                    log.debug("migration: %r", action)
                    self._do(action)
        finally:
            self._events.clear()
            self._busy = False
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine is not None and self._machine.deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(self._machine.deadline, self._turn, None)

    # what to do

    def _do(self, action: actions.Action) -> None:
        session = self._session
        match action:
            case actions.Link(attempt=attempt, channel=key, endpoint=endpoint, fresh=fresh):
                self._drop(key)
                early = self._early.pop(key, None)
                self._dials[key] = self._spawn(self._link(attempt, key, endpoint, fresh=fresh, early=early))
                if early is not None:
                    self._dials[key].add_done_callback(partial(_give_back, early))
            case actions.Drop(channel=key):
                self._drop(key)
            case actions.Reply(message=message):
                session.main.flow.send(message)
            case actions.Ask(message=message):
                self._asks = True
                self._parked[MAIN].connection.write_message(message.id, message.pack(), 1)
            case actions.HoldQueue(channel=key, flush_mark=flush_mark):
                session.channels[key].flow.hold(MigrateFlushMark() if flush_mark else None)
            case actions.Swap():
                self._swap(action)
            case actions.CloseSource():
                self._close_source()
            case actions.CloseChannel(channel=key, error=error):
                session.drop(key, error)
            case actions.HoldInput():
                for inputs in self._session.input_channels():
                    inputs.hold()
            case actions.ReleaseInput():
                for inputs in self._session.input_channels():
                    inputs.release()
            case actions.Disconnect():
                self._disconnect()
            case actions.Reconnect(attempt=attempt, endpoint=endpoint):
                self._reconnecting = self._spawn(self._reconnect(attempt, endpoint))
            case actions.Commit():
                assert self._target is not None
                session.dialer, self._target = self._target, None
            case actions.EndSession(error=error):
                for inputs in self._session.input_channels():
                    inputs.discard()
                session.end(error)
            case actions.Tell(report=report):
                self._tell(report)

    async def _link(
        self, attempt: int, key: Key, endpoint: Endpoint, *, fresh: bool, early: asyncio.Task[Connection] | None
    ) -> None:
        try:
            if fresh or self._target is None or self._target.endpoint.host != endpoint.host:
                self._target = Dialer(endpoint, await self._password(endpoint))
            if key == MAIN:
                self._agreed = asyncio.get_running_loop().create_future()
                self._asks = False
                self._spawn(_rehearse())
                self._link_early(self._target)
            connection = await (early or self._dial(self._target, key))
        except CarawayError as error:
            self._drop_early()
            del self._dials[key]
            self.feed(events.LinkFailed(attempt, key, error))
            return
        del self._dials[key]
        link = self._parked[key] = ParkedLink(attempt, connection)
        link.task = self._spawn(self._watch(key, link))
        machine = connection.machine
        assert machine is not None
        self.feed(events.LinkUp(attempt, key, machine.server_channel))
        if key == MAIN:
            self._drop_early()
            if not self._asks:
                self._let_others_in()

    def _dial(self, target: Dialer, key: Key) -> Coroutine[Any, Any, Connection]:
        capabilities = self._session.capabilities(type(self._session.channels[key]))
        after = None if key == MAIN else self._agreed
        return target.dial(*key, self._session.main.session_id, capabilities, after=after)

    def _let_others_in(self) -> None:
        if self._agreed is not None and not self._agreed.done():
            self._agreed.set_result(None)

    def _link_early(self, target: Dialer) -> None:
        """Begin all links at once: the server lets in others only after main, but tells its keys to all.

        Before a seamless move it has to have heard of that first: it takes a channel in the way that holds when its
        link comes, and a deployed one ends with an assertion if it took another attempt for a seamless one before.
        Not where main's link may show that the others have to use TLS.
        """
        if target.endpoint.tls_port is None or target.endpoint.tls_required:
            for key in self._session.living():
                if key != MAIN:
                    early = self._early[key] = asyncio.ensure_future(self._dial(target, key))
                    early.add_done_callback(_note)
                    self._keep(early)

    def _drop_early(self) -> None:
        """Give up the links that nobody has asked for."""
        while self._early:
            self._early.popitem()[1].cancel()

    async def _password(self, endpoint: Endpoint) -> str:
        try:
            return await self._credentials(endpoint)
        except CarawayError:
            raise
        except Exception as error:
            raise AuthError(f"{endpoint}: the credentials could not be had: {error!r}") from error

    async def _watch(self, key: Key, link: ParkedLink) -> None:
        """Read a parked link: main's handshake is for the machine, everything else waits for the swap."""
        try:
            while True:
                while key == MAIN and (frame := link.connection.next_frame()) is not None:
                    self._parked_main(link, frame)
                await link.connection.readable()
        except CarawayError as error:
            if self._parked.get(key) is link:
                del self._parked[key]
                link.connection.abort()
                self.feed(events.LinkFailed(link.attempt, key, error))

    def _parked_main(self, link: ParkedLink, frame: Frame) -> None:
        if frame.type in _HANDSHAKE:
            message = unpack(_HANDSHAKE[frame.type], frame.body, link.connection.peer)
            self._let_others_in()
            self.feed(events.TargetReceived(link.attempt, message))
        elif frame.type == Ping.id:
            ping = unpack(Ping, frame.body, link.connection.peer)
            link.connection.write_message(Pong.id, Pong(ping.ping_id, ping.timestamp).pack(), 1)
        elif len(link.frames) < MAX_PARKED_MESSAGES:
            link.frames.append(frame)
        else:
            raise ProtocolError(f"{link.connection.peer}: more than {MAX_PARKED_MESSAGES} messages before the switch")

    def _swap(self, action: actions.Swap) -> None:
        link = self._parked.pop(action.channel)
        if link.task is not None and link.task is not asyncio.current_task():
            link.task.cancel()
        for frame in link.frames:
            link.connection.unread(frame)
        channel = self._session.channels[action.channel]
        self._aside.append(channel.connection)
        channel.arrival = action.attempt
        if action.channel == MAIN:
            self._session.main.attaches = False
            self._arriving = None if action.keep else action.attempt
        if action.keep:
            channel.continue_on(link.connection, action.first)
        else:
            channel.begin_on(link.connection, action.first)
        self._session.run(channel)

    def _close_source(self) -> None:
        for key in self._parked:
            self._put_aside(self._session.channels[key])
        self._close_aside()

    def _put_aside(self, channel: Channel) -> None:
        self._session.stop(channel)
        channel.flow.hold()
        self._aside.append(channel.connection)

    def _close_aside(self) -> None:
        closing, self._aside = self._aside, []
        for connection in closing:
            self._spawn(connection.aclose())

    def _drop(self, key: Key) -> None:
        if key == MAIN:
            self._drop_early()
        if dial := self._dials.pop(key, None):
            dial.cancel()
        if link := self._parked.pop(key, None):
            if link.task is not None:
                link.task.cancel()
            self._leave(link.connection, SETTLE if key == MAIN else 0.0)

    def _leave(self, connection: Connection, delay: float) -> None:
        task = self._spawn(_close_after(connection, delay))
        if delay:
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _disconnect(self) -> None:
        for key in [*self._dials, *self._parked]:
            self._drop(key)
        delay = SETTLE if self._reconnecting is not None else 0.0
        self._give_up_reconnect()
        self._arriving = None
        for key, channel in self._session.living().items():
            self._session.stop(channel)
            channel.flow.hold()
            self._leave(channel.connection, 2 * delay if key == MAIN else delay)
        self._close_aside()

    def _give_up_reconnect(self) -> None:
        if self._reconnecting is not None and self._reconnecting is not asyncio.current_task():
            self._reconnecting.cancel()
        self._reconnecting = None

    async def _reconnect(self, attempt: int, endpoint: Endpoint) -> None:
        self._lost = None
        try:
            if self._leaving:
                await asyncio.wait(self._leaving)
            self._target = Dialer(endpoint, await self._password(endpoint))
            await self._session.begin_anew(self._target, attempt)
        except asyncio.CancelledError:
            if self._lost is None or self._reconnecting is not asyncio.current_task():
                raise
            error = self._lost
        except CarawayError as failed:
            error = failed
        else:
            self._reconnecting = None
            for key in self._session.living():
                self.opened(key)
            self.feed(events.Reconnected(attempt))
            return
        self._disconnect()
        self.feed(events.ReconnectFailed(attempt, error))

    # reports

    def _tell(self, report: Report | None) -> None:
        if report is not None:
            log.info("%s: %s", self._session.endpoint, report)
        for reader in tuple(self._readers):
            if reader.full():
                reader.get_nowait()
            reader.put_nowait(report)

    def reports(self) -> AsyncGenerator[Report, None]:
        """What happens from now on, until the session ends."""
        reader: asyncio.Queue[Report | None] = asyncio.Queue(MAX_REPORTS)
        if self._session.error is None:
            self._readers.add(reader)
        else:
            reader.put_nowait(None)
        return _read(reader)

    # the end

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ended(self) -> None:
        """The session is over: give up everything under way."""
        self._machine = None
        if self._timer is not None:
            self._timer.cancel()
        for key in [*self._dials, *self._parked]:
            self._drop(key)
        self._give_up_reconnect()
        for connection in self._aside:
            connection.abort()
        self._aside.clear()
        self._tell(None)

    async def aclose(self) -> None:
        """Wait until nothing is left."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
