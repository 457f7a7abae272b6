"""Client, source, target and notifier around a network that delays, reorders between connections, and cuts them.

Nothing is real but the machines: `Play` holds what is under way on every connection, and whoever plays chooses what
comes next. Connections keep their own order; all else is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, LinkError
from caraway.migration import ClientMigration, Policy, notifier, target
from caraway.migration import actions as client_does
from caraway.migration import events as client_hears
from caraway.migration import source_events as source
from caraway.migration.channels import MAIN, Channel
from caraway.migration.destination import Destination
from caraway.migration.notifier import MigrationNotifier, Occurrence
from caraway.migration.source import SourceMigration
from caraway.migration.target import TargetArrival
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import ClientMigrateData, Migrate, MigrateData, MigrateFlags, MigrateFlushMark
from caraway.wire.messages.hand_over import MigrateConnectedHandOver, MigrateDstDoHandOver, MigrateDstHandOverAck
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    Init,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
    MouseModes,
)
from caraway.wire.messages.migrate_data import BLOB_VERSION, InputsMigrateData

INPUTS: Channel = (ChannelType.INPUTS, 0)
CURSOR: Channel = (ChannelType.CURSOR, 0)
CHANNELS = MAIN, INPUTS, CURSOR

HELLO, WELCOME, REFUSED, BYE, ALIVE = "hello", "welcome", "refused", "bye", "alive"
"""What goes over a connection beside messages. ALIVE: the first that a running guest shows."""

STATES = {
    MAIN: b"MNMD" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(53),
    INPUTS: InputsMigrateData(BLOB_VERSION, 0).pack(),
}
FLAGS = {channel: MigrateFlags(3) if channel in STATES else MigrateFlags(0) for channel in CHANNELS}
CAPABILITIES = {
    "seamless": Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE, MainCapability.SEAMLESS_MIGRATE]),
    "semi-seamless": Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE]),
    "handed over": Capabilities(MainCapability),
    "switch-host": Capabilities(),
}
TOKEN = bytes(16)
REPLIES = MigrateConnected, MigrateConnectedSeamless, MigrateConnectedHandOver, MigrateConnectError
ANSWERS = MigrateDstSeamlessAck, MigrateDstSeamlessNack, MigrateDstHandOverAck, Init
PLACES = {"A": "a.test", "B": "b.test"}
LOST = LinkError("the connection is lost")

Piece: TypeAlias = Message | str


@dataclass(eq=False)
class Wire:
    """A connection: what is under way, and who still holds an end."""

    host: Host
    channel: Channel
    viewer: int
    attempt: int
    to_server: deque[Piece] = field(default_factory=deque)
    to_client: deque[Piece] = field(default_factory=deque)
    client: bool = True
    server: bool = False
    reads: bool = False
    """The server takes what comes."""
    passes_on: bool = False
    """What comes is for the target, and it waits for the end of that."""

    def send(self, piece: Piece) -> None:
        """From the server."""
        if self.server:
            self.host.play.sent.add(type(piece))
            self.to_client.append(piece)

    def say(self, piece: Piece) -> None:
        """From the client."""
        if self.client:
            self.host.play.sent.add(type(piece))
            self.to_server.append(piece)

    def close(self) -> None:
        """By the server."""
        self.send(BYE)
        self.server = False
        self.to_server.clear()

    def leave(self) -> None:
        """By the client."""
        self.say(BYE)
        self.client = False
        self.to_client.clear()

    def cut(self) -> None:
        """By the network: what is under way is lost."""
        self.to_server = deque([BYE] if self.server else [])
        self.to_client = deque([BYE] if self.client else [])


class Host:
    """A server with its guest, or with the place for one."""

    def __init__(self, play: Play, *, present: bool) -> None:
        self.play = play
        self.source = SourceMigration()
        self.arrivals: dict[int, TargetArrival] = {}
        self.viewers: dict[int, dict[Channel, Wire]] = {}
        self.live: set[Wire] = set()
        self.departed: set[int] = set()
        self.loaded = self.running = present
        self.awaits = not present
        self.dead = False

    def die(self) -> None:
        """The process ends."""
        self.dead, self.running = True, False
        for wire in self.play.wires:
            if wire.host is self:
                wire.server = False
                wire.cut()
        self.viewers.clear()
        self.arrivals.clear()

    # the guest

    def load(self) -> None:
        self.loaded = True
        for id in [*self.arrivals]:
            self._arrive(id, target.Loaded())

    def run(self) -> None:
        self.running = True
        for id in [*self.arrivals]:
            self._arrive(id, target.Started())
        for wire in [*self.live]:
            if wire.channel == CURSOR:
                wire.send(ALIVE)

    def announce(self, destination: Destination) -> None:
        mode = self.play.mode
        token = TOKEN if mode == "handed over" else None
        self._depart(source.Announce(1, destination, mode in ("seamless", "handed over"), token))

    def take(self, call: notifier.Call) -> None:
        """What the notifier says."""
        if isinstance(call, notifier.Switch):
            self._depart(source.Stopped())
        elif isinstance(call, notifier.End):
            self._depart(source.Moved() if call.completed else source.Stayed())

    def take_over(self, id: int, event: target.HandedOver | target.Flushed) -> None:
        """What the source gives."""
        self.play.sent.add(type(event))
        if id in self.arrivals:
            self._arrive(id, event)

    # connections

    def hears(self, wire: Wire) -> bool:
        """Whether it takes what comes next on a connection."""
        return bool(wire.to_server) and (wire.to_server[0] in (HELLO, BYE) or wire.reads)

    def hear(self, wire: Wire) -> None:
        """Take it."""
        piece = wire.to_server.popleft()
        if piece == HELLO:
            wire.server = True
            if self.dead or not self._admit(wire):
                wire.send(REFUSED)
                wire.server = False
        elif not wire.server:
            return
        elif piece == BYE:
            wire.server = False
            self._lost(wire)
        elif isinstance(piece, Message):
            self._received(wire, piece)

    def _admit(self, wire: Wire) -> bool:
        id = wire.viewer
        if wire.channel != MAIN:
            if id not in self.viewers or wire.channel in self.viewers[id]:
                return False
            self.viewers[id][wire.channel] = wire
            wire.send(WELCOME)
            if id in self.arrivals:
                self._arrive(id, target.Linked(wire.channel))
            else:
                self._begin(wire)
        elif id and (not self.awaits or id in self.viewers):
            return False
        elif id:
            self.viewers[id] = {MAIN: wire}
            self.arrivals[id] = TargetArrival(loaded=self.loaded, tokens=(TOKEN,))
            wire.reads = True
            wire.send(WELCOME)
            if self.running:
                self._arrive(id, target.Started())
        else:
            wire.viewer = id = self.play.new_viewer()
            self.viewers[id] = {MAIN: wire}
            wire.send(WELCOME)
            self._begin(wire)
        return True

    def _begin(self, wire: Wire) -> None:
        wire.reads = True
        if wire.channel == MAIN:
            wire.send(Init(wire.viewer, 1, MouseModes(3), MouseModes(1), False, 10, 0, 0))
        self._live(wire)
        if wire.channel == MAIN and wire.viewer not in self.arrivals:
            self._depart(source.ViewerCame(wire.viewer, self.play.capabilities))

    def _live(self, wire: Wire) -> None:
        self.live.add(wire)
        if wire.channel == CURSOR and self.running:
            wire.send(ALIVE)

    def _received(self, wire: Wire, message: Message) -> None:
        if isinstance(message, REPLIES):
            self._depart(source.Replied(wire.viewer, message))
        elif isinstance(message, MigrateFlushMark) and wire.passes_on:
            self._pass_end(wire)
        elif isinstance(message, MigrateFlushMark):
            wire.send(MigrateData(STATES[wire.channel]))
        elif isinstance(message, MigrateDstDoSeamless | MigrateDstDoHandOver | ClientMigrateEnd | ClientMigrateData):
            assert wire.viewer in self.arrivals, f"{type(message).__name__} to a server where nobody arrives"
            self._arrive(wire.viewer, target.Received(wire.channel, message))
        else:
            raise AssertionError(f"{type(message).__name__} to a server")

    def _pass_end(self, wire: Wire) -> None:
        wire.passes_on = False
        self.play.given.append((wire.viewer, target.Flushed(wire.channel)))

    def _lost(self, wire: Wire) -> None:
        self.live.discard(wire)
        if wire.passes_on:
            self._pass_end(wire)
        channels = self.viewers.get(wire.viewer, {})
        if channels.get(wire.channel) is not wire:
            return
        del channels[wire.channel]
        if wire.channel == MAIN:
            del self.viewers[wire.viewer]
            if wire.viewer not in self.departed:
                for other in [*channels.values()]:
                    self.live.discard(other)
                    other.close()
        if wire.viewer in self.arrivals:
            self._arrive(wire.viewer, target.Lost(wire.channel))
        if wire.channel == MAIN:
            self.arrivals.pop(wire.viewer, None)
            self._depart(source.ViewerGone(wire.viewer))

    def _end(self, wire: Wire) -> None:
        wire.close()
        self._lost(wire)

    # what the machines say

    def _depart(self, event: source.Event) -> None:
        self._departing(self.source.handle(event, self.play.now))

    def _departing(self, actions: Sequence[source.Action]) -> None:
        for action in actions:
            channels = self.viewers.get(getattr(action, "viewer", 0), {})
            if isinstance(action, source.Send) and MAIN in channels:
                channels[MAIN].send(action.message)
            elif isinstance(action, source.MoveChannels):
                self.departed.add(action.viewer)
                for wire in channels.values():
                    wire.send(Migrate(FLAGS[wire.channel]))
            elif isinstance(action, source.HandOver):
                for channel in STATES.keys() & channels.keys():
                    self.play.given.append((action.viewer, target.HandedOver(channel, STATES[channel])))
            elif isinstance(action, source.LetGo):
                self.departed.add(action.viewer)
                for wire in channels.values():
                    wire.send(Migrate(MigrateFlags.NEED_FLUSH))
                    wire.passes_on = True
            elif isinstance(action, source.Cut) and MAIN in channels:
                self.departed.discard(action.viewer)
                self._end(channels[MAIN])

    def _arrive(self, id: int, event: target.Event) -> None:
        self._arriving(id, self.arrivals[id].handle(event, self.play.now))

    def _arriving(self, id: int, actions: Sequence[target.Action]) -> None:
        channels = self.viewers.get(id, {})
        for action in actions:
            if isinstance(action, target.Answer):
                channels[MAIN].send(action.message)
            elif isinstance(action, target.Settle):
                del self.arrivals[id]
                self._depart(source.ViewerCame(id, self.play.capabilities, complete=True))
            elif isinstance(action, target.Drop):
                self.arrivals.pop(id, None)
                if MAIN in channels:
                    self._end(channels[MAIN])
            elif action.channel not in channels:
                continue
            elif isinstance(action, target.End):
                self._end(channels[action.channel])
            elif isinstance(action, target.Expect):
                channels[action.channel].reads = action.reads
            elif isinstance(action, target.Read):
                channels[action.channel].reads = True
            elif isinstance(action, target.Start):
                self._begin(channels[action.channel])
            else:
                channels[action.channel].reads = action.reads
                self._live(channels[action.channel])

    def deadlines(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """When its machines want to be called, and the calls."""
        if self.dead:
            return
        if self.source.deadline is not None:
            yield self.source.deadline, lambda: self._departing(self.source.handle_timer(self.play.now))
        for id, arrival in self.arrivals.items():
            if arrival.deadline is not None:
                yield arrival.deadline, lambda id=id, a=arrival: self._arriving(id, a.handle_timer(self.play.now))


class Viewer:
    """The client: a session without pictures."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.machine = ClientMigration(Endpoint(host=PLACES["A"], port=5900), Policy())
        self.using: dict[Channel, Wire] = {}
        self.parked: dict[Channel, Wire] = {}
        self.dialling: dict[Channel, Wire] = {}
        self.aside: list[Wire] = []
        self.reconnecting: Wire | None = None
        self.held_back = False
        self.ended: CarawayError | None = None

    @property
    def host(self) -> Host | None:
        """Where it is, with all the channels that it has."""
        if self.ended is not None or MAIN not in self.using:
            return None
        hosts = {wire.host for wire in self.using.values()}
        return hosts.pop() if len(hosts) == 1 else None

    def wires(self) -> list[Wire]:
        """All that it has open."""
        held = [*self.using.values(), *self.parked.values(), *self.dialling.values(), *self.aside]
        return held + ([self.reconnecting] if self.reconnecting is not None else [])

    def hears(self, wire: Wire) -> bool:
        """Whether it takes what comes next on a connection."""
        if not wire.to_client or wire in self.aside:
            return False
        if wire not in self.parked.values() or wire.to_client[0] == BYE:
            return True
        return isinstance(wire.to_client[0], ANSWERS)

    def hear(self, wire: Wire) -> None:
        """Take it."""
        piece = wire.to_client.popleft()
        if wire is self.reconnecting:
            self._reconnected(wire, piece)
        elif piece in (WELCOME, REFUSED, BYE):
            self._standing(wire, piece)
        elif piece == ALIVE:
            self._on(client_hears.TargetAlive(wire.attempt))
        elif isinstance(piece, ANSWERS):
            if wire.attempt:
                self._on(client_hears.TargetReceived(wire.attempt, piece))
        elif isinstance(piece, Message):
            self._on(client_hears.Received(wire.channel, piece))

    def _standing(self, wire: Wire, piece: Piece) -> None:
        channel = wire.channel
        if piece == WELCOME:
            self.parked[channel] = self.dialling.pop(channel)
            self._on(client_hears.LinkUp(wire.attempt, channel, self.play.capabilities))
        elif self.using.get(channel) is wire:
            del self.using[channel]
            wire.leave()
            self._on(client_hears.ChannelLost(channel, LOST))
        else:
            links = self.dialling if self.dialling.get(channel) is wire else self.parked
            del links[channel]
            wire.leave()
            self._on(client_hears.LinkFailed(wire.attempt, channel, LOST))

    def _reconnected(self, wire: Wire, piece: Piece) -> None:
        attempt, self.reconnecting = wire.attempt, None
        if piece != WELCOME:
            wire.leave()
            self._on(client_hears.ReconnectFailed(attempt, LOST))
            return
        self.using = {MAIN: wire}
        wire.attempt = 0
        for channel in CHANNELS[1:]:
            self.using[channel] = other = self.play.dial(wire.host, channel, wire.viewer, 0)
            wire.host.hear(other)
            if not other.to_client or other.to_client.popleft() != WELCOME:
                del self.using[channel]
                other.leave()
                continue
            self._on(client_hears.ChannelOpened(channel))
        self._on(client_hears.Reconnected(attempt))

    def start(self, host: Host) -> None:
        """Begin a session."""
        wire = self.play.dial(host, MAIN, 0, 0)
        host.hear(wire)
        self.reconnecting = wire
        self.hear(wire)

    def deadline(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """When its machine wants to be called, and the call."""
        if self.ended is None and self.machine.deadline is not None:
            yield self.machine.deadline, lambda: self._do(self.machine.handle_timer(self.play.now))

    def _on(self, event: client_hears.Event) -> None:
        if self.ended is None:
            self._do(self.machine.handle(event, self.play.now))

    def _do(self, actions: Sequence[client_does.Action]) -> None:
        for action in actions:
            getattr(self, f"_{type(action).__name__}", self._nothing)(action)

    def _nothing(self, action: client_does.Action) -> None:
        assert isinstance(action, client_does.Tell | client_does.Commit)

    def _Link(self, action: client_does.Link) -> None:  # noqa: N802
        host = self.play.host_at(action.endpoint)
        wire = self.play.dial(
            host, action.channel, self.using[MAIN].viewer if MAIN in self.using else 1, action.attempt
        )
        self.dialling[action.channel] = wire

    def _Drop(self, action: client_does.Drop) -> None:  # noqa: N802
        for links in (self.dialling, self.parked):
            wire = links.pop(action.channel, None)
            if wire is not None:
                wire.leave()

    def _Reply(self, action: client_does.Reply) -> None:  # noqa: N802
        self.using[MAIN].say(action.message)

    def _Ask(self, action: client_does.Ask) -> None:  # noqa: N802
        self.parked[MAIN].say(action.message)

    def _HoldQueue(self, action: client_does.HoldQueue) -> None:  # noqa: N802
        if action.flush_mark:
            self.using[action.channel].say(MigrateFlushMark())

    def _Swap(self, action: client_does.Swap) -> None:  # noqa: N802
        old, new = self.using.pop(action.channel, None), self.parked.pop(action.channel)
        if old is not None:
            self.aside.append(old)
        if action.first is not None:
            new.say(action.first)
        self.using[action.channel] = new

    def _CloseSource(self, action: client_does.CloseSource) -> None:  # noqa: N802
        for channel in [channel for channel, wire in self.using.items() if wire.attempt != action.attempt]:
            self.using.pop(channel).leave()
        for wire in self.aside:
            wire.leave()
        self.aside.clear()

    def _CloseChannel(self, action: client_does.CloseChannel) -> None:  # noqa: N802
        wire = self.using.pop(action.channel, None)
        if wire is not None:
            wire.leave()

    def _HoldInput(self, action: client_does.HoldInput) -> None:  # noqa: N802
        self.held_back = True

    def _ReleaseInput(self, action: client_does.ReleaseInput) -> None:  # noqa: N802
        self.held_back = False

    def _Disconnect(self, action: client_does.Disconnect) -> None:  # noqa: N802
        for wire in self.wires():
            wire.leave()
        self.reconnecting = None
        for links in (self.using, self.parked, self.dialling):
            links.clear()
        self.aside.clear()

    def _Reconnect(self, action: client_does.Reconnect) -> None:  # noqa: N802
        self.reconnecting = self.play.dial(self.play.host_at(action.endpoint), MAIN, 0, action.attempt)

    def _EndSession(self, action: client_does.EndSession) -> None:  # noqa: N802
        self.ended = action.error
        self._Disconnect(client_does.Disconnect(action.attempt))


class Play:
    """Two hosts, a viewer, and what the hypervisors do: `steps` says what may come next, and each is a call.

    mode: of the migration. acts: what happens at the hosts, in this order; those of one tuple in any order.
    """

    def __init__(self, mode: str, acts: Sequence[tuple[str, ...]]) -> None:
        self.mode, self.capabilities = mode, CAPABILITIES[mode]
        self.now = 0.0
        self.wires: list[Wire] = []
        self.sent: set[type] = set()
        """Of all that went over connections."""
        self.troubled = False
        """The network has cut a connection, or been so slow that a deadline passed meanwhile."""
        self._viewers = 0
        self.hosts = {"A": Host(self, present=True), "B": Host(self, present=False)}
        self.given: deque[tuple[int, target.HandedOver | target.Flushed]] = deque()
        """What the source gives to the target, which is on its way."""
        self.notifier = MigrationNotifier()
        self.viewer = Viewer(self)
        self.viewer.start(self.hosts["A"])
        self._acts = [list(act) for act in acts]

    @property
    def guest(self) -> Host | None:
        """Where the guest runs."""
        return next((host for host in self.hosts.values() if host.running), None)

    def new_viewer(self) -> int:
        self._viewers += 1
        return self._viewers

    def host_at(self, endpoint: Endpoint) -> Host:
        return next(self.hosts[name] for name, place in PLACES.items() if place == endpoint.host)

    def dial(self, host: Host, channel: Channel, viewer: int, attempt: int) -> Wire:
        wire = Wire(host, channel, viewer, attempt)
        wire.say(HELLO)
        self.wires.append(wire)
        return wire

    def steps(self) -> list[Callable[[], None]]:
        """What may come next; the first is what an untroubled network would do."""
        self.wires = [wire for wire in self.wires if wire.client or wire.server or wire.to_server]
        found: list[Callable[[], None]] = []
        for wire in self.wires:
            if wire.host.hears(wire):
                found.append(lambda wire=wire: wire.host.hear(wire))
            if wire.client and self.viewer.hears(wire):
                found.append(lambda wire=wire: self.viewer.hear(wire))
        if self.given:
            found.append(lambda: self.hosts["B"].take_over(*self.given.popleft()))
        if self._acts:
            found += [lambda act=act: self._act(act) for act in self._acts[0]]
        deadlines = [*self.viewer.deadline(), *(each for host in self.hosts.values() for each in host.deadlines())]
        if deadlines:
            found.append(lambda: self._let_pass(deadlines))
        return found

    def cuts(self) -> list[Callable[[], None]]:
        """Connections that the network may cut."""
        return [lambda wire=wire: self._cut(wire) for wire in self.wires if wire.client and wire.server]

    def _cut(self, wire: Wire) -> None:
        self.troubled = True
        wire.cut()

    def _let_pass(self, deadlines: list[tuple[float, Callable[[], None]]]) -> None:
        at, call = min(deadlines, key=lambda each: each[0])
        self.now = max(self.now, at)
        under_way = self.given or any(wire.to_server or wire.to_client for wire in self.wires)
        self.troubled = self.troubled or bool(under_way)
        call()

    def _act(self, act: str) -> None:
        self._acts[0].remove(act)
        if not self._acts[0]:
            del self._acts[0]
        here, there = self.hosts["A"], self.hosts["B"]
        if act == "announce":
            here.announce(Destination(PLACES["B"], 5900))
            self._occurs(Occurrence.TARGET_KNOWN)
        elif act == "load":
            there.load()
        elif act == "run":
            there.run()
        elif act == "die":
            there.die()
        else:
            occurrence = Occurrence(act)
            if occurrence is Occurrence.STOP:
                here.running = False
            elif occurrence is Occurrence.RESUME:
                here.running = True
                here._depart(source.Resumed())
            self._occurs(occurrence)

    def _occurs(self, occurrence: Occurrence) -> None:
        for call in self.notifier.handle(occurrence):
            self.hosts["A"].take(call)
