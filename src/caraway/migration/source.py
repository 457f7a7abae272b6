"""The source: who is told of a migration, what viewers answer, how each is sent on (spec/migration.md 4, 7).

One machine for a server with all its viewers. What a viewer has agreed to belongs to one announcement, and is forgotten
with it or with the viewer (spec/migration.md 15, D-04).
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import cast

from caraway.errors import CarawayError, DeadlineError, MigrationError, ProtocolError
from caraway.migration.destination import Destination
from caraway.migration.machine import Always, Machine
from caraway.migration.reports import Mode
from caraway.migration.source_events import (
    Action,
    Announce,
    Cut,
    Event,
    HandOver,
    LetGo,
    LinksDone,
    MoveChannels,
    Moved,
    Outcome,
    Over,
    Replied,
    Report,
    Resumed,
    Returned,
    Send,
    Stayed,
    Stopped,
    TakeBack,
    Tell,
    ViewerCame,
    ViewerFailed,
    ViewerGone,
    ViewerLeft,
    ViewerLinked,
)
from caraway.migration.table import Edge
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.messages.base import Message
from caraway.wire.messages.hand_over import MigrateBeginHandOver, MigrateConnectedHandOver
from caraway.wire.messages.main import (
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateEnd,
    MigrateSwitchHost,
)

PROTOCOL_VERSION = 1
"""Of the channels' state that source and target exchange (spec/migration.md 3.4)."""

LINK_DEADLINE = 10.0
"""Seconds that viewers have to link the target."""

LEAVE_DEADLINE = 10.0
"""Seconds that viewers have to leave, once the guest has."""


class State(enum.Enum):
    """How far a migration is."""

    IDLE = enum.auto()
    ASKING = enum.auto()
    """Some viewer was told, and has not answered yet."""
    ANNOUNCED = enum.auto()
    """Viewers have answered, or there was none to ask."""
    RECALLING = enum.auto()
    """The migration was called off, and some viewer that was told of it has not answered yet."""
    LEAVING = enum.auto()
    """The guest has moved, and its viewers go after it."""
    MOVED = enum.auto()
    """The guest is elsewhere. Whoever comes is sent there."""


class Wait(enum.Enum):
    """What there is a deadline for."""

    LINKS = "the viewers' links to the target"
    LEAVE = "the viewers to leave"


WAITS: dict[enum.Enum, frozenset[enum.Enum]] = {
    State.ASKING: frozenset({Wait.LINKS}),
    State.RECALLING: frozenset({Wait.LINKS}),
    State.LEAVING: frozenset({Wait.LEAVE}),
    State.MOVED: frozenset({Wait.LEAVE}),
}


class Standing(enum.Enum):
    """How a viewer stands to the announcement of now."""

    UNTOLD = enum.auto()
    """It cannot link early, or came later."""
    ASKED = enum.auto()
    LINKED = enum.auto()
    """It will go on at the target, its channels anew."""
    AGREED = enum.auto()
    """So, and its channels' state is handed over."""
    EXPECTED = enum.auto()
    """So, and the state goes from server to server."""
    HANDED = enum.auto()
    """It is at the target."""
    FAILED = enum.auto()
    """It has said no, or nothing in time."""
    SENT = enum.auto()
    """It was told to go."""


@dataclass(slots=True)
class _Viewer:
    capabilities: Capabilities
    standing: Standing = Standing.UNTOLD
    offered: bool = field(default=False)
    """It was asked for the hand-over of state too."""


