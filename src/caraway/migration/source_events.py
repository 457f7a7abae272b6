"""What happens to the source of a migration, what its embedder is told, and what a server has to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from caraway.errors import CarawayError
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.base import Message

# what happens


@dataclass(slots=True)
class Announce:
    """The embedder says where the guest is about to go."""

    number: int
    """Of the announcement: reports carry it."""
    destination: Destination
    seamless: bool = True
    """Whether channels may be handed over with their state."""
    token: bytes | None = None
    """What the target expects to be shown by viewers whose channels' state comes from server to server."""


@dataclass(slots=True)
class ViewerCame:
    """A viewer's main channel stands."""

    viewer: int
    """Its session id."""
    capabilities: Capabilities
    """That its client announced for main."""
    complete: bool = False
    """It has just arrived from another host, with all its channels. One that connects anew has them yet to link, and is
    not told of an announcement that was made before."""


@dataclass(slots=True)
class ViewerGone:
    """A viewer's main channel is over."""

    viewer: int


@dataclass(slots=True)
class Replied:
    """MIGRATE_CONNECTED, one of its kinds, or MIGRATE_CONNECT_ERROR came."""

    viewer: int
    message: Message


@dataclass(slots=True)
class Stopped:
    """The guest does not run here any more, to go to the target. It may go on here yet, and stop again."""


@dataclass(slots=True)
class Resumed:
    """It goes on here, and has not moved."""


@dataclass(slots=True)
class Moved:
    """The guest runs at the target: `migrate_end(True)`."""


@dataclass(slots=True)
class Stayed:
    """The migration has failed or was called off: `migrate_end(False)`."""


@dataclass(slots=True)
class Returned:
    """A guest that had left runs here again."""


Event: TypeAlias = Announce | ViewerCame | ViewerGone | Replied | Stopped | Resumed | Moved | Stayed | Returned


# what is to be told


class Outcome(enum.Enum):
    """What became of an announcement."""

    COMPLETED = "completed"
    """The guest has moved, and no viewer is left."""
    CANCELLED = "cancelled"
    """The guest has stayed."""
    REPLACED = "replaced"
    """Another announcement came."""


@dataclass(frozen=True, slots=True)
class ViewerLinked:
    """A viewer stands by at the target."""

    announcement: int
    viewer: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class ViewerFailed:
    """A viewer could not link the target, and will be told to connect there anew; or it had to be cut off."""

    announcement: int
    viewer: int
    error: CarawayError


@dataclass(frozen=True, slots=True)
class LinksDone:
    """Nobody is linking any more."""

    announcement: int


@dataclass(frozen=True, slots=True)
class ViewerLeft:
    """A viewer that was sent on has left."""

    announcement: int
    viewer: int


@dataclass(frozen=True, slots=True)
class Over:
    """The announcement is over."""

    announcement: int
    outcome: Outcome


Report: TypeAlias = ViewerLinked | ViewerFailed | LinksDone | ViewerLeft | Over


# what is to be done


@dataclass(slots=True)
class Send:
    """Send on a viewer's main channel."""

    viewer: int
    message: Message


@dataclass(slots=True)
class MoveChannels:
    """Send MIGRATE on each of a viewer's channels, and its state to the client once that is asked for."""

    viewer: int


@dataclass(slots=True)
class HandOver:
    """Give the state of a viewer's channels to the target, and let wait what its client says."""

    viewer: int


@dataclass(slots=True)
class TakeBack:
    """The state that was given is worth nothing: go on with a viewer's channels here."""

    viewer: int


@dataclass(slots=True)
class LetGo:
    """Send MIGRATE on each of a viewer's channels, and give the target what the client said and says."""

    viewer: int


@dataclass(slots=True)
class Cut:
    """Close everything of a viewer. `ViewerGone` may follow."""

    viewer: int
    error: CarawayError


@dataclass(slots=True)
class Tell:
    """Tell the embedder."""

    report: Report


Action: TypeAlias = Send | MoveChannels | HandOver | TakeBack | LetGo | Cut | Tell
