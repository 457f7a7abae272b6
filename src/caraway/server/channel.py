"""A channel of a viewer: takes the client's messages in order, and sends what the guest does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec

from caraway.errors import CarawayError, LinkError, ProtocolError
from caraway.server.connection import CLOSE_DEADLINE, SMALL_READ_SIZE, Connection
from caraway.server.flow import Flow
from caraway.server.given import Given, GivenKind
from caraway.server.signal import Signal
from caraway.server.tasks import Tasks
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.framing import Frame
from caraway.wire.link import channel_name
from caraway.wire.messages import base
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import (
    Ack,
    AckSync,
    ClientMigrateData,
    Disconnecting,
    Migrate,
    MigrateData,
    MigrateFlags,
    MigrateFlushMark,
    Pong,
)
from caraway.wire.messages.handlers import Handler, handlers_of, handles

if TYPE_CHECKING:
    from caraway.server.guest import Guest
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

log = logging.getLogger(__name__)

MAX_KEPT, MAX_KEPT_BYTES = 4096, 4 << 20
"""Messages of a client that wait until it is known at which host the guest goes on. More of them wait in its socket."""

OF_CONNECTION = frozenset(message.id for message in (AckSync, Ack, Pong, Disconnecting))
"""Messages that are about a connection, and for nobody at another host."""

TURN = 0.01
"""Seconds of messages that a channel takes before others get their turn."""

P = ParamSpec("P")


class ServerChannel:
    """What all channels of a viewer have in common."""

    channel_type: ClassVar[ChannelType]
    capabilities: ClassVar[Capabilities] = Capabilities()
    """What the server announces in this channel's link."""
    max_size: ClassVar[int] = 1024
    """Bytes of the largest message that a client may send (spec/wire.md 5.1)."""
    read_size: ClassVar[int] = SMALL_READ_SIZE
    acked: ClassVar[bool] = False
    """Whether the client has to acknowledge messages."""
    interactive: ClassVar[bool] = False
    """Whether the channel is for those only who may do more than look."""
    exclusive: ClassVar[bool] = False
    """Whether only one viewer at a time may have it."""
    migrate_flags: ClassVar[MigrateFlags] = MigrateFlags(0)
    """What the source of a migration wants of the client on this channel."""
    before_begin: ClassVar[frozenset[int]] = frozenset(
        message.id for message in (AckSync, Ack, Pong, Disconnecting, ClientMigrateData)
    )
    """Messages that a client may send before an arriving channel begins."""
    handlers: ClassVar[dict[int, tuple[type[Message], Handler]]]

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        """The channels of this type that a guest has."""
        return (0,)

    @classmethod
    def announced(cls, guest: Guest) -> Capabilities:
        """The capabilities that the server announces, which may depend on the guest."""
        return cls.capabilities

    def __init_subclass__(cls) -> None:
        cls.handlers = handlers_of(cls)

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        self.viewer = viewer
        self.id = id
        self.key = (self.channel_type, id)
        self.name = channel_name(self.channel_type, id)
        self.connection = connection
        connection.begin(self.max_size, self.read_size)
        self.flow = Flow(connection, acked=self.acked)
        self._tasks = Tasks()
        self._disconnects: list[Callable[[], None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begun = False
        self._reads = False
        self._flush_due = False
        self._given: deque[Frame] = deque()
        """What the client had said at the source."""
        self._kept: deque[Frame] | None = None
        """What it says while it is not known where the guest goes on."""
        self._kept_bytes = 0
        self._passes_on = self._owes_end = False
        self.departed = False
        """Whether it goes on at another host."""

    @property
    def guest(self) -> Guest:
        """Whom the viewer looks at."""
        return self.viewer.guest

    @property
    def ended(self) -> bool:
        """Whether the channel is over, or about to be."""
        return self._failed.done() or self.connection.over

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of viewer {self.viewer.id:#x}>"

    def start(self) -> None:
        """The link is made: send what belongs to a start, and listen to the guest."""

    def closed(self) -> None:
        """The channel has ended: release what it holds."""

    def restore(self, state: MigrateDataBlob | None) -> None:
        """Go on as the channel was at the source of a migration, in place of `start`.

        state: of the channel there; None where this type has none. Raises ProtocolError if it cannot be.
        """
        self.start()

    def prepare(self) -> None:
        """The guest has gone: send what the client lacks, and what makes it ready to go on at the target."""

    def state(self) -> bytes:
        """What the target has to know: a body of MIGRATE_DATA. The client has said all that it says here."""
        return b""

    def held(self) -> bytes:
        """What the client holds down, for the target: it has to be released there if the client vanishes."""
        return b""

    def hold(self, data: bytes) -> None:
        """The client held this down at the source. Raises ProtocolError if it cannot be."""
        raise ProtocolError(f"{self.name}: nothing can be held down there")

    # arriving and departing

    def begin(self) -> None:
        """Read what the client says, and `start`."""
        self._begun = True
        self.read()
        self.start()

    def expect(self, *, reads: bool) -> None:
        """The channel will go on with its state. reads: whether that comes from the client."""
        self._reads = reads
        self.connection.wake()

    def read(self) -> None:
        """Read what the client says."""
        self._reads = True
        self.connection.wake()

    def go_on(self, state: MigrateDataBlob | None, *, reads: bool) -> None:
        """Go on where the channel was at the source. reads: whether what the client says here comes next."""
        self._begun = True
        self.restore(state)
        self.expect(reads=reads)

    def give(self, frame: Frame) -> None:
        """Take what the client had said at the source."""
        self._given.append(frame)
        if len(self._given) > 2 * MAX_KEPT:
            self.fail(LinkError(f"{self.name}: more than {2 * MAX_KEPT} messages of the source"))
        self.connection.wake()

    def hand_over(self) -> bytes | None:
        """The guest has stopped: bring the client up to date, and give the state. What the client says now waits."""
        self._kept, self._kept_bytes = deque(), 0
        if MigrateFlags.NEED_DATA_TRANSFER not in self.migrate_flags:
            return None
        self.flow.hurry()
        self.prepare()
        return self.state()

    def take_back(self) -> None:
        """The guest goes on here after all."""
        self.flow.relax()
        if self._kept is not None:
            self._given.extendleft(reversed(self._kept))
            self._kept = None
        self.recover()
        self.read()

    def recover(self) -> None:
        """Undo what `prepare` has done."""

    def let_go(self) -> None:
        """The guest is at the target, and the state too. Tell the client; what it said and says is for the target."""
        self.departed = True
        self.flow.hurry()
        if MigrateFlags.NEED_DATA_TRANSFER not in self.migrate_flags:
            self.prepare()
        self.send(Migrate(MigrateFlags.NEED_FLUSH))
        self.flow.seal()
        self._passes_on = self._owes_end = True
        kept, self._kept = self._kept or (), None
        for frame in kept:
            self._pass_on(frame)
        self.read()

    def _pass_on(self, frame: Frame) -> None:
        if frame.type == MigrateFlushMark.id:
            self._pass_end()
        else:
            given = Given(self.viewer.id, self.key, GivenKind.MESSAGE, bytes(frame.body), frame.type)
            self.viewer.server.departures.handed_over(given)

    def _pass_end(self) -> None:
        self._owes_end = False
        self.viewer.server.departures.handed_over(Given(self.viewer.id, self.key, GivenKind.END))

    def depart(self) -> None:
        """Hand the channel over to the target: nothing but its state is sent from here on."""
        self.departed = True
        self.flow.hurry()
        self.prepare()
        self.send(Migrate(self.migrate_flags))
        self.flow.seal()
        self._flush_due = MigrateFlags.NEED_FLUSH in self.migrate_flags

    @handles(MigrateFlushMark)
    def _flush_mark(self, message: MigrateFlushMark) -> None:
        if not self._flush_due:
            raise ProtocolError(f"{self.name}: MIGRATE_FLUSH_MARK, which was not asked for")
        self._flush_due = False
        self.flow.unseal()
        self.send(MigrateData(self.state()))
        self.flow.seal()

    @handles(ClientMigrateData)
    def _client_migrate_data(self, message: ClientMigrateData) -> None:
        self._reads = self._begun
        self.viewer.arrive(self, message)

    # life

    def listen(self, signal: Signal[P], listener: Callable[P, object]) -> None:
        """Call `listener` at each signal while the channel lives. What it raises ends the channel."""

        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                listener(*args, **kwargs)
            except CarawayError as error:
                self.fail(error)

        self._disconnects.append(signal.connect(guarded))

    def send(self, message: Message) -> None:
        """Queue a message. Raises LinkError if the client has long stopped reading."""
        self.flow.send(message)

    def leave(self) -> None:
        """Tell the client that the server is about to end."""
        with contextlib.suppress(LinkError):
            self.send(Disconnecting(time.monotonic_ns(), LinkErrorCode.OK))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task as long as the channel lives. What it raises ends the channel."""
        return self._tasks.spawn(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except CarawayError as error:
            self.fail(error)
        except Exception:
            log.exception("%s of %s ends, for the server failed", self.name, self.connection.peer)
            self.fail(LinkError(f"{self.name}: the server failed"))

    def fail(self, error: CarawayError) -> None:
        """End the channel."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def run(self) -> None:
        """Live until the client leaves or breaks the rules. Raises what ended the channel."""
        reading = self._tasks.spawn(self._read())
        try:
            self.viewer.linked(self)
            await asyncio.wait({reading, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            await reading
        finally:
            self._failed.cancel()
            for disconnect in self._disconnects:
                disconnect()
            self.flow.on_room = lambda: None
            self.closed()
            if self._owes_end:
                self._pass_end()
            await self._tasks.aclose()

    async def _read(self) -> None:
        connection = self.connection
        while True:
            turn_ends = time.monotonic() + TURN
            while (frame := self._next()) is not None:
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + TURN
                if not self._keeps(frame):
                    await self._take(frame)
            await connection.readable()

    def _next(self) -> Frame | None:
        """What is to be taken next: what the source of a migration gave comes first."""
        if self._given and self._begun:
            return self._given.popleft()
        return self._next_frame() if self._reads else None

    def _next_frame(self) -> Frame | None:
        try:
            return self.connection.next_frame()
        except ProtocolError as error:
            raise ProtocolError(f"{self.name}: {error}") from None

    def _keeps(self, frame: Frame) -> bool:
        """Whether a message is not to be taken now, or not here; then it is kept or passed on."""
        if (self._kept is None and not self._passes_on) or frame.type in OF_CONNECTION:
            return False
        if self._passes_on:
            self._pass_on(frame)
        elif self._kept is not None:
            self._kept.append(Frame(frame.type, bytes(frame.body)))
            self._kept_bytes += len(frame.body)
            self._reads = len(self._kept) < MAX_KEPT and self._kept_bytes < MAX_KEPT_BYTES
        return True

    async def _take(self, frame: Frame) -> None:
        entry = self.handlers.get(frame.type)
        if entry is None or not (self._begun or frame.type in self.before_begin):
            known = base.messages(self.channel_type, Sender.CLIENT).get(frame.type)
            what = known.wire_name() if known is not None else f"message {frame.type}"
            raise ProtocolError(f"{self.name}: {what} is not expected of a client here")
        message, handler = entry
        waiting = handler(self, base.unpack(message, frame.body, self.name))
        if waiting is not None:
            await waiting

    async def aclose(self) -> None:
        """Let what is queued leave, within a deadline, and close the connection."""
        if not self.acked and not self.connection.over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self.flow.drained()
        await self.connection.aclose()

    @handles(AckSync)
    def _ack_sync(self, message: AckSync) -> None:
        self.flow.synced(message.generation)

    @handles(Ack)
    def _ack(self, message: Ack) -> None:
        self.flow.acknowledged()

    @handles(Pong)
    def _pong(self, message: Pong) -> None:
        """Only main pings."""

    @handles(Disconnecting)
    def _disconnecting(self, message: Disconnecting) -> None:
        log.info("%s of %s: the client is about to leave", self.name, self.connection.peer)
