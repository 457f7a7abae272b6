"""The cursor channel: shape and place of a display's pointer (spec/messages.md 3).

A viewer gets the newest state when it can take more; what came between is lost on nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.canvas.cursor import CursorShape
from caraway.server.channel import ServerChannel
from caraway.server.connection import Connection
from caraway.wire.constants import ChannelType
from caraway.wire.messages import cursor as messages
from caraway.wire.messages.cursor import (
    Cursor,
    CursorFlags,
    CursorType,
    Hide,
    Init,
    InvalAll,
    InvalOne,
    Move,
    Set,
)
from caraway.wire.messages.main import MouseModes
from caraway.wire.messages.shapes import Point16

if TYPE_CHECKING:
    from caraway.server.guest import Guest
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

CACHED_SHAPES = 256
"""Shapes that a client keeps: the protocol's own number."""


class CursorChannel(ServerChannel):
    """The pointer of the display with the same id."""

    channel_type = ChannelType.CURSOR
    acked = True

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        return range(len(guest.displays))

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        self.display = self.guest.displays[id]
        self._cache: OrderedDict[CursorShape, int] = OrderedDict()
        self._next_unique = 1
        self._shape_changed = self._place_changed = False

    def start(self) -> None:
        shape, evicted = self._shape()
        self.send(Init(self._position(), 0, 0, self.display.cursor_visible, shape))
        self._forget(evicted)
        self._follow()

    def restore(self, state: MigrateDataBlob | None) -> None:
        self._follow()
        self._cursor_changed()

    def prepare(self) -> None:
        """The target knows nothing of what the client keeps."""
        self.send(InvalAll())

    def _follow(self) -> None:
        self.listen(self.display.cursor_changed, self._cursor_changed)
        self.listen(self.display.cursor_moved, self._cursor_moved)
        self.listen(self.viewer.mouse_mode_changed, self._cursor_moved)
        self.flow.on_room = self._update

    def _cursor_changed(self) -> None:
        self._shape_changed = True
        self._update()

    def _cursor_moved(self) -> None:
        self._place_changed = True
        self._update()

    def _update(self) -> None:
        """Send what has changed, if the viewer can take it."""
        if self._shape_changed and self.flow.room:
            self._shape_changed = self._place_changed = False
            if self.display.cursor is None:
                self.send(Hide())
                return
            shape, evicted = self._shape()
            self.send(Set(self._position(), self.display.cursor_visible, shape))
            self._forget(evicted)
        if self._place_changed and self.flow.room:
            self._place_changed = False
            if not self.display.cursor_visible:
                self.send(Hide())
            elif self.viewer.mouse_mode is MouseModes.SERVER:
                self.send(Move(self._position()))
            elif self.display.cursor is not None:
                shape, evicted = self._shape()
                self.send(Set(self._position(), True, shape))
                self._forget(evicted)

    def _position(self) -> Point16:
        x, y = self.display.cursor_position
        return Point16(max(-0x8000, min(x, 0x7FFF)), max(-0x8000, min(y, 0x7FFF)))

    def _shape(self) -> tuple[Cursor, int | None]:
        """The shape, from the client's cache if it is there; and the one that has to leave the cache for it."""
        shape = self.display.cursor
        if shape is None:
            return Cursor(CursorFlags.NONE, None), None
        unique = self._cache.get(shape)
        if unique is not None:
            self._cache.move_to_end(shape)
            return Cursor(CursorFlags.FROM_CACHE, _header(shape, unique, b"")), None
        unique, self._next_unique = self._next_unique, self._next_unique + 1
        self._cache[shape] = unique
        evicted = self._cache.popitem(last=False)[1] if len(self._cache) > CACHED_SHAPES else None
        return Cursor(CursorFlags.CACHE_ME, _header(shape, unique, shape.without_invert())), evicted

    def _forget(self, evicted: int | None) -> None:
        if evicted is not None:
            self.send(InvalOne(evicted))


def _header(shape: CursorShape, unique: int, data: bytes) -> messages.CursorShape:
    return messages.CursorShape(unique, CursorType.ALPHA, shape.width, shape.height, shape.hot_x, shape.hot_y, data)
