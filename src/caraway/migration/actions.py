"""What a session has to do: the output of `ClientMigration`.

The actions of one list belong together: they are executed in order and at once, no message is processed in between,
and what comes of them is told by later events. A channel uses one connection; a link to the target is parked until its
`Swap`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError
from caraway.migration.channels import Channel
from caraway.migration.reports import Report
from caraway.wire.messages.base import Message


@dataclass(slots=True)
class Link:
    """Link a channel at the target, with the session's connection id, and park it: `LinkUp` or `LinkFailed` follows."""

    attempt: int
    channel: Channel
    endpoint: Endpoint = field(repr=False)
    fresh: bool = False
    """Ask for the credentials again: those of the links before were refused, or are old."""


@dataclass(slots=True)
class Drop:
    """Close a channel's link to the target, or give up making it. No event follows."""

    attempt: int
    channel: Channel


@dataclass(slots=True)
class Reply:
    """Send on main, in order."""

    attempt: int
    message: Message


@dataclass(slots=True)
class Ask:
    """Send on the target's parked main link."""

    attempt: int
    message: Message


@dataclass(slots=True)
class HoldQueue:
    """From now on nothing goes to the source on this channel: what is sent stays queued for the target."""

    attempt: int
    channel: Channel
    flush_mark: bool
    """Send MIGRATE_FLUSH_MARK first, ahead of the queue, but not inside a message that is partly written."""


@dataclass(slots=True)
class Swap:
    """Make the parked link of this attempt the connection that the channel uses.

    The former one is put aside: neither read nor written, and open until `CloseSource`. What the target has sent since
    is processed next.
    """

    attempt: int
    channel: Channel
    first: Message | None
    """Goes to the target before anything else."""
    keep: bool
    """True: queue, serials and state go on. False: the channel starts anew, state, queue and serials renewed, and after
    `first` sends what belongs to a start."""


@dataclass(slots=True)
class CloseSource:
    """Close every connection to the source, those put aside and those still in use, once what was written has left.

    A channel that has not been swapped is without a connection until its `Swap`. No event follows.
    """

    attempt: int


@dataclass(slots=True)
class CloseChannel:
    """The channel is over: close its connection and end it. No event follows."""

    attempt: int
    channel: Channel
    error: CarawayError
    """What ends it."""


@dataclass(slots=True)
class HoldInput:
    """Keep keys and buttons back: neither host has a running VM."""

    attempt: int


@dataclass(slots=True)
class ReleaseInput:
    """Send what was kept back, and release at the target the keys that the person has let go."""

    attempt: int


@dataclass(slots=True)
class Disconnect:
    """Close every connection to either host, give up links being made and any `Reconnect`. Channels and pictures stay.

    No event follows.
    """

    attempt: int


@dataclass(slots=True)
class Reconnect:
    """Begin a new session, connection id 0, under the living channels: `Reconnected` or `ReconnectFailed` follows.

    Credentials are asked for afresh. Channels start anew; one that the host has not is closed.
    """

    attempt: int
    endpoint: Endpoint = field(repr=False)


@dataclass(slots=True)
class Commit:
    """The session has moved: this is where it is connected to, for everything that is linked from now on."""

    attempt: int
    endpoint: Endpoint = field(repr=False)


@dataclass(slots=True)
class EndSession:
    """The session is over: close every connection to either host. Pictures stay."""

    attempt: int
    error: CarawayError
    """What ends it."""


@dataclass(slots=True)
class Tell:
    """Tell the application (`session.migrations()`)."""

    attempt: int
    report: Report


Action: TypeAlias = (
    Link
    | Drop
    | Reply
    | Ask
    | HoldQueue
    | Swap
    | CloseSource
    | CloseChannel
    | HoldInput
    | ReleaseInput
    | Disconnect
    | Reconnect
    | Commit
    | EndSession
    | Tell
)
