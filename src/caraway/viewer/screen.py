"""The guest's screen as a widget: pictures, pointer, keys and mouse."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QCursor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from caraway.canvas.cursor import CursorShape
from caraway.canvas.region import Box
from caraway.canvas.surface import Surface
from caraway.client.inputs import Button
from caraway.client.keyboard import KEYS
from caraway.viewer.console import Console
from caraway.viewer.keys import scancode
from caraway.wire.messages.display import SurfaceFormat

BACKGROUND = QColor(0x10, 0x14, 0x16)
NOTCH = 120
"""Of a wheel's angle: one step."""
RELEASE = {KEYS["ctrl"], KEYS["alt"]}
"""Held together they let go of a captured mouse."""

BUTTONS: dict[Qt.MouseButton, Button] = {
    Qt.MouseButton.LeftButton: "left",
    Qt.MouseButton.MiddleButton: "middle",
    Qt.MouseButton.RightButton: "right",
    Qt.MouseButton.BackButton: "side",
    Qt.MouseButton.ForwardButton: "extra",
}
FORMATS = {
    SurfaceFormat.A1: QImage.Format.Format_Grayscale8,
    SurfaceFormat.A8: QImage.Format.Format_Grayscale8,
    SurfaceFormat.RGB555: QImage.Format.Format_RGB555,
    SurfaceFormat.RGB565: QImage.Format.Format_RGB16,
    SurfaceFormat.XRGB32: QImage.Format.Format_RGB32,
    SurfaceFormat.ARGB32: QImage.Format.Format_RGB32,
}