class SourceMigration(Machine[State]):
    """Sends a guest's viewers after it.

    link_deadline, leave_deadline: seconds.
    """

    waits = WAITS

    def __init__(self, *, link_deadline: float = LINK_DEADLINE, leave_deadline: float = LEAVE_DEADLINE) -> None:
        super().__init__(State.IDLE)
        self._link_deadline, self._leave_deadline = link_deadline, leave_deadline
        self._viewers: dict[int, _Viewer] = {}
        self._stopped = False
        self._announcement: Announce | None = None
        self._held: Announce | None = None
        self._now = 0.0
        self._actions: list[Action] = []

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, on the clock of `handle`."""
        return min(self.timers.values(), default=None)

    @property
    def destination(self) -> Destination | None:
        """Where the guest goes, or has gone."""
        return self._announcement.destination if self._announcement is not None else None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event. now: seconds, on any clock that only goes forward. Never raises for what a peer sent."""
        self._now, self._actions = now, []
        trigger: type = type(event.message) if isinstance(event, Replied) else type(event)
        self.take(trigger, event)
        return self._actions

    def handle_timer(self, now: float) -> list[Action]:
        """Take note of the time; of use once `deadline` is reached."""
        self._now, self._actions = now, []
        for wait, at in list(self.timers.items()):
            if at <= now:
                del self.timers[wait]
                self.take(wait, wait)
        return self._actions

    # guards

    def _is_complete(self, event: ViewerCame) -> bool:
        return event.complete

    def _all_answered(self, event: object) -> bool:
        return not self._standing(Standing.ASKED)

    def _holds_another(self, event: object) -> bool:
        return self._held is not None

    def _all_answered_and_holds_another(self, event: object) -> bool:
        return self._all_answered(event) and self._holds_another(event)

    def _all_left(self, event: object) -> bool:
        return not self._standing(Standing.SENT)

    # actions

    def _add(self, event: ViewerCame) -> None:
        self._viewers[event.viewer] = _Viewer(event.capabilities)

    def _add_and_ask(self, event: ViewerCame) -> None:
        self._add(event)
        self._ask(event.viewer)

    def _forget(self, event: ViewerGone) -> None:
        self._viewers.pop(event.viewer, None)

    def _announce(self, event: Announce) -> None:
        self._announcement = event
        for id, viewer in self._viewers.items():
            viewer.standing = Standing.UNTOLD
            self._ask(id)

    def _ask(self, id: int) -> None:
        viewer, announcement = self._viewers[id], self._current
        can = viewer.capabilities
        viewer.offered = announcement.seamless and MainCapability.SEAMLESS_MIGRATE in can
        if viewer.offered and announcement.token is not None and MainCapability.HAND_OVER in can:
            numbers = PROTOCOL_VERSION, announcement.number, announcement.token
            begin: Message = announcement.destination.message(MigrateBeginHandOver, *numbers)
        elif viewer.offered:
            begin = announcement.destination.message(MigrateBeginSeamless, PROTOCOL_VERSION)
        elif MainCapability.SEMI_SEAMLESS_MIGRATE in can:
            begin = announcement.destination.message(MigrateBegin)
        else:
            return
        viewer.standing = Standing.ASKED
        self.timers[Wait.LINKS] = self._now + self._link_deadline
        self._send(id, begin)

    def _hold(self, event: Announce) -> None:
        """One announcement at a time: answers do not say which one they mean (spec/migration.md 15, D-09)."""
        if self._held is not None:
            self._tell(Over(self._held.number, Outcome.REPLACED))
        self._held = event

    def _announce_held(self, event: object) -> None:
        held, self._held = self._held, None
        self._replace(cast(Announce, held))

    def _replace(self, event: Announce) -> None:
        self._call_off()
        if self._announcement is not None:
            self._tell(Over(self._announcement.number, Outcome.REPLACED))
        self._announce(event)

    def _linked(self, event: Replied) -> None:
        self._take_link(event.viewer, Standing.LINKED, Mode.SEMI_SEAMLESS)

    def _agreed(self, event: Replied) -> None:
        viewer = self._viewers.get(event.viewer)
        if viewer is not None and viewer.standing is Standing.ASKED and not viewer.offered:
            self._act(Cut(event.viewer, ProtocolError("MIGRATE_CONNECTED_SEAMLESS, which was not offered")))
            self._forget(ViewerGone(event.viewer))
        else:
            self._take_link(event.viewer, Standing.AGREED, Mode.SEAMLESS)

    def _expected(self, event: Replied) -> None:
        viewer = self._viewers.get(event.viewer)
        announcement = self._announcement
        if viewer is None or announcement is None:
            return
        if cast(MigrateConnectedHandOver, event.message).announcement == announcement.number and announcement.token:
            self._take_link(event.viewer, Standing.EXPECTED, Mode.SEAMLESS)
            if self._stopped:
                self._hand_over(event)

    def _stop(self, event: Stopped) -> None:
        self._stopped = True
        self._hand_over(event)

    def _hand_over(self, event: object) -> None:
        for id in self._standing(Standing.EXPECTED):
            self._viewers[id].standing = Standing.HANDED
            self._act(HandOver(id))

    def _resume(self, event: object) -> None:
        self._stopped = False
        for id in self._standing(Standing.HANDED):
            self._viewers[id].standing = Standing.EXPECTED
            self._act(TakeBack(id))

    def _take_link(self, id: int, standing: Standing, mode: Mode) -> None:
        viewer = self._viewers.get(id)
        if viewer is None:
            return
        if viewer.standing is Standing.ASKED:
            viewer.standing = standing
            self._tell(ViewerLinked(self._current.number, id, mode))
        else:
            viewer.standing = Standing.FAILED
            self._send(id, MigrateCancel())

    def _refused(self, event: Replied) -> None:
        viewer = self._viewers.get(event.viewer)
        if viewer is not None and viewer.standing is Standing.ASKED:
            self._fail(event.viewer, MigrationError("the viewer could not link the target"))

    def _links_due(self, event: Wait) -> None:
        for id in self._standing(Standing.ASKED):
            self._fail(id, DeadlineError(f"the viewer has not linked the target within {self._link_deadline:g} s"))

    def _fail(self, id: int, error: CarawayError) -> None:
        self._viewers[id].standing = Standing.FAILED
        self._tell(ViewerFailed(self._current.number, id, error))

    def _finish_links(self, event: object) -> None:
        self._tell(LinksDone(self._current.number))

    def _send_on(self, event: Moved) -> None:
        if self._held is not None:
            # The guest has gone where it was last said to go; nobody was told.
            self._call_off()
            if self._announcement is not None:
                self._tell(Over(self._announcement.number, Outcome.REPLACED))
            self._announcement, self._held = self._held, None
        self.timers[Wait.LEAVE] = self._now + self._leave_deadline
        self._hand_over(event)
        for id, viewer in self._viewers.items():
            if viewer.standing is Standing.HANDED:
                self._act(LetGo(id))
            elif viewer.standing is Standing.AGREED:
                self._act(MoveChannels(id))
            elif viewer.standing is Standing.LINKED:
                self._send(id, MigrateEnd())
            else:
                self._send(id, self._current.destination.message(MigrateSwitchHost))
            viewer.standing = Standing.SENT

    def _send_after(self, event: ViewerCame) -> None:
        """Whoever comes to a guest that has left is not shown a dead picture (spec/migration.md 15, D-25)."""
        self._viewers[event.viewer] = _Viewer(event.capabilities)
        self.timers.setdefault(Wait.LEAVE, self._now + self._leave_deadline)
        self._send(event.viewer, self._current.destination.message(MigrateSwitchHost))

    def _note_leave(self, event: ViewerGone) -> None:
        viewer = self._viewers.pop(event.viewer, None)
        if viewer is not None and viewer.standing is Standing.SENT:
            self._tell(ViewerLeft(self._current.number, event.viewer))

    def _cut(self, event: Wait) -> None:
        error = DeadlineError(f"the viewer has not followed its guest within {self._leave_deadline:g} s")
        for id in self._viewers:
            self._act(Cut(id, error))
            self._tell(ViewerFailed(self._current.number, id, error))
        self._viewers.clear()

    def _complete(self, event: object) -> None:
        if self._viewers:
            self.timers[Wait.LEAVE] = self._now + self._leave_deadline
        self._tell(Over(self._current.number, Outcome.COMPLETED))

    def _stay(self, event: Stayed) -> None:
        self._call_off()
        for announcement in self._announcement, self._held:
            if announcement is not None:
                self._tell(Over(announcement.number, Outcome.CANCELLED))
        self._announcement = self._held = None

    def _call_off_late(self, event: Replied) -> None:
        if event.viewer in self._viewers:
            self._viewers[event.viewer].standing = Standing.UNTOLD
            self._send(event.viewer, MigrateCancel())

    def _note_refusal(self, event: Replied) -> None:
        if event.viewer in self._viewers:
            self._viewers[event.viewer].standing = Standing.UNTOLD

    def _give_up_answers(self, event: Wait) -> None:
        for viewer in self._viewers.values():
            viewer.standing = Standing.UNTOLD

    def _call_off(self) -> None:
        """Viewers that have linked drop their links; those that have not answered yet will be told then."""
        self._resume(None)
        for id, viewer in self._viewers.items():
            if viewer.standing in (Standing.LINKED, Standing.AGREED, Standing.EXPECTED):
                self._send(id, MigrateCancel())
                viewer.standing = Standing.UNTOLD

    def _return(self, event: Returned) -> None:
        self._announcement = None

    # helpers

    @property
    def _current(self) -> Announce:
        return cast(Announce, self._announcement)

    def _standing(self, standing: Standing) -> list[int]:
        return [id for id, viewer in self._viewers.items() if viewer.standing is standing]

    def _send(self, id: int, message: Message) -> None:
        self._act(Send(id, message))

    def _tell(self, report: Report) -> None:
        self._act(Tell(report))

    def _act(self, action: Action) -> None:
        self._actions.append(action)


