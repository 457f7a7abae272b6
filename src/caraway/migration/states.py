"""States, waits and triggers of a session that may move (spec/migration.md 9.2, 11.1)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from caraway.migration.channels import Channel
from caraway.migration.events import Event, Received, TargetReceived
from caraway.wire.messages.hand_over import MigrateBeginHandOver, MigrateDstHandOverAck
from caraway.wire.messages.main import MigrateBeginSeamless, MigrateDstSeamlessAck


class State(enum.Enum):
    """Where the session is (spec/migration.md 9.2)."""

    IDLE = enum.auto()
    LINKING = enum.auto()
    """An announcement came; the target's links are being made."""
    LINKED_SEMI = enum.auto()
    """MIGRATE_CONNECTED is sent, the links are parked."""
    LINKED_SEAMLESS = enum.auto()
    """MIGRATE_CONNECTED_SEAMLESS is sent, the links are parked."""
    SWITCHING_SEMI = enum.auto()
    """MIGRATE_END went to the target, whose INIT is due."""
    SWITCHING_SEAMLESS = enum.auto()
    """Channels move one by one."""
    RECONNECTING = enum.auto()
    """A new session is being made under the living channels."""
    CLOSED = enum.auto()


SWITCHING = frozenset({State.SWITCHING_SEMI, State.SWITCHING_SEAMLESS})


class Wait(enum.Enum):
    """What the session as a whole waits for."""

    HANDSHAKE = "the target's answer to DO_SEAMLESS"
    INIT = "INIT of the target"
    REST = "the remaining channels"
    TRY = "the new session"
    RETRY = "the time for the next try"
    GIVE_UP = "any host to connect to"
    INPUT = "a sign of life of the guest"


WAITS: dict[enum.Enum, frozenset[enum.Enum]] = {
    State.IDLE: frozenset({Wait.INPUT}),
    State.LINKING: frozenset({Wait.INPUT, Wait.HANDSHAKE}),
    State.LINKED_SEMI: frozenset({Wait.INPUT}),
    State.LINKED_SEAMLESS: frozenset({Wait.INPUT, Wait.HANDSHAKE}),
    State.SWITCHING_SEMI: frozenset({Wait.INIT}),
    State.SWITCHING_SEAMLESS: frozenset({Wait.INPUT, Wait.REST}),
    State.RECONNECTING: frozenset({Wait.TRY, Wait.RETRY, Wait.GIVE_UP}),
    State.CLOSED: frozenset(),
}


@dataclass(slots=True)
class Elapsed:
    """The session has waited long enough."""

    wait: Wait


@dataclass(slots=True)
class ChannelDue:
    """A channel's stage has lasted long enough."""

    channel: Channel


Happened: TypeAlias = Event | Elapsed | ChannelDue


_SEAMLESS: dict[type, type] = {
    MigrateBeginHandOver: MigrateBeginSeamless,
    MigrateDstHandOverAck: MigrateDstSeamlessAck,
}
"""Messages of the hand-over that lead where those of a seamless move lead."""


def trigger(event: Happened) -> type | Wait:
    """Under what the table knows an event: a message by its class, a deadline by what it was for."""
    if isinstance(event, Received | TargetReceived):
        kind = type(event.message)
        return _SEAMLESS.get(kind, kind)
    return event.wait if isinstance(event, Elapsed) else type(event)