class ScreenWidget(QWidget):
    """Shows a console's screen and sends it what is typed and clicked."""

    capture_changed = Signal(bool)
    """The mouse was captured, or let go."""

    def __init__(self, *, enlarge: bool = False) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.console: Console | None = None
        self.pictures = 0
        """How often the picture has changed."""
        self.is_captured = self._is_put_back = False
        self._mouse_at = QPoint()
        self._surface: Surface | None = None
        self._image: QImage | None = None
        self._pressed: list[int] = []
        """Scancodes whose press the guest has seen, or will."""
        self._buttons: set[Qt.MouseButton] = set()
        """Those whose press the guest has seen."""
        self._wheel = 0
        self._shape: CursorShape | None = None
        self._pointer: QPixmap | None = None
        self._pointer_box = QRect()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)

    def show_console(self, console: Console) -> None:
        """Show this one from now on; the picture stays until it has one."""
        self.console = console
        self._pressed.clear()
        self._buttons.clear()
        console.changed.connect(self._changed)
        console.cursor_changed.connect(self._cursor_changed)

    @property
    def size_shown(self) -> tuple[int, int]:
        """Pixels of the guest's picture."""
        return (self._surface.width, self._surface.height) if self._surface else (0, 0)

    # pictures

    def target(self) -> QRectF:
        """Where the picture is on the widget: in its middle, as it is where it fits, else smaller."""
        width, height = self.size_shown
        if not width:
            return QRectF()
        scale = min(self.width() / width, self.height() / height)
        if not self.enlarge:
            scale = min(scale, 1.0)
        x, y = int(self.width() - width * scale) // 2, int(self.height() - height * scale) // 2
        return QRectF(x, y, width * scale, height * scale)

    def _changed(self) -> None:
        if self.console is None:
            return
        boxes, is_new = self.console.take()
        self.pictures += 1
        if self._follow() or is_new:
            self.update()
            self._cursor_changed()
        if self._surface is not None:
            for box in boxes:
                self.update(self._on_widget(box))

    def _follow(self) -> bool:
        """See to it that the surface is the one that the session shows now. True: it was another."""
        screen = self.console.screen if self.console else None
        surface = screen.surface if screen else None
        if surface is None or surface is self._surface:
            return False
        self._surface = surface
        self._image = QImage(surface.data, surface.width, surface.height, surface.stride, FORMATS[surface.format])
        return True

    def _on_widget(self, box: Box) -> QRect:
        target, (width, height) = self.target(), self.size_shown
        x, y = target.width() / width, target.height() / height
        part = QRectF(target.x() + box.left * x, target.y() + box.top * y, box.width * x, box.height * y)
        # Where the picture is smoothed, a pixel colours its neighbours.
        return part.toAlignedRect() if x == 1 else part.toAlignedRect().adjusted(-2, -2, 2, 2)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        if self._follow():
            self.update()
        painter = QPainter(self)
        image, target, changed = self._image, self.target(), event.rect()
        if image is None or not target.toAlignedRect().contains(changed):
            painter.fillRect(changed, BACKGROUND)
        if image is not None and target.width() == image.width():
            seen = changed.intersected(target.toRect())
            painter.drawImage(seen, image, seen.translated(-target.topLeft().toPoint()))
        elif image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(target, image, QRectF(image.rect()))
        if self._pointer is not None and not self._pointer_box.isNull():
            painter.drawPixmap(self._pointer_box.topLeft(), self._pointer)
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        self._cursor_changed()

    # the pointer

    def _cursor_changed(self) -> None:
        """Give the window the guest's pointer; draw it in the picture where the guest moves it by itself."""
        console, channel = self.console, self.console.cursor if self.console else None
        if console is None or channel is None:
            self.setCursor(Qt.CursorShape.ArrowCursor)
            return
        shape = channel.shape if channel.visible else None
        if shape is not self._shape:
            self._shape = shape
            self._pointer = _pixmap(shape) if shape else None
        self.update(self._pointer_box)
        self._pointer_box = QRect()
        if console.is_absolute:
            self.setCursor(self._own_cursor(shape))
            return
        self.setCursor(Qt.CursorShape.BlankCursor if self.is_captured else Qt.CursorShape.ArrowCursor)
        if shape is not None and self._pointer is not None and self._surface is not None:
            x, y = channel.position
            place = self._on_widget(Box(x - shape.hot_x, y - shape.hot_y, x, y)).topLeft()
            self._pointer_box = QRect(place, self._pointer.size())
            self.update(self._pointer_box)

    def _own_cursor(self, shape: CursorShape | None) -> QCursor:
        if shape is None or self._pointer is None:
            return QCursor(Qt.CursorShape.BlankCursor)
        return QCursor(self._pointer, shape.hot_x, shape.hot_y)

    # keys

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        code = scancode(event.nativeScanCode(), event.key())
        if code is None or self.console is None:
            return
        if self.console.key_down(code) and code not in self._pressed:
            self._pressed.append(code)
        if self.is_captured and RELEASE.issubset(self._pressed):
            self.capture(False)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        code = scancode(event.nativeScanCode(), event.key())
        if code in self._pressed and not event.isAutoRepeat():
            self._release_keys([code])

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: N802
        """Tab is the guest's."""
        return False

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        self.release()

    def release(self) -> None:
        """Release what is held, and the mouse: the window will not hear of it."""
        self._release_keys(self._pressed[::-1])
        for button in list(self._buttons):
            self._release_button(button)
        self.capture(False)

    def _release_keys(self, codes: list[int]) -> None:
        for code in codes:
            self._pressed.remove(code)
            if self.console is not None:
                self.console.key_up(code)

    def _release_button(self, button: Qt.MouseButton) -> None:
        self._buttons.remove(button)
        if self.console is not None:
            self.console.button_up(BUTTONS[button])

    # mouse

    def _pixel(self, at: QPointF) -> tuple[int, int]:
        """The guest's pixel below a place, or the nearest."""
        target, (width, height) = self.target(), self.size_shown
        x = int((at.x() - target.x()) * width / target.width())
        y = int((at.y() - target.y()) * height / target.height())
        return max(0, min(x, width - 1)), max(0, min(y, height - 1))

    def capture(self, on: bool) -> None:
        """Keep the mouse about the middle of the widget and send how it is moved, keep the keyboard; or let go."""
        if on == self.is_captured:
            return
        self.is_captured = on
        if on:
            self.grabMouse()
            self.grabKeyboard()
            self._mouse_at = self.mapFromGlobal(QCursor.pos())
            self._put_back()
        else:
            self.releaseMouse()
            self.releaseKeyboard()
        self._cursor_changed()
        self.capture_changed.emit(on)

    def _motion(self, at: QPoint) -> None:
        """Send how the captured mouse has moved since it was heard of last."""
        far = (at - self.rect().center()).manhattanLength()
        # There may be word of moves from before it was put back.
        if self._is_put_back and far < (at - self._mouse_at).manhattanLength():
            self._mouse_at, self._is_put_back = self.rect().center(), False
        moved, self._mouse_at = at - self._mouse_at, at
        if self.console is not None and not moved.isNull():
            self.console.move(moved.x(), moved.y())
        if far > min(self.width(), self.height()) // 4 and not self._is_put_back:
            self._put_back()

    def _put_back(self) -> None:
        self._is_put_back = True
        QCursor.setPos(self.mapToGlobal(self.rect().center()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self.console is None or self._surface is None:
            return
        if self.console.is_absolute:
            self.capture(False)
            self.console.place(*self._pixel(event.position()))
        elif self.is_captured:
            self._motion(event.position().toPoint())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        name = BUTTONS.get(event.button())
        if self.console is None or self._surface is None or name is None:
            return
        if self.console.is_absolute:
            self.console.place(*self._pixel(event.position()))
        elif not self.is_captured:
            self.capture(True)
            return
        if self.console.button_down(name):
            self._buttons.add(event.button())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() in self._buttons:
            self._release_button(event.button())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        self._wheel += event.angleDelta().y()
        steps = int(self._wheel / NOTCH)
        self._wheel -= steps * NOTCH
        if steps and self.console is not None:
            self.console.scroll(steps)


def _pixmap(shape: CursorShape) -> QPixmap:
    image = QImage(
        shape.without_invert(),
        shape.width,
        shape.height,
        4 * shape.width,
        QImage.Format.Format_ARGB32_Premultiplied,
    )
    return QPixmap.fromImage(image.copy())