_M = SourceMigration

TABLE: dict[tuple[State, Hashable], list[Edge[State]]] = {
    (State.IDLE, Announce): [Edge(_M._announce, State.ASKING)],
    (State.IDLE, ViewerCame): [Edge(_M._add, State.IDLE)],
    (State.IDLE, ViewerGone): [Edge(_M._forget, State.IDLE)],
    (State.IDLE, MigrateConnected): [Edge(_M._call_off_late, State.IDLE)],
    (State.IDLE, MigrateConnectedSeamless): [Edge(_M._call_off_late, State.IDLE)],
    (State.IDLE, MigrateConnectedHandOver): [Edge(_M._call_off_late, State.IDLE)],
    # viewers link the target
    (State.ASKING, Announce): [Edge(_M._hold, State.ASKING)],
    (State.ASKING, ViewerCame): [
        Edge(_M._add_and_ask, State.ASKING, when=_M._is_complete),
        Edge(_M._add, State.ASKING),
    ],
    (State.ASKING, ViewerGone): [Edge(_M._forget, State.ASKING)],
    (State.ASKING, MigrateConnected): [Edge(_M._linked, State.ASKING)],
    (State.ASKING, MigrateConnectedSeamless): [Edge(_M._agreed, State.ASKING)],
    (State.ASKING, MigrateConnectedHandOver): [Edge(_M._expected, State.ASKING)],
    (State.ASKING, Stopped): [Edge(_M._stop, State.ASKING)],
    (State.ASKING, Resumed): [Edge(_M._resume, State.ASKING)],
    (State.ASKING, MigrateConnectError): [Edge(_M._refused, State.ASKING)],
    (State.ASKING, Wait.LINKS): [Edge(_M._links_due, State.ASKING)],
    (State.ASKING, Moved): [Edge(_M._send_on, State.LEAVING)],
    (State.ASKING, Stayed): [Edge(_M._stay, State.RECALLING)],
    (State.ASKING, Always): [Edge(_M._finish_links, State.ANNOUNCED, when=_M._all_answered)],
    # viewers stand by
    (State.ANNOUNCED, Announce): [Edge(_M._replace, State.ASKING)],
    (State.ANNOUNCED, ViewerCame): [
        Edge(_M._add_and_ask, State.ASKING, when=_M._is_complete),
        Edge(_M._add, State.ANNOUNCED),
    ],
    (State.ANNOUNCED, ViewerGone): [Edge(_M._forget, State.ANNOUNCED)],
    (State.ANNOUNCED, MigrateConnected): [Edge(_M._linked, State.ANNOUNCED)],
    (State.ANNOUNCED, MigrateConnectedSeamless): [Edge(_M._agreed, State.ANNOUNCED)],
    (State.ANNOUNCED, MigrateConnectedHandOver): [Edge(_M._expected, State.ANNOUNCED)],
    (State.ANNOUNCED, Stopped): [Edge(_M._stop, State.ANNOUNCED)],
    (State.ANNOUNCED, Resumed): [Edge(_M._resume, State.ANNOUNCED)],
    (State.ANNOUNCED, Moved): [Edge(_M._send_on, State.LEAVING)],
    (State.ANNOUNCED, Stayed): [Edge(_M._stay, State.IDLE)],
    (State.ANNOUNCED, Always): [Edge(_M._announce_held, State.ASKING, when=_M._holds_another)],
    # answers to a migration that was called off
    (State.RECALLING, Announce): [Edge(_M._hold, State.RECALLING)],
    (State.RECALLING, ViewerCame): [Edge(_M._add, State.RECALLING)],
    (State.RECALLING, ViewerGone): [Edge(_M._forget, State.RECALLING)],
    (State.RECALLING, MigrateConnected): [Edge(_M._call_off_late, State.RECALLING)],
    (State.RECALLING, MigrateConnectedSeamless): [Edge(_M._call_off_late, State.RECALLING)],
    (State.RECALLING, MigrateConnectedHandOver): [Edge(_M._call_off_late, State.RECALLING)],
    (State.RECALLING, MigrateConnectError): [Edge(_M._note_refusal, State.RECALLING)],
    (State.RECALLING, Wait.LINKS): [Edge(_M._give_up_answers, State.RECALLING)],
    (State.RECALLING, Moved): [Edge(_M._send_on, State.LEAVING, when=_M._holds_another)],
    (State.RECALLING, Stayed): [Edge(_M._stay, State.RECALLING)],
    (State.RECALLING, Always): [
        Edge(_M._announce_held, State.ASKING, when=_M._all_answered_and_holds_another),
        Edge(None, State.IDLE, when=_M._all_answered),
    ],
    # viewers go
    (State.LEAVING, ViewerCame): [Edge(_M._send_after, State.LEAVING)],
    (State.LEAVING, ViewerGone): [Edge(_M._note_leave, State.LEAVING)],
    (State.LEAVING, Wait.LEAVE): [Edge(_M._cut, State.LEAVING)],
    (State.LEAVING, Always): [Edge(_M._complete, State.MOVED, when=_M._all_left)],
    # the guest is elsewhere
    (State.MOVED, ViewerCame): [Edge(_M._send_after, State.MOVED)],
    (State.MOVED, ViewerGone): [Edge(_M._forget, State.MOVED)],
    (State.MOVED, Wait.LEAVE): [Edge(_M._cut, State.MOVED)],
    (State.MOVED, Returned): [Edge(_M._return, State.IDLE)],
}
"""What is not here changes nothing."""

SourceMigration.table = TABLE
