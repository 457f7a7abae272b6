"""When a server learns of its VM's migration: from QMP events to start, switch and end (spec/migration.md 6).

QEMU's own notifier is called inside the process; this one has what QMP tells. It is silent about a migration whose
target no viewer was told of, and about what QEMU does after the end was given.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from caraway.migration.machine import Machine
from caraway.migration.table import Edge


class Occurrence(enum.Enum):
    """What can happen to a migrating VM. The values are statuses of MIGRATION, or names of other events."""

    TARGET_KNOWN = "client_migrate_info"
    """Not an event: the command was given."""
    SETUP = "setup"
    ACTIVE = "active"
    PRE_SWITCHOVER = "pre-switchover"
    """The VM is stopped and waits for `migrate-continue`."""
    DEVICE = "device"
    """The state of the devices is being sent."""
    POSTCOPY_ACTIVE = "postcopy-active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOP = "STOP"
    RESUME = "RESUME"

    @classmethod
    def of(cls, event: str, data: Mapping[str, object]) -> Occurrence | None:
        """What a QMP event means; None: nothing to a migration."""
        value = data.get("status") if event == "MIGRATION" else event
        return next((occurrence for occurrence in cls if occurrence.value == value), None)


@dataclass(frozen=True, slots=True)
class Start:
    """The migration has begun (`server.migrate_start()`)."""


@dataclass(frozen=True, slots=True)
class Switch:
    """The VM has stopped at the source: nothing more will be drawn there. Given again if it ran on meanwhile."""


@dataclass(frozen=True, slots=True)
class End:
    """The migration is over (`server.migrate_end(completed)`)."""

    completed: bool
    """True: the VM is at the target. False: it runs on at the source."""


Call: TypeAlias = Start | Switch | End


class Phase(enum.Enum):
    """How far a migration is."""

    IDLE = enum.auto()
    TARGET_KNOWN = enum.auto()
    UNANNOUNCED = enum.auto()
    """The VM moves, and no viewer knows where."""
    MIGRATING = enum.auto()
    POSTCOPY = enum.auto()
    """Postcopy begins; once the VM stops its devices go."""
    STOPPED = enum.auto()
    """The VM is stopped for the move."""


class MigrationNotifier(Machine[Phase]):
    """Turns what QMP tells of the source's QEMU into the calls that a server wants."""

    waits = {}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        super().__init__(Phase.IDLE)
        self._calls: list[Call] = []

    def handle(self, occurrence: Occurrence) -> list[Call]:
        """Take what happened. Returns the calls to make now, in order."""
        self._calls = []
        self.take(occurrence, occurrence)
        return self._calls

    def _start(self, occurrence: Occurrence) -> None:
        self._calls.append(Start())

    def _switch(self, occurrence: Occurrence) -> None:
        self._calls.append(Switch())

    def _complete(self, occurrence: Occurrence) -> None:
        self._calls.append(End(completed=True))

    def _switch_and_complete(self, occurrence: Occurrence) -> None:
        """The VM was paused all the time, or it stops at the moment that postcopy hands over."""
        self._calls += [Switch(), End(completed=True)]

    def _stay(self, occurrence: Occurrence) -> None:
        self._calls.append(End(completed=False))


_N, _O = MigrationNotifier, Occurrence
_ANNOUNCED = (Phase.TARGET_KNOWN, Phase.MIGRATING, Phase.POSTCOPY, Phase.STOPPED)

TABLE: dict[tuple[Phase, Hashable], list[Edge[Phase]]] = {
    (Phase.IDLE, _O.TARGET_KNOWN): [Edge(None, Phase.TARGET_KNOWN)],
    (Phase.IDLE, _O.SETUP): [Edge(None, Phase.UNANNOUNCED)],
    (Phase.UNANNOUNCED, _O.TARGET_KNOWN): [Edge(_N._start, Phase.MIGRATING)],
    **{(Phase.UNANNOUNCED, over): [Edge(None, Phase.IDLE)] for over in (_O.COMPLETED, _O.FAILED, _O.CANCELLED)},
    (Phase.TARGET_KNOWN, _O.SETUP): [Edge(_N._start, Phase.MIGRATING)],
    (Phase.TARGET_KNOWN, _O.ACTIVE): [Edge(_N._start, Phase.MIGRATING)],
    (Phase.MIGRATING, _O.STOP): [Edge(_N._switch, Phase.STOPPED)],
    (Phase.MIGRATING, _O.DEVICE): [Edge(_N._switch, Phase.STOPPED)],
    (Phase.MIGRATING, _O.POSTCOPY_ACTIVE): [Edge(None, Phase.POSTCOPY)],
    (Phase.MIGRATING, _O.COMPLETED): [Edge(_N._switch_and_complete, Phase.IDLE)],
    (Phase.STOPPED, _O.RESUME): [Edge(None, Phase.MIGRATING)],
    (Phase.STOPPED, _O.POSTCOPY_ACTIVE): [Edge(_N._complete, Phase.IDLE)],
    (Phase.STOPPED, _O.COMPLETED): [Edge(_N._complete, Phase.IDLE)],
    (Phase.POSTCOPY, _O.STOP): [Edge(_N._switch_and_complete, Phase.IDLE)],
    (Phase.POSTCOPY, _O.COMPLETED): [Edge(_N._switch_and_complete, Phase.IDLE)],
    **{(phase, over): [Edge(_N._stay, Phase.IDLE)] for phase in _ANNOUNCED for over in (_O.FAILED, _O.CANCELLED)},
}
"""What is not here changes nothing."""

MigrationNotifier.table = TABLE
