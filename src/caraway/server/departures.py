"""Viewers that go after their guest: what `SourceMigration` says is done here, and the embedder is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from caraway.errors import MigrationError, ProtocolError
from caraway.migration.channels import MAIN
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.migration.source import LEAVE_DEADLINE, LINK_DEADLINE, SourceMigration, State
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
    ViewerLinked,
)
from caraway.server.given import Given
from caraway.server.signal import Signal
from caraway.wire.messages.base import Message

if TYPE_CHECKING:
    from caraway.server.server import Server
    from caraway.server.viewer import Viewer

log = logging.getLogger(__name__)


class Announcement:
    """One migration, as viewers were told of it: `await announcement.linked()`, then `await announcement.over()`.

    number: counts the server's announcements.
    """

    def __init__(self, number: int, destination: Destination) -> None:
        self.number, self.destination = number, destination
        self.viewers: dict[int, Mode] = {}
        """Session ids of those that stand by at the target, and how they will move."""
        self.failures: dict[int, str] = {}
        """Session ids of those that could not, and why."""
        self.outcome: Outcome | None = None
        """None while it is not over."""
        self._linked, self._over = asyncio.Event(), asyncio.Event()

    async def linked(self) -> Mapping[int, Mode]:
        """Wait until nobody links any more, which has a deadline; gives `viewers`."""
        await self._linked.wait()
        return self.viewers

    async def over(self) -> Outcome:
        """Wait until the migration was called off, or the guest has gone and its viewers after it."""
        await self._over.wait()
        assert self.outcome is not None
        return self.outcome

    def take(self, report: Report) -> None:
        """Note what has happened."""
        if isinstance(report, ViewerLinked):
            self.viewers[report.viewer] = report.mode
        elif isinstance(report, ViewerFailed):
            self.viewers.pop(report.viewer, None)
            self.failures[report.viewer] = str(report.error)
        elif isinstance(report, LinksDone):
            self._linked.set()
        elif isinstance(report, Over):
            self.outcome = report.outcome
            self._linked.set()
            self._over.set()


class Departures:
    """Of one server.

    seamless: whether channels are handed over with their state, where a viewer can.
    link_deadline, leave_deadline: seconds.
    """

    def __init__(
        self,
        server: Server,
        *,
        seamless: bool = True,
        link_deadline: float = LINK_DEADLINE,
        leave_deadline: float = LEAVE_DEADLINE,
    ) -> None:
        self.announced: Signal[[Announcement]] = Signal()
        """Viewers are about to be told of a migration."""
        self.reported: Signal[[Report]] = Signal()
        """Something has happened that an orchestrator wants to know."""
        self.handed_over: Signal[[Given]] = Signal()
        """Something that is for the target (`Server.take_over`)."""
        self.under_way = False
        """Whether the guest moves, or has moved: what it is told meanwhile is for it at the other host."""
        self._server, self._seamless = server, seamless
        self._machine = SourceMigration(link_deadline=link_deadline, leave_deadline=leave_deadline)
        self._last_number = 0
        self._announcements: dict[int, Announcement] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stop_listening: Callable[[], None] | None = None

    def attach(self) -> None:
        """The server begins."""
        self._stop_listening = self._server.guest.running_changed.connect(self._running_changed)

    @property
    def moved(self) -> bool:
        """Whether the guest is elsewhere."""
        return self._machine.state in (State.LEAVING, State.MOVED)

    def announce(self, destination: Destination, token: bytes | None = None) -> Announcement:
        """The guest is about to go there: viewers link the target. Raises MigrationError if it has gone already.

        token: 16 bytes that the target expects, if `handed_over` is brought to it.
        """
        if self.moved:
            raise MigrationError(f"the guest has moved to {self._machine.destination}")
        self._last_number += 1
        announcement = Announcement(self._last_number, destination)
        self._announcements[announcement.number] = announcement
        self.announced(announcement)
        self._handle(Announce(announcement.number, destination, self._seamless, token))
        for viewer in self._server.viewers.values():
            viewer.rehearse()
        return announcement

    def start(self) -> None:
        """The guest's migration has begun."""
        self.under_way = True

    def end(self, completed: bool) -> None:
        """The guest's migration is over. completed: whether the guest is at the target."""
        self.under_way = completed
        self._handle(Moved() if completed else Stayed())

    def came(self, viewer: Viewer, *, complete: bool = False) -> None:
        """A viewer's main channel begins."""
        self._handle(ViewerCame(viewer.id, viewer.channels[MAIN].connection.client_capabilities, complete))

    def gone(self, viewer: Viewer) -> None:
        """A viewer's main channel is over."""
        self._handle(ViewerGone(viewer.id))

    def replied(self, viewer: Viewer, message: Message) -> None:
        """A viewer has linked the target, or has not. Raises ProtocolError if it was never told of any."""
        if not self._last_number:
            raise ProtocolError(f"{message.wire_name()}, and no migration")
        self._handle(Replied(viewer.id, message))

    def close(self) -> None:
        """The server ends."""
        if self._stop_listening is not None:
            self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        for announcement in list(self._announcements.values()):
            announcement.take(Over(announcement.number, Outcome.CANCELLED))
        self._announcements.clear()

    def _running_changed(self) -> None:
        running = self._server.guest.running
        if running and self.moved:
            self.under_way = False
            self._handle(Returned())
        elif running:
            self._handle(Resumed())
        elif self.under_way:
            self._handle(Stopped())

    def _handle(self, event: Event) -> None:
        self._execute(self._machine.handle(event, asyncio.get_running_loop().time()))

    def _due(self) -> None:
        self._execute(self._machine.handle_timer(asyncio.get_running_loop().time()))

    def _execute(self, actions: list[Action]) -> None:
        for action in actions:
            self._do(action)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine.deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(self._machine.deadline, self._due)

    def _do(self, action: Action) -> None:
        if isinstance(action, Tell):
            self._report(action.report)
        else:
            viewer = self._server.viewers.get(action.viewer)
            if viewer is None:
                return
            self._change(viewer, action)

    def _change(self, viewer: Viewer, action: Send | MoveChannels | HandOver | TakeBack | LetGo | Cut) -> None:
        if isinstance(action, Send):
            viewer.tell(action.message)
        elif isinstance(action, MoveChannels):
            viewer.depart()
        elif isinstance(action, HandOver):
            viewer.hand_over()
        elif isinstance(action, TakeBack):
            viewer.take_back()
        elif isinstance(action, LetGo):
            viewer.let_go()
        else:
            viewer.end(str(action.error))

    def _report(self, report: Report) -> None:
        log.info("%s", report)
        announcement = self._announcements.get(report.announcement)
        if announcement is not None:
            announcement.take(report)
        if isinstance(report, Over):
            self._announcements.pop(report.announcement, None)
        self.reported(report)
