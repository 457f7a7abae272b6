"""The target: a viewer that comes before its guest, and where its channels go on (spec/migration.md 8).

One machine for each viewer that arrives. Nothing is sent to it before the guest is loaded: then its channels begin
anew, or each goes on with the state that the source had, whichever was agreed.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Hashable
from dataclasses import dataclass
from typing import TypeAlias, cast

from caraway.errors import CarawayError, DeadlineError, LinkError, ProtocolError
from caraway.migration.channels import MAIN, Channel
from caraway.migration.machine import Always, Machine
from caraway.migration.source import PROTOCOL_VERSION
from caraway.migration.table import Edge
from caraway.wire.constants import ChannelType
from caraway.wire.fields import Buffer
from caraway.wire.link import channel_name
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import ClientMigrateData
from caraway.wire.messages.hand_over import MigrateDstDoHandOver, MigrateDstHandOverAck
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
)
from caraway.wire.messages.migrate_data import MigrateDataBlob, unpack_migrate_data

ARRIVAL_DEADLINE = 30.0
"""Seconds that a viewer has to arrive, once its guest runs here."""

STATELESS = frozenset({ChannelType.CURSOR, ChannelType.PLAYBACK, ChannelType.RECORD})
"""Channels that have no state to be handed over (spec/migration.md 10.4)."""


# what happens


@dataclass(slots=True)
class Linked:
    """A channel of the viewer but main has linked."""

    channel: Channel


@dataclass(slots=True)
class Lost:
    """A channel's connection is over."""

    channel: Channel


@dataclass(slots=True)
class Received:
    """MIGRATE_DST_DO_SEAMLESS, its like, or MIGRATE_END came on main, or MIGRATE_DATA on any channel."""

    channel: Channel
    message: Message


@dataclass(slots=True)
class HandedOver:
    """The source has given a channel's state: the body of a MIGRATE_DATA."""

    channel: Channel
    data: Buffer


@dataclass(slots=True)
class Flushed:
    """The source has given all that the client said on a channel: what it says here comes after that."""

    channel: Channel


@dataclass(slots=True)
class Loaded:
    """The guest's memory and devices are here."""


@dataclass(slots=True)
class Started:
    """The guest runs here."""


Event: TypeAlias = Linked | Lost | Received | HandedOver | Flushed | Loaded | Started


# what is to be done


@dataclass(slots=True)
class Answer:
    """Send on main."""

    message: Message


@dataclass(slots=True)
class Expect:
    """A channel will go on with its state."""

    channel: Channel
    reads: bool
    """Take what comes on it: its state is the first. Otherwise let it wait until `Read`."""


@dataclass(slots=True)
class Read:
    """Take what comes on a channel, which has waited so far."""

    channel: Channel


@dataclass(slots=True)
class Start:
    """A channel begins anew."""

    channel: Channel


@dataclass(slots=True)
class Restore:
    """A channel goes on as it was at the source."""

    channel: Channel
    state: MigrateDataBlob | None
    """None where the channel has none."""
    reads: bool
    """Take what comes on it."""


@dataclass(slots=True)
class Settle:
    """The viewer has arrived: it is one like any other from now on."""

    seamless: bool


@dataclass(slots=True)
class End:
    """Close a channel. `Lost` may follow."""

    channel: Channel
    error: CarawayError


@dataclass(slots=True)
class Drop:
    """Close everything of the viewer, which will not arrive."""

    error: CarawayError


Action: TypeAlias = Answer | Expect | Read | Start | Restore | Settle | End | Drop


class State(enum.Enum):
    """How far an arrival is."""

    ARRIVING = enum.auto()
    """The viewer links, and waits."""
    AGREED = enum.auto()
    """The channels' state is to come."""
    EXPECTED = enum.auto()
    """It is to come from the source itself."""
    ENDED = enum.auto()
    """The viewer has left the source, and its channels begin anew."""
    SETTLED = enum.auto()
    DROPPED = enum.auto()


class Wait(enum.Enum):
    """What there is a deadline for."""

    ARRIVAL = "the viewer to arrive"


WAITS: dict[enum.Enum, frozenset[enum.Enum]] = {
    State.ARRIVING: frozenset({Wait.ARRIVAL}),
    State.AGREED: frozenset({Wait.ARRIVAL}),
    State.EXPECTED: frozenset({Wait.ARRIVAL}),
    State.ENDED: frozenset({Wait.ARRIVAL}),
}


class Progress(enum.Enum):
    """Where a channel is."""

    WAITING = enum.auto()
    """It is parked, or its state is to come."""
    RECEIVED = enum.auto()
    """Its state has come, and the guest has not."""
    RESTORED = enum.auto()


