"""A session, and what a window has to know of it as Qt signals.

Qt's own event loop for asyncio has no sockets. So the session of a window of its own has a loop in a thread: neither a
slow repaint nor a slow link hinders the other. What the session draws on is shown as it is; a box is painted once it
has been drawn on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from PySide6.QtCore import QObject, Signal

from caraway.canvas.region import Box
from caraway.canvas.screen import Change, Screen
from caraway.errors import CarawayError, LinkError
from caraway.migration.reports import (
    Announced,
    Cancelled,
    ChannelGone,
    Failed,
    Linked,
    Reconnecting,
    Report,
    Switched,
    Switching,
)
from caraway.wire.constants import ChannelType
from caraway.wire.link import channel_name
from caraway.wire.messages.main import MouseModes

if TYPE_CHECKING:
    from caraway.client.connect import Connecting
    from caraway.client.cursor import CursorChannel
    from caraway.client.inputs import Button, InputsChannel
    from caraway.client.session import Session

log = logging.getLogger(__name__)

MAX_ACTIONS = 1000
"""Keys and clicks that wait for a slow link or a move; presses beyond it are lost."""

MAX_BOXES = 64
"""Changed boxes that wait to be painted; more become one."""

Action: TypeAlias = "Callable[[InputsChannel], Awaitable[None] | None]"


class Console(QObject):
    """One session, as a window sees it. Its signals come in the thread that made it."""

    began = Signal()
    """There is a session."""
    changed = Signal()
    """There are boxes to take."""
    cursor_changed = Signal()
    said = Signal(str, bool)
    """What happens to the session as its VM moves, and whether that is still going on."""
    ended = Signal(object)
    """The session is over; why."""

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self._lock = threading.Lock()
        self._boxes: list[Box] = []
        self._is_new = False
        self._actions: deque[tuple[str, tuple[int, ...], Action]] = deque()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # what a window asks

    @property
    def screen(self) -> Screen | None:
        """What the first display shows."""
        session = self.session
        if session is None or (ChannelType.DISPLAY, 0) not in session.channels:
            return None
        return session.display.screen

    @property
    def cursor(self) -> CursorChannel | None:
        """The first display's pointer."""
        session = self.session
        if session is None or (ChannelType.CURSOR, 0) not in session.channels:
            return None
        return session.cursor

    @property
    def is_absolute(self) -> bool:
        """Whether the guest takes places of the pointer, not only motion."""
        session = self.session
        return session is not None and session.main.mouse_mode == MouseModes.CLIENT

    def take(self) -> tuple[list[Box], bool]:
        """The boxes that have changed since the last call, and whether there is another surface."""
        with self._lock:
            taken = self._boxes, self._is_new
            self._boxes, self._is_new = [], False
        return taken

    # what a window says

    def key_down(self, code: int) -> bool:
        """A key goes down. False: that is lost, and its release need not be told."""
        return self._do(lambda inputs: inputs.key_down(code))

    def key_up(self, code: int) -> None:
        """A key goes up."""
        self._do(lambda inputs: inputs.key_up(code), is_release=True)

    def press(self, chord: str) -> None:
        """Keys are pressed together and released, such as `ctrl+alt+delete`."""
        self._do(lambda inputs: inputs.press(chord))

    def button_down(self, name: Button) -> bool:
        """A button goes down. False: that is lost, and its release need not be told."""
        return self._do(lambda inputs: inputs.button_down(name))

    def button_up(self, name: Button) -> None:
        """A button goes up."""
        self._do(lambda inputs: inputs.button_up(name), is_release=True)

    def scroll(self, steps: int) -> None:
        """The wheel was turned."""
        self._do(lambda inputs: inputs.scroll(steps))

    def place(self, x: int, y: int) -> None:
        """The pointer is there."""
        self._do(lambda inputs: inputs.move(x, y), "place")

    def move(self, dx: int, dy: int) -> None:
        """The mouse was moved so far."""
        with self._lock:
            if self._actions and self._actions[-1][0] == "move":
                _, before, _ = self._actions.pop()
                dx, dy = dx + before[0], dy + before[1]
        self._do(lambda inputs: inputs.move_by(dx, dy), "move", dx, dy)

    def _do(self, action: Action, kind: str = "", *values: int, is_release: bool = False) -> bool:
        loop = self._loop
        if loop is None:
            return False
        with self._lock:
            if kind == "place" and self._actions and self._actions[-1][0] == kind:
                self._actions.pop()
            if len(self._actions) >= MAX_ACTIONS and not is_release:
                return False
            self._actions.append((kind, values, action))
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._wake.set)
        return True

    # in the session's loop

    async def follow(self, session: Session) -> CarawayError:
        """Tell of a session until it ends, and do there what the window says; gives why it ended."""
        self.session, self._loop = session, asyncio.get_running_loop()
        stops = []
        if self.screen is not None:
            stops.append(self.screen.listen(self._screen_changed))
        if self.cursor is not None:
            stops.append(self.cursor.listen(self.cursor_changed.emit))
        self._note([], is_new=True)
        self.began.emit()
        try:
            await session.until(self._serve(session))
        except CarawayError as error:
            return error
        finally:
            self._loop = None
            for stop in stops:
                stop()
        return LinkError(f"{session.endpoint}: the session was closed")

    async def _serve(self, session: Session) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report(session))
            group.create_task(self._send(session))

    def _screen_changed(self, change: Change) -> None:
        self._note(change.boxes, is_new=change.new_picture)

    def _note(self, boxes: Sequence[Box], *, is_new: bool) -> None:
        with self._lock:
            has_news = bool(self._boxes) or self._is_new
            self._boxes += boxes
            if len(self._boxes) > MAX_BOXES:
                lefts, tops, rights, bottoms = zip(*self._boxes, strict=True)
                self._boxes = [Box(min(lefts), min(tops), max(rights), max(bottoms))]
            self._is_new |= is_new
        if not has_news:
            self.changed.emit()

    async def _report(self, session: Session) -> None:
        async for report in session.migrations():
            self.said.emit(*told_of(report))

    async def _send(self, session: Session) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._actions:
                with self._lock:
                    _, _, action = self._actions.popleft()
                # The guest may have another pointer, or a smaller display, than when the window was asked.
                with contextlib.suppress(CarawayError, ValueError):
                    work = action(session.inputs)
                    if work is not None:
                        await work


