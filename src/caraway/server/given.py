"""What the source of a migration gives to the target of a viewer's channels (docs/protocol-extensions.md)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from caraway.migration.channels import Channel


class GivenKind(enum.Enum):
    """What it is."""

    STATE = "state"
    """The body of a MIGRATE_DATA. A later one replaces it."""
    MESSAGE = "message"
    """One that the client had sent to the source."""
    HELD = "held"
    """Keys and buttons that the client holds down. A later one replaces it."""
    END = "end"
    """The client has sent all that it sends there."""


@dataclass(frozen=True, slots=True)
class Given:
    """Something of one channel. They are to be taken in the order in which they are given."""

    viewer: int
    """Its session id."""
    channel: Channel
    kind: GivenKind
    data: bytes = b""
    type: int = 0
    """Number of a message."""