class TargetArrival(Machine[State]):
    """Lets a viewer arrive.

    loaded: whether the guest is here already. seamless: whether channels may go on with their state.
    tokens: those that viewers may show whose state comes from the source itself.
    deadline_after_start: seconds.
    """

    waits = WAITS

    def __init__(
        self,
        *,
        loaded: bool = False,
        seamless: bool = True,
        tokens: Container[bytes] = (),
        deadline_after_start: float = ARRIVAL_DEADLINE,
    ) -> None:
        super().__init__(State.ARRIVING)
        self._loaded, self._seamless, self._deadline_after_start = loaded, seamless, deadline_after_start
        self._tokens = tokens
        self._asked = False
        self._unflushed: set[Channel] = set()
        self._channels: dict[Channel, Progress] = {MAIN: Progress.WAITING}
        self._states: dict[Channel, MigrateDataBlob | None] = {}
        self._now = 0.0
        self._actions: list[Action] = []

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, on the clock of `handle`."""
        return min(self.timers.values(), default=None)

    @property
    def over(self) -> bool:
        """Whether the viewer has arrived, or will not."""
        return self.state in (State.SETTLED, State.DROPPED)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event. now: seconds, on any clock that only goes forward. Never raises for what a peer sent."""
        self._now, self._actions = now, []
        if isinstance(event, Received) and self._out_of_place(event):
            name, what = channel_name(*event.channel), event.message.wire_name()
            self._end(event.channel, ProtocolError(f"{name}: {what} out of place"))
        else:
            trigger: type = type(event.message) if isinstance(event, Received) else type(event)
            self.take(trigger, event)
        return self._actions

    def handle_timer(self, now: float) -> list[Action]:
        """Take note of the time; of use once `deadline` is reached."""
        self._now, self._actions = now, []
        if self.timers.get(Wait.ARRIVAL, now + 1) <= now:
            del self.timers[Wait.ARRIVAL]
            self.take(Wait.ARRIVAL, Wait.ARRIVAL)
        return self._actions

    def _out_of_place(self, event: Received) -> bool:
        if isinstance(event.message, ClientMigrateData):
            waits = self._channels.get(event.channel) is Progress.WAITING
            return self.state is not State.AGREED or not waits or event.channel[0] in STATELESS
        if isinstance(event.message, MigrateDstDoSeamless | MigrateDstDoHandOver) and self._asked:
            return True
        return self.state is not State.ARRIVING

    # guards

    def _of_main(self, event: Lost) -> bool:
        return event.channel == MAIN

    def _can_agree(self, event: Received) -> bool:
        message = cast(MigrateDstDoSeamless | MigrateDstDoHandOver, event.message)
        return self._seamless and message.src_version <= PROTOCOL_VERSION

    def _expects(self, event: Received) -> bool:
        return self._can_agree(event) and bytes(cast(MigrateDstDoHandOver, event.message).token) in self._tokens

    def _is_loaded(self, event: object) -> bool:
        return self._loaded

    def _all_restored(self, event: object) -> bool:
        restored = all(progress is Progress.RESTORED for progress in self._channels.values())
        return restored and not self._unflushed

    # actions

    def _add(self, event: Linked) -> None:
        self._channels[event.channel] = Progress.WAITING

    def _add_and_read(self, event: Linked) -> None:
        self._add(event)
        self._ready(event.channel, reads=True)

    def _forget(self, event: Lost) -> None:
        self._channels.pop(event.channel, None)
        self._states.pop(event.channel, None)
        self._unflushed.discard(event.channel)

    def _agree(self, event: Received) -> None:
        self._asked = True
        self._act(Answer(MigrateDstSeamlessAck()))
        for channel in self._channels:
            self._ready(channel, reads=True)

    def _expect(self, event: Received) -> None:
        self._asked = True
        self._act(Answer(MigrateDstHandOverAck()))
        for channel in self._channels:
            self._await_state(channel)

    def _add_and_expect(self, event: Linked) -> None:
        self._add(event)
        self._await_state(event.channel)

    def _await_state(self, channel: Channel) -> None:
        self._unflushed.add(channel)
        self._ready(channel, reads=False)

    def _take_from_source(self, event: HandedOver) -> None:
        if self._channels.get(event.channel, Progress.RESTORED) is not Progress.RESTORED:
            self._take(event.channel, event.data)

    def _flush(self, event: Flushed) -> None:
        if event.channel in self._unflushed:
            self._unflushed.discard(event.channel)
            self._act(Read(event.channel))

    def _decline(self, event: Received) -> None:
        self._asked = True
        self._act(Answer(MigrateDstSeamlessNack()))

    def _ready(self, channel: Channel, *, reads: bool) -> None:
        self._act(Expect(channel, reads))
        if channel[0] in STATELESS:
            self._channels[channel] = Progress.RECEIVED
            self._states[channel] = None
            self._restore_what_can_be()

    def _take_state(self, event: Received) -> None:
        self._take(event.channel, cast(ClientMigrateData, event.message).data)

    def _take(self, channel: Channel, data: Buffer) -> None:
        try:
            self._states[channel] = unpack_migrate_data(channel[0], data)
        except ProtocolError as error:
            self._end(channel, error)
            return
        self._channels[channel] = Progress.RECEIVED
        self._restore_what_can_be()

    def _load(self, event: Loaded) -> None:
        self._loaded = True
        self._restore_what_can_be()

    def _restore_what_can_be(self) -> None:
        if self._loaded and self.state in (State.AGREED, State.EXPECTED):
            for channel, progress in self._channels.items():
                if progress is Progress.RECEIVED:
                    self._channels[channel] = Progress.RESTORED
                    self._act(Restore(channel, self._states.pop(channel), channel not in self._unflushed))

    def _begin_deadline(self, event: Started) -> None:
        self.timers[Wait.ARRIVAL] = self._now + self._deadline_after_start

    def _start_all(self, event: object) -> None:
        for channel in self._channels:
            self._act(Start(channel))
        self._act(Settle(seamless=False))

    def _settle(self, event: object) -> None:
        self._act(Settle(seamless=True))

    def _drop(self, event: object) -> None:
        self._act(Drop(LinkError("the viewer that was to arrive has gone")))

    def _drop_late(self, event: object) -> None:
        self._act(Drop(DeadlineError(f"not arrived within {self._deadline_after_start:g} s of its guest")))

    # helpers

    def _end(self, channel: Channel, error: CarawayError) -> None:
        self._act(End(channel, error))

    def _act(self, action: Action) -> None:
        self._actions.append(action)


