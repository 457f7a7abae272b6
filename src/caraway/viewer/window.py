"""The viewer's window: the screen, a status line, and what it offers when the session is over."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QMessageLogContext, QSize, Qt, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QFrame, QLabel, QMainWindow, QMenu, QPushButton, QToolButton, QVBoxLayout

from caraway.errors import CarawayError
from caraway.viewer.console import Console, ThreadedConsole
from caraway.viewer.screen import ScreenWidget

if TYPE_CHECKING:
    from caraway.client.connect import Connecting
    from caraway.client.session import Session
    from caraway.endpoint import Endpoint

log = logging.getLogger(__name__)

SAID_FOR = 5000
"""Milliseconds that the end of a move is told."""

FRAME = 1 / 60
"""Seconds between two looks at the window, where a program's own loop does the looking."""

CHORDS = ("Ctrl+Alt+Delete", "Ctrl+Alt+Backspace", *(f"Ctrl+Alt+F{n}" for n in range(1, 8)), "Print", "Super")

STYLE = """
QMainWindow { background: #101416 }
QStatusBar { background: #0c1a22; color: #9fb3b8 }
QStatusBar QLabel { color: #9fb3b8; padding: 1px 6px }
QStatusBar QToolButton { color: #9fb3b8; border: none; padding: 1px 14px 1px 6px }
#over { background: rgba(12, 26, 34, 230); border: 1px solid #ffb84d; border-radius: 8px }
#over QLabel { color: #f2efe6; padding: 6px }
"""


class ViewerWindow(QMainWindow):
    """A window on one session after the other.

    connect: begins a session; without it the window is on what `show_console` gives it.
    error: why the first session could not begin; the window closes then.
    """

    def __init__(
        self, connect: Callable[[Endpoint | None], Connecting] | None = None, *, title: str = "", enlarge: bool = False
    ) -> None:
        super().__init__()
        self._connect, self._title = connect, title
        self.error: CarawayError | None = None
        self.console: Console | None = None
        self._last: Endpoint | None = None
        self.view = ScreenWidget(enlarge=enlarge)
        self._has_begun = False
        self._fitted: QSize | None = None
        self._counted = 0
        self.setWindowTitle(title or "Caraway")
        self.setStyleSheet(STYLE)
        self.setCentralWidget(self.view)
        self.resize(1024, 768)
        self._host, self._facts, self._said = QLabel(), QLabel(), QLabel()
        self.statusBar().addWidget(self._host)
        self.statusBar().addWidget(self._said, 1)
        self.statusBar().addPermanentWidget(self._facts)
        self.statusBar().addPermanentWidget(self._chords())
        self._over = _Over(self)
        self._over.again.clicked.connect(self.reconnect)
        self.view.capture_changed.connect(self._captured)
        QShortcut(QKeySequence("Shift+F11"), self, self.toggle_fullscreen)
        self._second = QTimer(self)
        self._second.timeout.connect(self._count)
        self._second.start(1000)
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.timeout.connect(self._said.clear)
        self._host.setText("connecting")
        if connect is not None:
            self.reconnect()

    def reconnect(self) -> None:
        """Begin a session, where the last one was."""
        if self._connect is None:
            return
        self._over.hide()
        self._host.setText("connecting")
        session = self.console.session if self.console else None
        if session is not None:
            self._last = session.endpoint
        console = ThreadedConsole(functools.partial(self._connect, self._last))
        self.show_console(console)
        console.start()
        self.view.setFocus()

    def show_console(self, console: Console) -> None:
        """Show this one from now on, and be done with the one before."""
        self._leave()
        self.console = console
        # Python's collector works in whichever thread it is: what Qt has made must not be for it to delete.
        console.setParent(self)
        console.began.connect(self._began)
        console.said.connect(self.say)
        console.ended.connect(self._ended)
        self.view.show_console(console)
        console.changed.connect(self._pictured)

    def finish(self) -> None:
        """Close it, and delete what Qt has made for it; `error` stays."""
        self.close()
        QApplication.processEvents()
        shiboken6.delete(self)

    def say(self, text: str, goes_on: bool) -> None:
        """Tell something in the status line: for a while, or as long as it goes on."""
        self._said.setText(text)
        if goes_on:
            self._silence.stop()
        else:
            self._silence.start(SAID_FOR)
            self._name()

    def toggle_fullscreen(self) -> None:
        """All of the screen for the guest, or a window again."""
        self.view.release()
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()
        self.statusBar().setVisible(not self.isFullScreen())

    def _chords(self) -> QToolButton:
        """A menu of keys that the desktop would take for itself."""
        menu = QMenu(self)
        for chord in CHORDS:
            menu.addAction(chord).triggered.connect(functools.partial(self._press, chord))
        button = QToolButton()
        button.setText("Keys")
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)
        return button

    def _press(self, chord: str) -> None:
        if self.console is not None:
            self.console.press(chord)

    def _began(self) -> None:
        self._has_begun = True
        self._name()

    def _name(self) -> None:
        session = self.console.session if self.console else None
        if session is not None:
            self._host.setText(str(session.endpoint))
            self.setWindowTitle(f"{self._title or session.endpoint} - Caraway")

    def _pictured(self) -> None:
        """A picture of another size gives the window its size, as far as there is room and nobody gave it one."""
        size = QSize(*self.view.size_shown)
        if size.isEmpty() or size == self._fitted:
            return
        is_first, is_ours = self._fitted is None, self.view.size() == self._fitted
        self._fitted = size
        if (is_first or is_ours) and not self.isFullScreen() and not self.isMaximized():
            room = self.view.screen().availableGeometry().size()
            around = self.size() - self.view.size()
            self.resize((size + around).boundedTo(room))
        self._count()

    def _count(self) -> None:
        width, height = self.view.size_shown
        pictures, self._counted = self.view.pictures - self._counted, self.view.pictures
        self._facts.setText(f"{width}x{height}   {pictures} fps" if width else "")

    def _captured(self, on: bool) -> None:
        self._said.setText("Ctrl+Alt lets go of the mouse" if on else "")

    def _ended(self, error: CarawayError) -> None:
        if not self._has_begun:
            self.error = error
            self.close()
            return
        self._said.clear()
        self._over.show_error(str(error))

    def _leave(self) -> None:
        console, self.console = self.console, None
        if console is not None:
            console.disconnect(self)
            console.disconnect(self.view)
            if isinstance(console, ThreadedConsole):
                console.stop()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        self.view.release()
        self._second.stop()
        self.hide()
        self._leave()
        event.accept()


