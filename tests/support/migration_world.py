"""A world for the migration machine: connections, a clock and peers that do anything, and what must always hold.

`Script` plays one story: events in, actions out. `World` executes the actions as a session would, knows every event
that could happen next, and checks after each one what spec/migration.md 9, 11.1 and 16.4 promise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from caraway.endpoint import Endpoint
from caraway.errors import AuthError, CarawayError, LinkError, TlsError
from caraway.migration import ClientMigration, Policy
from caraway.migration import reports as said
from caraway.migration.actions import (
    Action,
    Ask,
    CloseChannel,
    CloseSource,
    Commit,
    Disconnect,
    Drop,
    EndSession,
    HoldInput,
    HoldQueue,
    Link,
    Reconnect,
    ReleaseInput,
    Reply,
    Swap,
    Tell,
)
from caraway.migration.channels import MAIN, Channel
from caraway.migration.events import (
    ChannelLost,
    ChannelOpened,
    Event,
    LinkFailed,
    LinkUp,
    Received,
    Reconnected,
    ReconnectFailed,
    TargetAlive,
    TargetReceived,
)
from caraway.migration.states import State
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import ClientMigrateData, Migrate, MigrateData
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    Init,
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
    MigrateEnd,
    MigrateSwitchHost,
)

DISPLAY: Channel = (ChannelType.DISPLAY, 0)
INPUTS: Channel = (ChannelType.INPUTS, 0)
CURSOR: Channel = (ChannelType.CURSOR, 0)
PLAYBACK: Channel = (ChannelType.PLAYBACK, 0)

SOURCE = Endpoint(host="source", port=5900)
MODERN = Capabilities(MainCapability)
SEMI_ONLY = Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE])

BEGIN = MigrateBegin(5901, 0, "target", None)
BEGIN_SEAMLESS = MigrateBeginSeamless(5901, 0, "target", None, 1)
SWITCH_HOST = MigrateSwitchHost(5902, 0, "elsewhere", None)
CANCEL, END = MigrateCancel(), MigrateEnd()
ACK, NACK = MigrateDstSeamlessAck(), MigrateDstSeamlessNack()
INIT = Init(7, 1, 3, 1, False, 10, 0, 0)  # type: ignore[arg-type]

REFUSED = LinkError("connection refused")
DENIED = AuthError("the password is wrong, missing or expired")
UNTRUSTED = TlsError("the certificate is not the one that was asked for")


class Script:
    """One story. `actions` are those of the last event, without what the application is told; that is in `told`."""

    def __init__(self, *channels: Channel, policy: Policy | None = None, endpoint: Endpoint = SOURCE) -> None:
        self.machine = ClientMigration(endpoint, policy or Policy())
        self.now = 100.0
        self.actions: list[Action] = []
        self.told: list[said.Report] = []
        for channel in channels or (DISPLAY, INPUTS, CURSOR):
            self.on(ChannelOpened(channel))

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def attempt(self) -> int:
        return self.machine.attempt

    def on(self, event: Event) -> list[Action]:
        return self._did(self.machine.handle(event, self.now))

    def get(self, message: Message, channel: Channel = MAIN) -> list[Action]:
        """A message on the connection in use."""
        return self.on(Received(channel, message))

    def target_says(self, message: Message) -> list[Action]:
        return self.on(TargetReceived(self.attempt, message))

    def up(self, *channels: Channel, capabilities: Capabilities = MODERN) -> list[Action]:
        """Links come to stand; the actions of all of them."""
        done = [action for channel in channels for action in self.on(LinkUp(self.attempt, channel, capabilities))]
        self.actions = done
        return done

    def fail(self, channel: Channel, error: CarawayError = REFUSED) -> list[Action]:
        return self.on(LinkFailed(self.attempt, channel, error))

    def lose(self, channel: Channel, error: CarawayError = REFUSED) -> list[Action]:
        return self.on(ChannelLost(channel, error))

    def wait(self) -> float:
        """Let time pass until the machine wants it. Returns the seconds."""
        deadline = self.machine.deadline
        assert deadline is not None, f"{self.state}: nothing is waited for"
        seconds, self.now = deadline - self.now, deadline
        self._did(self.machine.handle_timer(self.now))
        return seconds

    def wait_until(self, state: State) -> float:
        """Let time pass until the machine is there. Returns the seconds."""
        since, done = self.now, []
        while self.state is not state:
            self.wait()
            done += self.actions
        self.actions = done
        return self.now - since

    def linked(self, mode: said.Mode = said.Mode.SEAMLESS) -> Script:
        """From an announcement to parked links."""
        seamless = mode is said.Mode.SEAMLESS
        self.get(BEGIN_SEAMLESS if seamless else BEGIN)
        self.up(MAIN)
        if seamless:
            self.target_says(ACK)
        self.up(*(channel for channel in self.machine.channels if channel != MAIN))
        assert self.state is (State.LINKED_SEAMLESS if seamless else State.LINKED_SEMI)
        return self

    def _did(self, actions: list[Action]) -> list[Action]:
        self.told += [action.report for action in actions if isinstance(action, Tell)]
        self.actions = [action for action in actions if not isinstance(action, Tell)]
        return self.actions


@dataclass(eq=False)
class Connection:
    """A socket of the world."""

    attempt: int
    """0: the source."""
    channel: Channel
    sent: list[Message] = field(default_factory=list)
    """Of what the machine sends."""
    held: bool = False
    """Nothing more goes there."""
    blob: bytes | None = None
    """What the peer handed over."""
    promised: bool = False
    """The peer has sent ACK."""


EXTRA = CURSOR
"""Comes and goes at the source."""


class World:
    """What a session would be like around the machine."""

    def __init__(self, *channels: Channel, policy: Policy | None = None) -> None:
        self.machine = ClientMigration(SOURCE, policy or Policy())
        self.now = 0.0
        self.using: dict[Channel, Connection] = {MAIN: Connection(0, MAIN)}
        self.without: set[Channel] = set()
        """Channels between CloseSource and their Swap."""
        self.parked: dict[Channel, Connection] = {}
        self.dialling: dict[Channel, int] = {}
        self.aside: list[Connection] = []
        self.reconnecting: int | None = None
        self.new: set[Channel] = set()
        self.holds_input = False
        self.ended = False
        self.replies: list[type[Message]] = []
        self.told: list[said.Report] = []
        self.blobs = 0
        self.loss: Channel | None = None
        for channel in channels:
            self.feed(ChannelOpened(channel))

    # what may happen

    def possible(self) -> Iterator[Event | None]:
        """Every event that this world allows now. None: time passes until the machine's deadline."""
        if self.ended:
            return
        if self.machine.deadline is not None:
            yield None
        yield from self._from_peers()
        yield from self._from_links()
        if self.reconnecting is not None:
            yield Reconnected(self.reconnecting)
            yield from (ReconnectFailed(self.reconnecting, error) for error in (REFUSED, UNTRUSTED))
        if self.holds_input:
            yield TargetAlive(self.machine.attempt)

    def _from_peers(self) -> Iterator[Event]:
        if MAIN in self.using:
            for message in (BEGIN, BEGIN_SEAMLESS, CANCEL, END, SWITCH_HOST):
                yield Received(MAIN, message)
            if EXTRA not in self.using and EXTRA not in self.without:
                yield ChannelOpened(EXTRA)
        for channel in self.using:
            for flags in (0, 3):
                yield Received(channel, Migrate(flags))  # type: ignore[arg-type]
            yield Received(channel, MigrateData(b"%d" % self.blobs))
            yield ChannelLost(channel, REFUSED)
        main = self.parked.get(MAIN) or self.using.get(MAIN)
        if main is not None and main.attempt == self.machine.attempt > 0:
            for answer in (ACK, NACK, INIT):
                yield TargetReceived(main.attempt, answer)

    def _from_links(self) -> Iterator[Event]:
        for channel, attempt in self.dialling.items():
            yield LinkUp(attempt, channel, MODERN)
            yield from (LinkFailed(attempt, channel, error) for error in (REFUSED, UNTRUSTED))
        for channel, connection in self.parked.items():
            yield LinkFailed(connection.attempt, channel, REFUSED)

    def stale(self) -> Iterator[Event]:
        """Events of attempts that are over: they must change nothing."""
        for attempt in range(1, self.machine.attempt):
            yield LinkUp(attempt, MAIN, MODERN)
            yield LinkFailed(attempt, DISPLAY, REFUSED)
            yield TargetReceived(attempt, ACK)
            yield TargetReceived(attempt, INIT)
            yield Reconnected(attempt)
            yield ReconnectFailed(attempt, REFUSED)
            yield TargetAlive(attempt)

    # letting it happen

    def feed(self, event: Event | None) -> None:
        """Let an event happen, or time pass, and do what the machine says."""
        before, attempt = self.machine.state, self.machine.attempt
        self.replies, self.loss = [], None
        if event is None:
            assert self.machine.deadline is not None
            self.now = max(self.now, self.machine.deadline)
            actions = self.machine.handle_timer(self.now)
        else:
            self._happens(event)
            actions = self.machine.handle(event, self.now)
        for action in actions:
            assert attempt <= action.attempt <= self.machine.attempt, "of an attempt that is over"
            attempt = action.attempt
            self.do(action)
        self._check(before)

    def _happens(self, event: Event) -> None:
        if isinstance(event, ChannelOpened):
            main = self.using[MAIN] if MAIN in self.using else Connection(0, MAIN)
            self.using[event.channel] = Connection(main.attempt, event.channel)
        elif isinstance(event, ChannelLost):
            del self.using[event.channel]
            self.loss = event.channel
        elif isinstance(event, Received) and isinstance(event.message, MigrateData):
            self.using[event.channel].blob = bytes(event.message.data)
            self.blobs += 1
            self.loss = event.channel
        elif isinstance(event, TargetReceived) and event.message is ACK:
            main = self.parked.get(MAIN) or self.using[MAIN]
            main.promised = True
        elif isinstance(event, LinkUp) and self.dialling.get(event.channel) == event.attempt:
            del self.dialling[event.channel]
            assert event.channel not in self.parked
            self.parked[event.channel] = Connection(event.attempt, event.channel)
        elif isinstance(event, LinkFailed):
            if self.dialling.get(event.channel) == event.attempt:
                del self.dialling[event.channel]
            else:
                del self.parked[event.channel]
        elif isinstance(event, Reconnected):
            self.reconnecting = None
        elif isinstance(event, ReconnectFailed):
            self.reconnecting = None
            self.using.clear()

    # what the session would do

    def do(self, action: Action) -> None:
        """Execute an action."""
        self._DO[type(action)](self, action)

    def _link(self, action: Link) -> None:
        assert action.attempt == self.machine.attempt
        assert action.channel in self.using, "a twin of a channel that does not live"
        assert action.channel not in self.dialling, "a second link to the target"
        assert action.channel not in self.parked, "a second link to the target"
        main = self.parked.get(MAIN) or self.using[MAIN]
        assert action.channel == MAIN or main.attempt == action.attempt, "main comes first"
        self.dialling[action.channel] = action.attempt

    def _drop(self, action: Drop) -> None:
        open_there = self.dialling.pop(action.channel, None), self.parked.pop(action.channel, None)
        assert open_there != (None, None), f"{action}: no such link"

    def _reply(self, action: Reply) -> None:
        main = self.using[MAIN]
        assert not main.held, "a message to the source after FLUSH_MARK"
        main.sent.append(action.message)
        self.replies.append(type(action.message))

    def _ask(self, action: Ask) -> None:
        assert isinstance(action.message, MigrateDstDoSeamless)
        assert self.parked[MAIN].sent == [], "asked twice"
        self.parked[MAIN].sent.append(action.message)

    def _hold_queue(self, action: HoldQueue) -> None:
        connection = self.using[action.channel]
        assert not connection.held
        assert self.parked[action.channel].attempt == action.attempt
        connection.held = True

    def _swap(self, action: Swap) -> None:
        old, new = self.using.pop(action.channel, None), self.parked.pop(action.channel)
        assert new.attempt == action.attempt
        if action.keep:
            assert old is not None
            assert action.first is None or isinstance(action.first, ClientMigrateData)
            if old.blob is not None:
                assert isinstance(action.first, ClientMigrateData)
                assert action.first.data == old.blob, "the blob was altered"
        elif action.channel == MAIN:
            assert isinstance(action.first, ClientMigrateEnd)
            assert not new.promised, "MIGRATE_END to a target that sent ACK"
        else:
            assert action.first is None
            assert action.channel in self.without
        if action.first is not None:
            asked = [message for message in new.sent if not isinstance(message, MigrateDstDoSeamless)]
            assert asked == [], "something went to the target before the blob"
            new.sent.append(action.first)
        if old is not None:
            self.aside.append(old)
        self.without.discard(action.channel)
        self.using[action.channel] = new

    def _close_source(self, action: CloseSource) -> None:
        assert not any(c.held and c.attempt != action.attempt for c in self.using.values()), "a blob is still to come"
        self.aside.clear()
        for channel in [channel for channel, c in self.using.items() if c.attempt != action.attempt]:
            del self.using[channel]
            self.without.add(channel)

    def _close_channel(self, action: CloseChannel) -> None:
        core = action.channel[0] in (ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS)
        assert not core or self.loss == action.channel, "a picture thrown away"
        self.using.pop(action.channel, None)
        self.without.discard(action.channel)

    def _hold_input(self, action: HoldInput) -> None:
        assert not self.holds_input
        self.holds_input = True

    def _release_input(self, action: ReleaseInput) -> None:
        assert self.holds_input
        inputs = self.using.get(INPUTS)
        if inputs is not None:
            assert not inputs.held, "input for a source that has been flushed"
            assert inputs.attempt == self.machine.attempt or self.machine.state in (State.IDLE, State.LINKING)
        self.holds_input = False

    def _disconnect(self, action: Disconnect) -> None:
        self.using.clear()
        self.without.clear()
        self.parked.clear()
        self.dialling.clear()
        self.aside.clear()
        self.reconnecting = None

    def _reconnect(self, action: Reconnect) -> None:
        assert action.attempt == self.machine.attempt
        assert self.only_in_use
        assert not self.using
        self.reconnecting = action.attempt
        self.using = {channel: Connection(action.attempt, channel) for channel in (MAIN, DISPLAY)}
        for channel in (MAIN, DISPLAY):
            self.machine.handle(ChannelOpened(channel), self.now)

    def _commit(self, action: Commit) -> None:
        assert {c.attempt for c in self.using.values()} == {action.attempt}, "not all have moved"
        assert self.only_in_use

    def _end_session(self, action: EndSession) -> None:
        self.ended = True

    def _tell(self, action: Tell) -> None:
        self.told.append(action.report)

    _DO: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        Link: _link,
        Drop: _drop,
        Reply: _reply,
        Ask: _ask,
        HoldQueue: _hold_queue,
        Swap: _swap,
        CloseSource: _close_source,
        CloseChannel: _close_channel,
        HoldInput: _hold_input,
        ReleaseInput: _release_input,
        Disconnect: _disconnect,
        Reconnect: _reconnect,
        Commit: _commit,
        EndSession: _end_session,
        Tell: _tell,
    }

    # what must hold

    @property
    def only_in_use(self) -> bool:
        """Whether every connection is one that a channel uses."""
        others = (self.parked, self.dialling, self.aside, self.without)
        return not any(others) and self.reconnecting is None

    def _check(self, before: State) -> None:
        state, deadline = self.machine.state, self.machine.deadline
        assert self.ended or state is not State.CLOSED
        if self.ended:
            return
        if state in (State.LINKING, State.SWITCHING_SEMI, State.SWITCHING_SEAMLESS, State.RECONNECTING):
            assert deadline is not None, f"{state} may last for ever"
        if state in (State.LINKED_SEMI, State.LINKED_SEAMLESS):
            assert MAIN in self.using, "nobody is left to end the wait"
        if state is State.IDLE:
            assert self.only_in_use
            assert MAIN in self.using
        if self.holds_input:
            assert deadline is not None, "input held for ever"
        assert state is State.SWITCHING_SEMI or not self.without
        assert deadline is None or deadline > self.now, "a deadline that passes again and again"
        assert set(self.machine.channels) >= set(self.using) | self.without
        self._check_replies(before)

    def _check_replies(self, before: State) -> None:
        expected = {
            State.LINKED_SEMI: [MigrateConnected],
            State.LINKED_SEAMLESS: [MigrateConnectedSeamless],
        }.get(self.machine.state if before is State.LINKING else before, [])
        if before in (State.LINKED_SEMI, State.LINKED_SEAMLESS):
            expected = []
        if MigrateConnectError in self.replies:
            assert self.machine.state is State.IDLE
            expected = [MigrateConnectError]
        assert self.replies == expected, "one reply to an announcement, and only there"

    def key(self) -> Hashable:
        """Equal for worlds that will go on in the same way."""
        machine, now, at = self.machine, self.now, self.machine.attempt

        def seen(connection: Connection) -> Hashable:
            return (
                connection.attempt and connection.attempt - at - 1,
                len(connection.sent),
                connection.held,
                connection.blob is not None,
                connection.promised,
            )

        return (
            machine.state,
            tuple(sorted((wait.name, round(due - now, 3)) for wait, due in machine.timers.items())),
            tuple(
                (c, h.stage, h.due and round(h.due - now, 3), type(h.error), h.relinks)
                for c, h in sorted(machine.channels.items())
            ),
            str(machine._destination),
            machine._held is None or str(machine._held),
            machine._fallback and (len(machine._fallback.hosts), machine._fallback._next, machine._fallback._failures),
            (machine._version, machine._agreed, machine._holds_input, machine._alive),
            tuple((c, seen(x)) for c, x in sorted(self.using.items())),
            tuple((c, seen(x)) for c, x in sorted(self.parked.items())),
            tuple(sorted((c, a - at) for c, a in self.dialling.items())),
            tuple(sorted(self.without)),
            len(self.aside),
            self.reconnecting is None,
            self.ended,
        )