_T = TargetArrival

TABLE: dict[tuple[State, Hashable], list[Edge[State]]] = {
    (State.ARRIVING, Linked): [Edge(_T._add, State.ARRIVING)],
    (State.ARRIVING, Lost): [
        Edge(_T._drop, State.DROPPED, when=_T._of_main),
        Edge(_T._forget, State.ARRIVING),
    ],
    (State.ARRIVING, MigrateDstDoSeamless): [
        Edge(_T._agree, State.AGREED, when=_T._can_agree),
        Edge(_T._decline, State.ARRIVING),
    ],
    (State.ARRIVING, MigrateDstDoHandOver): [
        Edge(_T._expect, State.EXPECTED, when=_T._expects),
        Edge(_T._agree, State.AGREED, when=_T._can_agree),
        Edge(_T._decline, State.ARRIVING),
    ],
    (State.ARRIVING, ClientMigrateEnd): [Edge(None, State.ENDED)],
    (State.ARRIVING, Loaded): [Edge(_T._load, State.ARRIVING)],
    (State.ARRIVING, Started): [Edge(_T._begin_deadline, State.ARRIVING)],
    (State.ARRIVING, Wait.ARRIVAL): [Edge(_T._drop_late, State.DROPPED)],
    # each channel goes on once its state and the guest are here
    (State.AGREED, Linked): [Edge(_T._add_and_read, State.AGREED)],
    (State.AGREED, Lost): [
        Edge(_T._drop, State.DROPPED, when=_T._of_main),
        Edge(_T._forget, State.AGREED),
    ],
    (State.AGREED, ClientMigrateData): [Edge(_T._take_state, State.AGREED)],
    (State.AGREED, Loaded): [Edge(_T._load, State.AGREED)],
    (State.AGREED, Started): [Edge(_T._begin_deadline, State.AGREED)],
    (State.AGREED, Wait.ARRIVAL): [Edge(_T._drop_late, State.DROPPED)],
    (State.AGREED, Always): [Edge(_T._settle, State.SETTLED, when=_T._all_restored)],
    # so, the state from the source, and the client's words after those that it said there
    (State.EXPECTED, Linked): [Edge(_T._add_and_expect, State.EXPECTED)],
    (State.EXPECTED, Lost): [
        Edge(_T._drop, State.DROPPED, when=_T._of_main),
        Edge(_T._forget, State.EXPECTED),
    ],
    (State.EXPECTED, HandedOver): [Edge(_T._take_from_source, State.EXPECTED)],
    (State.EXPECTED, Flushed): [Edge(_T._flush, State.EXPECTED)],
    (State.EXPECTED, Loaded): [Edge(_T._load, State.EXPECTED)],
    (State.EXPECTED, Started): [Edge(_T._begin_deadline, State.EXPECTED)],
    (State.EXPECTED, Wait.ARRIVAL): [Edge(_T._drop_late, State.DROPPED)],
    (State.EXPECTED, Always): [Edge(_T._settle, State.SETTLED, when=_T._all_restored)],
    # all channels begin once the guest is here
    (State.ENDED, Linked): [Edge(_T._add, State.ENDED)],
    (State.ENDED, Lost): [
        Edge(_T._drop, State.DROPPED, when=_T._of_main),
        Edge(_T._forget, State.ENDED),
    ],
    (State.ENDED, Loaded): [Edge(_T._load, State.ENDED)],
    (State.ENDED, Started): [Edge(_T._begin_deadline, State.ENDED)],
    (State.ENDED, Wait.ARRIVAL): [Edge(_T._drop_late, State.DROPPED)],
    (State.ENDED, Always): [Edge(_T._start_all, State.SETTLED, when=_T._is_loaded)],
}
"""What is not here changes nothing."""

TargetArrival.table = TABLE
