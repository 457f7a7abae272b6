"""Cursor channel: the pointer's shape and place (spec/messages.md 3)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U8, U16, U64, Bool8, Buffer, IfNot, Rest, Struct, struct
from caraway.wire.messages.base import Message, message
from caraway.wire.messages.shapes import Point16

CURSOR, SERVER = ChannelType.CURSOR, Sender.SERVER


class CursorFlags(enum.IntFlag):
    """Where a shape comes from and goes to."""

    NONE = 1
    """There is no shape."""
    CACHE_ME = 2
    FROM_CACHE = 4
    """Only `unique` counts; everything else is that of the cached shape."""


class CursorType(enum.IntEnum):
    """Layout of a shape's pixels."""

    ALPHA = 0
    MONO = 1
    COLOR4 = 2
    COLOR8 = 3
    COLOR16 = 4
    COLOR24 = 5
    COLOR32 = 6


@struct
class CursorShape(Struct):
    """A pointer's picture."""

    unique: U64
    """Key in the cursor cache."""
    type: Annotated[CursorType, U8]
    width: U16
    height: U16
    hot_spot_x: U16
    hot_spot_y: U16
    data: Annotated[Buffer, Rest]
    """Pixels, palette and mask, of a size that type, width and height give."""


@struct
class Cursor(Struct):
    """What the pointer looks like, if there is one."""

    flags: Annotated[CursorFlags, U16]
    shape: Annotated[CursorShape | None, IfNot("flags", CursorFlags.NONE)]


@message(CURSOR, 101, sent_by=SERVER)
class Init(Message):
    """The pointer as it is now; comes again with a new primary surface."""

    position: Point16
    trail_length: U16
    trail_frequency: U16
    visible: Bool8
    cursor: Cursor


@message(CURSOR, 102, sent_by=SERVER)
class Reset(Message):
    """No pointer, and no shape."""


@message(CURSOR, 103, sent_by=SERVER)
class Set(Message):
    """A new shape."""

    position: Point16
    visible: Bool8
    cursor: Cursor


@message(CURSOR, 104, sent_by=SERVER)
class Move(Message):
    """A new place of the hot spot; the pointer is visible."""

    position: Point16


@message(CURSOR, 105, sent_by=SERVER)
class Hide(Message):
    """The pointer is not visible."""


@message(CURSOR, 106, sent_by=SERVER)
class Trail(Message):
    """Pointer trails; clients ignore them."""

    length: U16
    frequency: U16


@message(CURSOR, 107, sent_by=SERVER)
class InvalOne(Message):
    """Forget one cached shape."""

    unique: U64


@message(CURSOR, 108, sent_by=SERVER)
class InvalAll(Message):
    """Forget all cached shapes."""
