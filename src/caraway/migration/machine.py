"""What the session's machines have in common: a table that runs, and timers that go with the states."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from caraway.migration.table import Table, choose

S = TypeVar("S", bound=enum.Enum)


class Always:
    """Trigger of the edges that are looked at after every event: what the state waits for may be complete."""


class Machine(Generic[S]):
    """A state, its table, its timers."""

    table: ClassVar[Table[Any, Hashable]]
    waits: ClassVar[Mapping[enum.Enum, frozenset[enum.Enum]]]
    """Timers that a state may have running; leaving it for one that has not the same stops them."""

    def __init__(self, initial: S) -> None:
        self.state = initial
        self.timers: dict[enum.Enum, float] = {}

    def take(self, trigger: Hashable, event: object) -> None:
        """Let the table react to an event, and then to what that completed."""
        self._follow(trigger, event)
        while self._follow(Always, event):
            pass

    def _follow(self, trigger: Hashable, event: object) -> bool:
        edge = choose(self.table.get((self.state, trigger), ()), self, event)
        if edge is None:
            return False
        self.state = edge.next
        for wait in self.timers.keys() - self.waits.get(self.state, frozenset()):
            del self.timers[wait]
        if edge.action is not None:
            edge.action(self, event)
        return True
