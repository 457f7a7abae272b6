"""What happens to a session that may move: the input of `ClientMigration`.

Peers' messages come as they are, wrapped in `Received` or `TargetReceived`. What concerns a link to a target carries
the attempt number of the action that asked for it; an event of an attempt that is over changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from caraway.errors import CarawayError
from caraway.migration.channels import Channel
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.base import Message


@dataclass(slots=True)
class ChannelOpened:
    """A channel of the session has its connection: at the start of the session, after a `Reconnect`, or later."""

    channel: Channel


@dataclass(slots=True)
class ChannelLost:
    """The connection that a channel uses has ended, and not by an action."""

    channel: Channel
    error: CarawayError
    """Why."""


@dataclass(slots=True)
class Received:
    """A message about migration on the connection that a channel uses.

    MIGRATE, MIGRATE_DATA on any channel; MIGRATE_BEGIN, MIGRATE_BEGIN_SEAMLESS, MIGRATE_CANCEL, MIGRATE_END,
    MIGRATE_SWITCH_HOST on main.
    """

    channel: Channel
    message: Message


@dataclass(slots=True)
class TargetReceived:
    """MIGRATE_DST_SEAMLESS_ACK, MIGRATE_DST_SEAMLESS_NACK or INIT on the target's main connection, parked or in use."""

    attempt: int
    message: Message


@dataclass(slots=True)
class LinkUp:
    """A link to the target stands. It is parked until its `Swap`."""

    attempt: int
    channel: Channel
    capabilities: Capabilities
    """What the target announced for this channel."""


@dataclass(slots=True)
class LinkFailed:
    """A link to the target could not be made, or has ended while parked."""

    attempt: int
    channel: Channel
    error: CarawayError
    """Why. Its class decides what is tried next."""


@dataclass(slots=True)
class Reconnected:
    """A `Reconnect` is done: the session runs anew, and `ChannelOpened` has told of its channels."""

    attempt: int


@dataclass(slots=True)
class ReconnectFailed:
    """A `Reconnect` has failed; nothing of it is left."""

    attempt: int
    error: CarawayError
    """Why. Its class decides what is tried next."""


@dataclass(slots=True)
class TargetAlive:
    """The guest runs at the target: the first sign after the channels moved (spec/migration.md 15, D-05)."""

    attempt: int


@dataclass(slots=True)
class Closed:
    """The session is over, by its user or by an error that has nothing to do with migration."""


Event: TypeAlias = (
    ChannelOpened
    | ChannelLost
    | Received
    | TargetReceived
    | LinkUp
    | LinkFailed
    | Reconnected
    | ReconnectFailed
    | TargetAlive
    | Closed
)
