"""What an application learns of a migration: the items of `session.migrations()`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import TypeAlias

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError
from caraway.migration.channels import Channel
from caraway.wire.link import channel_name


class Mode(enum.Enum):
    """How a viewer follows its VM (spec/migration.md 1)."""

    SEAMLESS = "seamless"
    """Linked early; every channel goes on where it was."""
    SEMI_SEAMLESS = "semi-seamless"
    """Linked early; the session stays, channels start anew."""
    SWITCH_HOST = "switch-host"
    """A new session after the move."""

    def __str__(self) -> str:
        return self.value


class _Line:
    """Reports print as one line: `Linked: spice://host-b:5900, seamless`."""

    __slots__ = ()

    def __str__(self) -> str:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        said = [channel_name(*value) if isinstance(value, tuple) else str(value) for value in values]
        return ": ".join([type(self).__name__, *filter(None, [", ".join(said)])])


@dataclass(frozen=True, slots=True)
class Announced(_Line):
    """The VM is about to move; the target is being linked."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Linked(_Line):
    """The target is linked, and the source knows."""

    endpoint: Endpoint
    mode: Mode
    """How the session will move."""


@dataclass(frozen=True, slots=True)
class Switching(_Line):
    """The VM has stopped at the source, and the session moves now."""

    endpoint: Endpoint
    mode: Mode


@dataclass(frozen=True, slots=True)
class Switched(_Line):
    """The session has moved."""

    endpoint: Endpoint
    """Where it is now."""
    mode: Mode
    """How it came there."""


@dataclass(frozen=True, slots=True)
class Cancelled(_Line):
    """The migration was called off; the session stays where it is."""


@dataclass(frozen=True, slots=True)
class Failed(_Line):
    """The target could not be linked, or is not to be: the session stays where it is, as long as the VM does."""

    error: CarawayError


@dataclass(frozen=True, slots=True)
class Reconnecting(_Line):
    """The session could not follow at once; it connects anew while the last picture stays. Told for every try."""

    endpoint: Endpoint
    error: CarawayError
    """Why, or why the last try failed."""


@dataclass(frozen=True, slots=True)
class ChannelGone(_Line):
    """A channel did not come along."""

    channel: Channel
    error: CarawayError


Report: TypeAlias = Announced | Linked | Switching | Switched | Cancelled | Failed | Reconnecting | ChannelGone
