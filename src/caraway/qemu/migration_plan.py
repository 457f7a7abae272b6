"""What a migration is asked to do, how far it is, and what became of it: values that the orchestrator works with."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from typing import Any

from caraway.errors import AuthError, DeadlineError, EndpointError, MigrationError
from caraway.migration.destination import Destination

MAX_TICKET = 59
"""Bytes of a ticket that QEMU keeps; what comes after them it drops without a word, and the viewer is refused."""

LINK_DEADLINE = 9.0
"""Seconds for viewers to link. The server drops an answer that comes 10 s after the announcement."""

FENCE_DEADLINE = 0.5
"""Seconds that a stopped VM waits for links that broke, before it goes on at the source."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A password for the target, good for `lifetime` seconds from when it is set."""

    password: str = field(repr=False)
    lifetime: int = 60

    def __post_init__(self) -> None:
        size = len(self.password.encode("utf-8", "surrogateescape"))
        if not 0 < size <= MAX_TICKET or "\0" in self.password:
            raise AuthError(f"a ticket of {size} bytes: QEMU keeps 1 to {MAX_TICKET} bytes without NUL")
        if self.lifetime <= 0:
            raise EndpointError(f"a ticket's lifetime of {self.lifetime} s: it must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a migration is to do."""

    uri: str
    """Where the target takes the VM: `tcp:HOST:PORT`, port 0 for one of its choice, or `unix:PATH`."""
    destination: Destination
    ticket: Ticket | None = None
    """Set on the target before the viewers are told."""
    reconnect: bool = False
    """Move also if a viewer has not linked within `link_deadline`; it will be told to connect anew."""
    link_deadline: float = LINK_DEADLINE
    """Seconds."""
    fence_deadline: float = FENCE_DEADLINE
    """Seconds."""


class Phase(enum.StrEnum):
    """How far a migration is."""

    CHECKING = "checking"
    LINKING = "linking"
    """Announced; the viewers link to the target, the VM runs."""
    MIGRATING = "migrating"
    """Memory is copied, the VM runs."""
    FENCE = "fence"
    """The VM stands still and can still go on at the source; links are looked at once more."""
    SWITCHING = "switching"
    """The devices' state is on its way."""
    LEAVING = "leaving"
    """The target has the VM; viewers leave the source."""
    DONE = "done"
    ABANDONING = "abandoning"
    """Something failed; the source is being put right."""


@dataclass(slots=True)
class Progress:
    """A look at a migration under way. Sizes in bytes; None is not known."""

    phase: Phase = Phase.CHECKING
    linked: int = 0
    """Channels of viewers that the target lists, out of `to_link`."""
    to_link: int = 0
    transferred: int = 0
    total: int | None = None
    """Memory of the VM."""
    remaining: int | None = None
    dirty_rate: int | None = None
    """Bytes a second that the VM writes anew."""
    expected_downtime: float | None = None
    """Seconds."""


class Mode(enum.StrEnum):
    """How a viewer followed, as far as QMP shows it."""

    LINKED_EARLY = "linked early"
    """It kept its connection id: seamless or semi-seamless, which look the same from outside."""
    SWITCH_HOST = "switch-host"
    """It was told to connect anew."""
    LOST = "lost"
    """It has not come."""


@dataclass(slots=True)
class ViewerReport:
    """What became of one viewer."""

    connection_id: int
    mode: Mode
    kept: list[str]
    """Channels with the old connection id that the target lists after the switch, such as `display 0`."""
    missing: list[str]
    """Channels of the source that it does not list."""


@dataclass(slots=True)
class MigrationReport:
    """What a migration did. Times in seconds on the orchestrator's clock; None where it did not happen."""

    viewers: list[ViewerReport] = field(default_factory=list)
    link_time: float | None = None
    """Announcement to the last link that the target lists."""
    fence_time: float | None = None
    """What the look at the links took while the VM stood still."""
    downtime: float | None = None
    """STOP of the source to RESUME of the target; None for a VM that was paused anyway."""
    leave_time: float | None = None
    """End of the migration to the source's word that all viewers have left it."""
    total_time: float = 0.0
    transferred: int = 0
    """Bytes."""
    warnings: list[str] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """The modes of all viewers."""
        return ", ".join(sorted({viewer.mode for viewer in self.viewers})) or "no viewer"

    def as_json(self) -> dict[str, Any]:
        """The report as JSON's types."""
        return {"mode": self.mode, **dataclasses.asdict(self)}


class MigrationDeadlineError(MigrationError, DeadlineError):
    """Viewers had not linked to the target in time; the VM has stayed on the source."""

    exit_code = 8
