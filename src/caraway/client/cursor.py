"""The cursor channel: the pointer's shape and place (spec/messages.md 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from caraway.canvas.cursor import CursorShape, decode_cursor
from caraway.client.channel import Channel
from caraway.client.connection import Connection
from caraway.errors import ProtocolError
from caraway.wire.constants import ChannelType
from caraway.wire.messages.cursor import (
    Cursor,
    CursorFlags,
    Hide,
    Init,
    InvalAll,
    InvalOne,
    Move,
    Reset,
    Set,
)
from caraway.wire.messages.handlers import handles

if TYPE_CHECKING:
    from caraway.client.session import Session

CACHE_SIZE = 256
"""Shapes that a server may have cached at its client at once; what makes room for one is said behind it."""

MAX_CACHED = 64 << 20
"""Bytes of the shapes in the cache: 256 of 256x256 pixels; usual ones have 64x64."""


class CursorChannel(Channel):
    """What the pointer looks like and where it is. Display n's pointer is on cursor channel n."""

    channel_type = ChannelType.CURSOR

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        super().__init__(session, id, connection)
        self.shape: CursorShape | None = None
        """None: the guest has no pointer of its own, or draws it itself."""
        self.position = (0, 0)
        """Where the hot spot is, pixels of the display's primary surface. Not updated in mouse mode CLIENT."""
        self.visible = False
        self._cache: dict[int, CursorShape] = {}
        self._listeners: list[Callable[[], None]] = []

    def reset(self) -> None:
        self._cache.clear()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever shape, place or visibility are others. Returns a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @handles(Init, Set)
    def _set(self, message: Init | Set) -> None:
        self.position = (message.position.x, message.position.y)
        self.visible = message.visible
        self.shape = self._shape(message.cursor)
        self._changed()

    def _shape(self, cursor: Cursor) -> CursorShape | None:
        shape = cursor.shape
        if shape is None:
            return None
        if cursor.flags & CursorFlags.FROM_CACHE:
            try:
                return self._cache[shape.unique]
            except KeyError:
                raise ProtocolError(f"{self.name}: cursor {shape.unique:#x} is not in the cache") from None
        image = decode_cursor(
            shape.type, shape.width, shape.height, shape.data, hot_x=shape.hot_spot_x, hot_y=shape.hot_spot_y
        )
        if cursor.flags & CursorFlags.CACHE_ME:
            self._cache[shape.unique] = image
            if len(self._cache) > CACHE_SIZE + 1:
                raise ProtocolError(f"{self.name}: more than {CACHE_SIZE} cached cursors")
            size = sum(len(cached.bgra) for cached in self._cache.values())
            if size > MAX_CACHED:
                raise ProtocolError(f"{self.name}: cached cursors of {size} bytes, limit {MAX_CACHED}")
        return image

    @handles(Reset)
    def _reset(self, message: Reset) -> None:
        self.shape, self.visible = None, False
        self._changed()

    @handles(Move)
    def _move(self, message: Move) -> None:
        self.position, self.visible = (message.position.x, message.position.y), True
        self._changed()

    @handles(Hide)
    def _hide(self, message: Hide) -> None:
        self.visible = False
        self._changed()

    @handles(InvalOne)
    def _inval_one(self, message: InvalOne) -> None:
        self._cache.pop(message.unique, None)

    @handles(InvalAll)
    def _inval_all(self, message: InvalAll) -> None:
        self._cache.clear()