class ThreadedConsole(Console):
    """A session of the window's own, in a thread.

    connect: begins it.
    """

    def __init__(self, connect: Callable[[], Connecting]) -> None:
        super().__init__()
        self._connect = connect
        self._is_over = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._thread = threading.Thread(target=self._main, name="session", daemon=True)

    def start(self) -> None:
        """Connect."""
        self._thread.start()

    def stop(self) -> None:
        """End the session, and wait until nothing is left of it."""
        with self._lock:
            self._is_over = True
            running = self._running
        if running is not None:
            loop, task = running
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        self._thread.join()

    def _main(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._run())

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            if self._is_over:
                return
            self._running = asyncio.get_running_loop(), task
        error: CarawayError
        try:
            async with self._connect() as session:
                error = await self.follow(session)
        except CarawayError as failed:
            error = failed
        except Exception as fault:
            log.exception("a fault of this viewer")
            error = CarawayError(f"internal error: {fault!r}")
        self.ended.emit(error)


def told_of(report: Report) -> tuple[str, bool]:
    """A report as a status line has it, and whether more of the same move is to come."""
    match report:
        case Announced(endpoint):
            return f"migrating to {endpoint}", True
        case Linked(endpoint, mode) | Switching(endpoint, mode):
            return f"migrating to {endpoint} ({mode})", True
        case Reconnecting(endpoint, error):
            return f"connecting anew to {endpoint}: {error}", True
        case Switched(endpoint, mode):
            return f"moved to {endpoint} ({mode})", False
        case Cancelled():
            return "the move was called off", False
        case Failed(error):
            return f"cannot follow: {error}", False
        case ChannelGone(channel, error):
            return f"{channel_name(*channel)} did not come along: {error}", False