class _Over(QFrame):
    """Says over the last picture that the session has ended."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("over")
        self.label, self.again = QLabel(), QPushButton("Reconnect")
        self.label.setWordWrap(True)
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.again.setDefault(True)
        self.again.setAutoDefault(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.label)
        layout.addWidget(self.again, 0, Qt.AlignmentFlag.AlignCenter)
        self.hide()

    def show_error(self, text: str) -> None:
        self.label.setText(f"The session has ended.\n{text}")
        window = self._window
        self.resize(min(480, window.width()), 160)
        self.move((window.width() - self.width()) // 2, (window.height() - self.height()) // 2)
        self.show()
        self.raise_()
        self.again.setFocus()


def show(connect: Callable[[Endpoint | None], Connecting], *, title: str, fullscreen: bool, enlarge: bool) -> None:
    """Run a window with sessions of its own until it is closed. Raises what the first could not begin with."""
    app = _application()
    window = ViewerWindow(connect, title=title, enlarge=enlarge)
    _appear(window, fullscreen=fullscreen)
    # Python sees a signal when the window's timer wakes it; Qt's loop then closes the window.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: QTimer.singleShot(0, window.close)) for number in numbers]
    try:
        app.exec()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        window.finish()
    if window.error is not None:
        raise window.error


async def show_session(session: Session, *, title: str, fullscreen: bool, enlarge: bool) -> None:
    """Run a window on a session beside the rest of a program until it is closed or the session is over."""
    app = _application()
    window = ViewerWindow(title=title, enlarge=enlarge)
    console = Console()
    window.show_console(console)
    _appear(window, fullscreen=fullscreen)
    following = asyncio.ensure_future(console.follow(session))
    try:
        while window.isVisible() and not following.done():
            app.processEvents()
            await asyncio.sleep(FRAME)
        if following.done():
            following.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        window.finish()


def _appear(window: ViewerWindow, *, fullscreen: bool) -> None:
    if fullscreen:
        window.toggle_fullscreen()
    else:
        window.show()


def _application() -> QApplication:
    """Qt's, which there is one of in a process. Where there is no desktop for it, Qt ends the process."""
    app = QApplication.instance()
    if isinstance(app, QApplication):
        return app
    heard: list[str] = []

    def hear(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        heard.append(message.strip())
        if kind is QtMsgType.QtFatalMsg:
            # Qt is about to abort with a core dump; what it said first is the reason.
            print(f"caraway: there can be no window: {heard[0]}", file=sys.stderr, flush=True)
            os._exit(CarawayError.exit_code)

    # A captured mouse is heard of step by step, or being put back would look like a move.
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents, False)
    before = qInstallMessageHandler(hear)
    try:
        return QApplication(["caraway"])
    finally:
        qInstallMessageHandler(before)
        for message in heard:
            log.warning("Qt: %s", message)
