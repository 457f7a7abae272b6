"""The viewer's window on a guest of our own: what it shows, what it sends, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

import caraway
from caraway.client.keyboard import KEYS, chord
from caraway.embedded import EmbeddedGuest
from caraway.embedded.seen import Button, Key, Moved, Placed
from caraway.endpoint import Endpoint
from caraway.errors import LinkError
from caraway.migration.reports import (
    Announced,
    Cancelled,
    ChannelGone,
    Failed,
    Linked,
    Mode,
    Reconnecting,
    Report,
    Switched,
    Switching,
)
from caraway.server import Server
from caraway.viewer import show_session
from caraway.wire.constants import ChannelType
from caraway.wire.messages.inputs import MouseButton, MouseButtons
from support.serving import until

try:
    import shiboken6
    from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
    from PySide6.QtGui import QFocusEvent, QImage, QKeyEvent, QMouseEvent, QWheelEvent
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication, QMenu

    from caraway.viewer.console import MAX_ACTIONS, ThreadedConsole, told_of
    from caraway.viewer.keys import scancode
    from caraway.viewer.window import ViewerWindow
except ImportError as error:
    if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
        raise
    pytest.skip(f"{error}: pip install PySide6-Essentials", allow_module_level=True)

DEADLINE = 20.0
HERE = Endpoint.of("spice://here:5900")


@pytest.fixture(scope="module")
def app() -> Iterator[QApplication]:
    application = QApplication.instance() or QApplication(["test"])
    assert isinstance(application, QApplication)
    yield application
    application.processEvents()


class Scene:
    """A guest, its server, and a window on it; Qt runs while the test waits."""

    def __init__(self, app: QApplication, guest: EmbeddedGuest, server: Server) -> None:
        self.app, self.guest, self.server = app, guest, server
        uri = f"spice://127.0.0.1:{server.port}?password=secret"
        self.window = ViewerWindow(lambda last: caraway.connect(last or uri))
        self.window.show()

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not true():
                    self.app.processEvents()
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pytest.fail(f"not in time: {what or true}")

    def grab(self) -> QImage:
        """What the window shows of the guest."""
        self.app.processEvents()
        part = self.window.view.target().toRect()
        return self.window.view.grab(part).toImage().convertToFormat(QImage.Format.Format_RGB32)

    def guest_image(self) -> QImage:
        display = self.guest.display
        image = QImage(display.pixels, display.width, display.height, display.stride, QImage.Format.Format_RGB32)
        return image.copy().convertToFormat(QImage.Format.Format_RGB32)

    async def shows_the_guest(self) -> None:
        await self.until(lambda: self.grab() == self.guest_image(), "the guest's picture in the window")

    async def sees(self, events: list[object]) -> None:
        await self.until(lambda: len(self.guest.seen) >= len(events), f"{len(events)} events, not {self.guest.seen}")
        assert list(self.guest.seen) == events
        self.guest.seen.clear()

    async def close(self) -> None:
        if isinstance(self.window.console, ThreadedConsole):
            await asyncio.to_thread(self.window.console.stop)
        self.window.finish()


@contextlib.asynccontextmanager
async def shown(app: QApplication, guest: EmbeddedGuest) -> AsyncIterator[Scene]:
    async with Server(guest, host="127.0.0.1", port=0, password="secret") as server:
        scene = Scene(app, guest, server)
        try:
            await scene.until(lambda: scene.window.view.size_shown != (0, 0), "a picture")
            yield scene
        finally:
            await scene.close()


@pytest.fixture
async def scene(app: QApplication) -> AsyncIterator[Scene]:
    async with shown(app, EmbeddedGuest(640, 480)) as scene:
        yield scene


async def test_the_window_shows_the_guest_and_what_changes(scene: Scene) -> None:
    scene.window.resize(700, 600)
    await scene.shows_the_guest()
    for _ in range(30):
        scene.guest.tick()
    scene.guest.type("typed at the guest\n" * 30)
    await scene.shows_the_guest()


async def test_only_what_has_changed_is_painted(scene: Scene) -> None:
    await scene.shows_the_guest()
    painted: list[int] = []
    original = scene.window.view.paintEvent

    def paint(event: object) -> None:
        painted.append(event.rect().width() * event.rect().height())  # type: ignore[attr-defined]
        original(event)  # type: ignore[arg-type]

    scene.window.view.paintEvent = paint  # type: ignore[method-assign]
    scene.guest.tick()
    await scene.until(lambda: painted, "a repaint")
    assert max(painted) < 640 * 480 // 8


async def test_the_first_picture_gives_the_window_its_size(scene: Scene) -> None:
    await scene.until(lambda: scene.window.view.size().toTuple() == (640, 480), "the guest's size")
    assert "640x480" in scene.window._facts.text()
    assert scene.server.port is not None
    assert str(scene.server.port) in scene.window._host.text()


async def test_a_large_picture_is_made_smaller(scene: Scene) -> None:
    await scene.shows_the_guest()
    scene.window.resize(320, 300)
    await scene.until(lambda: scene.window.view.target().width() <= 320)
    target = scene.window.view.target()
    assert target.width() / target.height() == pytest.approx(640 / 480)
    assert scene.guest_image().scaled(target.size().toSize()).pixelColor(100, 5) == scene.grab().pixelColor(100, 5)


async def test_another_size_of_the_guest(scene: Scene) -> None:
    scene.guest.resize(500, 400)
    await scene.until(lambda: scene.window.view.size_shown == (500, 400))
    await scene.shows_the_guest()


async def test_the_window_follows_the_guests_size_until_it_has_one_of_its_own(scene: Scene) -> None:
    await scene.until(lambda: scene.window.view.size().toTuple() == (640, 480), "the guest's size")
    scene.guest.resize(500, 400)
    await scene.until(lambda: scene.window.view.size().toTuple() == (500, 400), "its next size")
    scene.window.resize(600, 600)
    scene.app.processEvents()
    own = scene.window.view.size()
    scene.guest.resize(320, 240)
    await scene.until(lambda: scene.window.view.size_shown == (320, 240))
    assert scene.window.view.size() == own


async def test_keys_arrive_once_and_in_order(scene: Scene) -> None:
    QTest.keyClicks(scene.window.view, "ab c-Z")
    QTest.keyClick(scene.window.view, Qt.Key.Key_Return)
    codes = [0x1E, 0x30, 0x39, 0x2E, 0x0C, 0x2C, 0x1C]
    await scene.sees([Key(code, down) for code in codes for down in (True, False)])


async def test_keys_that_the_desktop_would_take_are_in_a_menu(scene: Scene) -> None:
    actions = {action.text(): action for action in scene.window.findChild(QMenu).actions()}
    actions["Ctrl+Alt+Delete"].trigger()
    codes = [KEYS[name] for name in ("ctrl", "alt", "delete")]
    await scene.sees([Key(code, True) for code in codes] + [Key(code, False) for code in codes[::-1]])
    assert [chord(text) for text in actions]


async def test_repeats_are_pressed_again_and_released_once(scene: Scene) -> None:
    def send(kind: QEvent.Type, *, repeats: bool) -> None:
        event = QKeyEvent(kind, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier, 38, 0, 0, "a", repeats)
        scene.app.sendEvent(scene.window.view, event)

    press, release = QEvent.Type.KeyPress, QEvent.Type.KeyRelease
    send(press, repeats=False)
    for _ in range(2):
        send(release, repeats=True)
        send(press, repeats=True)
    send(release, repeats=False)
    await scene.sees([Key(0x1E, True)] * 3 + [Key(0x1E, False)])


async def test_held_keys_are_released_when_the_focus_goes(scene: Scene) -> None:
    QTest.keyPress(scene.window.view, Qt.Key.Key_Control)
    QTest.keyPress(scene.window.view, Qt.Key.Key_Alt)
    scene.app.sendEvent(scene.window.view, QFocusEvent(QEvent.Type.FocusOut))
    QTest.keyRelease(scene.window.view, Qt.Key.Key_Alt)
    await scene.sees([Key(0x1D, True), Key(0x38, True), Key(0x38, False), Key(0x1D, False)])


async def test_what_is_pressed_is_released_however_much_waits(scene: Scene) -> None:
    console = scene.window.console
    assert console is not None
    # The session's thread gets no turn until all has been said.
    assert console._loop is not None
    blocked = threading.Event()
    console._loop.call_soon_threadsafe(blocked.wait, DEADLINE)
    for _ in range(MAX_ACTIONS - 1):
        assert console.key_down(KEYS["a"])
    QTest.keyPress(scene.window.view, Qt.Key.Key_B)
    QTest.keyPress(scene.window.view, Qt.Key.Key_C)
    QTest.keyRelease(scene.window.view, Qt.Key.Key_C)
    QTest.keyRelease(scene.window.view, Qt.Key.Key_B)
    blocked.set()
    await scene.until(lambda: Key(KEYS["b"], False) in scene.guest.seen)
    assert list(scene.guest.seen)[-2:] == [Key(KEYS["b"], True), Key(KEYS["b"], False)]


async def test_places_and_clicks(scene: Scene) -> None:
    scene.window.resize(800, 700)
    await scene.until(lambda: scene.window.console and scene.window.console.is_absolute, "the mouse mode")
    corner = scene.window.view.target().topLeft().toPoint()
    QTest.mouseClick(scene.window.view, Qt.MouseButton.RightButton, pos=corner + QPoint(123, 45))
    await scene.sees(
        [
            Placed(123, 45, MouseButtons(0)),
            Button(MouseButton.RIGHT, True),
            Button(MouseButton.RIGHT, False),
        ]
    )
    QTest.mouseMove(scene.window.view, corner - QPoint(9, 9))
    await scene.sees([Placed(0, 0, MouseButtons(0))])


async def test_the_wheel(scene: Scene) -> None:
    for angle in (60, 60, -240):
        event = QWheelEvent(
            QPointF(5, 5),
            QPointF(5, 5),
            QPoint(),
            QPoint(0, angle),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        scene.app.sendEvent(scene.window.view, event)
    buttons = [MouseButton.UP, MouseButton.DOWN, MouseButton.DOWN]
    await scene.sees([Button(button, down) for button in buttons for down in (True, False)])


async def test_the_window_has_the_guests_pointer(scene: Scene) -> None:
    await scene.until(lambda: scene.window.view.cursor().shape() is Qt.CursorShape.BitmapCursor, "the arrow")
    cursor, shape = scene.window.view.cursor(), scene.guest.display.cursor
    assert shape is not None
    assert cursor.pixmap().size().toTuple() == (shape.width, shape.height)
    scene.guest.display.set_cursor(None)
    await scene.until(lambda: scene.window.view.cursor().shape() is Qt.CursorShape.BlankCursor, "no pointer")


async def test_a_relative_mouse_is_captured_and_let_go(app: QApplication) -> None:
    guest = EmbeddedGuest(640, 480)
    guest.set_absolute_pointer(False)
    async with shown(app, guest) as scene:
        view = scene.window.view
        QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(20, 20))
        assert view.is_captured
        assert not guest.seen
        assert scene.window.console is not None
        scene.window.console.move(3, -4)
        scene.window.console.button_down("left")
        await scene.sees([Moved(3, -4, MouseButtons(0)), Button(MouseButton.LEFT, True)])
        await scene.until(lambda: not view._pointer_box.isNull(), "the pointer in the picture")
        QTest.keyPress(view, Qt.Key.Key_Control)
        QTest.keyPress(view, Qt.Key.Key_Alt)
        assert not view.is_captured


async def test_a_captured_mouse_that_is_put_back_has_not_moved(
    app: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = EmbeddedGuest(640, 480)
    guest.set_absolute_pointer(False)
    async with shown(app, guest) as scene:
        view = scene.window.view
        await scene.until(lambda: view.size().toTuple() == (640, 480), "the guest's size")
        put: list[object] = []
        monkeypatch.setattr(view, "_put_back", lambda: (put.append(1), setattr(view, "_is_put_back", True)))
        view.is_captured, view._mouse_at = True, view.rect().center()

        def at(x: int, y: int) -> None:
            place = QPointF(view.rect().center() + QPoint(x, y))
            none = Qt.MouseButton.NoButton
            scene.app.sendEvent(
                view, QMouseEvent(QEvent.Type.MouseMove, place, place, none, none, Qt.KeyboardModifier.NoModifier)
            )

        at(50, 0)
        assert not put
        # The last two of these are on their way while the pointer is put back.
        for x in (130, 150, 170):
            at(x, 0)
        assert len(put) == 1
        at(0, 0)
        at(10, 5)
        await scene.until(lambda: sum(event.dy for event in guest.seen.pointer) == 5)  # type: ignore[union-attr]
        assert sum(event.dx for event in guest.seen.pointer) == 180  # type: ignore[union-attr]
        view.is_captured = False


async def test_the_end_is_told_and_reconnecting_helps(scene: Scene) -> None:
    before = scene.window.view.pictures
    for viewer in list(scene.server.viewers.values()):
        viewer.end(LinkError("the test ends it"))
    await scene.until(scene.window._over.isVisible, "the message")
    assert "ended" in scene.window._over.label.text()
    assert not scene.grab().isNull()
    assert isinstance(scene.window.console, ThreadedConsole)
    await asyncio.to_thread(scene.window.console.stop)
    QTest.mouseClick(scene.window._over.again, Qt.MouseButton.LeftButton)
    assert not scene.window._over.isVisible()
    await scene.until(lambda: scene.window.view.pictures > before, "a new picture")
    await scene.shows_the_guest()
    QTest.keyClick(scene.window.view, Qt.Key.Key_X)
    await scene.sees([Key(KEYS["x"], True), Key(KEYS["x"], False)])


async def test_what_happens_in_a_move_is_told(scene: Scene) -> None:
    scene.window.say("migrating to spice://b:5900", True)
    assert scene.window._said.text() == "migrating to spice://b:5900"
    assert not scene.window._silence.isActive()
    scene.window.say("moved to spice://b:5900 (seamless)", False)
    assert scene.window._silence.isActive()


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (Announced(HERE), ("migrating to spice://here:5900", True)),
        (Linked(HERE, Mode.SEAMLESS), ("migrating to spice://here:5900 (seamless)", True)),
        (Switching(HERE, Mode.SWITCH_HOST), ("migrating to spice://here:5900 (switch-host)", True)),
        (Reconnecting(HERE, LinkError("gone")), ("connecting anew to spice://here:5900: gone", True)),
        (Switched(HERE, Mode.SEAMLESS), ("moved to spice://here:5900 (seamless)", False)),
        (Cancelled(), ("the move was called off", False)),
        (Failed(LinkError("refused")), ("cannot follow: refused", False)),
        (ChannelGone((ChannelType.CURSOR, 0), LinkError("gone")), ("cursor 0 did not come along: gone", False)),
    ],
)
def test_every_report_has_its_words(report: Report, told: tuple[str, bool]) -> None:
    assert told_of(report) == told


async def opened(app: QApplication) -> ViewerWindow:
    """The window that a program opens."""
    while True:
        for window in app.topLevelWidgets():
            if isinstance(window, ViewerWindow) and window.isVisible() and window.console is not None:
                return window
        await asyncio.sleep(0.005)


async def test_a_program_shows_the_session_that_it_has(app: QApplication) -> None:
    guest = EmbeddedGuest(640, 480)
    async with (
        Server(guest, host="127.0.0.1", port=0) as server,
        caraway.connect(f"spice://127.0.0.1:{server.port}") as session,
    ):
        showing = asyncio.create_task(show_session(session, title="Mine"))
        async with asyncio.timeout(DEADLINE):
            window = await opened(app)
            await until(lambda: window.view.size_shown == (640, 480))
            assert window.windowTitle() == "Mine - Caraway"
            await session.inputs.press("x")
            QTest.keyClick(window.view, Qt.Key.Key_Y)
            await until(lambda: len(guest.seen.keys) >= 4)
            assert [key.code for key in guest.seen.keys if key.down] == [KEYS["x"], KEYS["y"]]
            window.close()
            await showing
        assert session.error is None

        showing = asyncio.create_task(show_session(session))
        async with asyncio.timeout(DEADLINE):
            window = await opened(app)
            showing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await showing
        assert not shiboken6.isValid(window)
        assert session.error is None

        showing = asyncio.create_task(show_session(session))
        async with asyncio.timeout(DEADLINE):
            await opened(app)
            for viewer in list(server.viewers.values()):
                viewer.end(LinkError("the test ends it"))
            await showing
        assert session.error is not None


async def test_a_session_that_cannot_begin_closes_the_window(app: QApplication) -> None:
    window = ViewerWindow(lambda last: caraway.connect("spice+unix:///nowhere/at/all"))
    window.show()
    async with asyncio.timeout(DEADLINE):
        while window.isVisible():
            app.processEvents()
            await asyncio.sleep(0.005)
    window.finish()
    assert isinstance(window.error, LinkError)


async def test_a_console_that_is_stopped_at_once_ends(app: QApplication) -> None:
    for _ in range(20):
        console = ThreadedConsole(lambda: caraway.connect("spice://127.0.0.1:1"))
        console.start()
        console.stop()
        assert not console._thread.is_alive()


@pytest.mark.parametrize(
    ("native", "key", "code"),
    [
        (9, 0, KEYS["esc"]),
        (38, 0, KEYS["a"]),
        (94, 0, KEYS["less"]),
        (104, 0, KEYS["kp_enter"]),
        (108, 0, KEYS["altgr"]),
        (113, 0, KEYS["left"]),
        (127, 0, KEYS["pause"]),
        (133, 0, KEYS["super"]),
        (250, 0, None),
        (0, Qt.Key.Key_Q, KEYS["q"]),
        (0, Qt.Key.Key_Exclam, KEYS["1"]),
        (0, Qt.Key.Key_F12, KEYS["f12"]),
        (0, Qt.Key.Key_Udiaeresis, None),
        (0, Qt.Key.Key_VolumeUp, None),
    ],
)
def test_scancodes(native: int, key: int, code: int | None) -> None:
    assert scancode(native, key) == code


def test_every_key_that_a_client_knows_has_a_place() -> None:
    from caraway.viewer import keys

    assert set(keys._EVDEV.values()) <= set(KEYS.values())
    assert len(set(keys._EVDEV.values())) == len(keys._EVDEV)
    assert set(KEYS.values()) <= set(keys._EVDEV.values())
