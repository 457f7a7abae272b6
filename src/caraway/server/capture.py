"""What was last seen of a display: one copy of its pixels, which all of its viewers are brought up to.

The guest says what it has changed, and changes more; nothing is looked at before a viewer can take it. Then pixels are
compared with the copy: what is the same is not sent again, what was moved is found, and viewers' backlogs grow by the
rest. A backlog counts from the copy, not from the guest's pixels, so that all viewers see the same moment.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from caraway.canvas.kernels.look import changed
from caraway.canvas.region import Box, bounding_box
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.codecs.glz import Dictionary
from caraway.server import scroll
from caraway.server.damage import MAX_COPIES, Backlog, Copy, Region, area
from caraway.server.encoder import Settings, choose, encode, solid_color
from caraway.server.guest import Display
from caraway.server.signal import Signal
from caraway.server.stream import FrameCache
from caraway.server.tiles import Tile, Tiles
from caraway.server.video import Streaming, VideoFinder
from caraway.wire.fields import Buffer
from caraway.wire.messages.draw import DrawCopy, DrawFill, Rop, ScaleMode
from caraway.wire.messages.images import (
    GlzImage,
    Image,
    ImageFlags,
    JpegImage,
    MaskFlags,
    QMask,
    SolidBrush,
    ZlibGlzImage,
)
from caraway.wire.messages.shapes import Point, Rect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_INTERVAL = 0.008
"""Seconds between two looks at a display: more than a hundred a second show nobody more."""

MAX_UNSEARCHED = 8
"""Large changes in which no moved content is looked for, where many had none: a video, say."""

REST = 2
"""How many times as long as a look took, until the next one."""

LOOK_INTERVAL = 0.033
"""Seconds after a change until it is looked at, though no viewer can take more: videos are found by their frames."""

_BAND = 32
"""Rows that are compared at once: a 4K screen's fit a processor's second cache."""
_GAP = 64
"""Columns without a change between two boxes."""

_image_ids = itertools.count(1)
NO_MASK = QMask(MaskFlags(0), Point(0, 0), None)


class View(Protocol):
    """A viewer of a display."""

    backlog: Backlog

    def wake(self) -> None:
        """There may be something to send."""


class Capture:
    """A copy of a display's pixels, and the viewers that look at it. It costs nothing while there are none."""

    def __init__(self, display: Display, streaming: str = Streaming.OFF) -> None:
        self.display = display
        self.changed: Signal[[Box]] = Signal()
        """Pixels of the copy are others now."""
        self.finder = VideoFinder(self, streaming)
        self.frames = FrameCache(self)
        self.box = Box(0, 0, 0, 0)
        """Size of the copy."""
        self.tiles = Tiles()
        self.views: list[View] = []
        self._pixels = bytearray()
        self._hints: list[Copy] = []
        self._pending = Region()
        self._resized = False
        self._futile_searches = self._unsearched = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._video_timer: asyncio.TimerHandle | None = None
        self._disconnects: list[Callable[[], None]] = []

    def attach(self, view: View) -> None:
        """A viewer has come: it lacks everything."""
        if not self.views:
            display = self.display
            self._disconnects = [
                display.damaged.connect(self._damaged),
                display.copied.connect(self._copied),
                display.resized.connect(self._was_resized),
            ]
            self._restart()
        self.views.append(view)
        view.backlog.restart(_whole(self.box))

    def detach(self, view: View) -> None:
        """A viewer has left."""
        self.views.remove(view)
        if not self.views:
            for disconnect in self._disconnects:
                disconnect()
            self.finder.clear()
            for timer in (self._timer, self._look_timer, self._video_timer):
                if timer is not None:
                    timer.cancel()
            self._timer = self._look_timer = self._video_timer = None
            self.box, self._pixels = Box(0, 0, 0, 0), bytearray()
            self.tiles.clear()
            self.frames.clear()

    def update(self) -> None:
        """Look at what the guest has changed since, unless it was looked at just now: then later."""
        if self._resized:
            self._resized = False
            if self.box != self.display.box:
                self._restart()
                return
            self._pending.add(self.box)
        if not (self._pending or self._hints) or not self.box.width:
            return
        began = time.monotonic()
        if began < self._due:
            self._wake_later()
            return
        self._compare()
        took = time.monotonic() - began
        self._due = began + max(MIN_INTERVAL, REST * took)
        self._wake_views()

    def finish(self) -> None:
        """Look at what the guest has changed last, now: it does not run any more."""
        self._due = 0.0
        self.update()

    def tile(self, box: Box, settings: Settings, dictionary: Dictionary | None = None) -> Tile:
        """A piece of the picture as a drawing message. What a dictionary was used for must be sent."""
        if dictionary is None:
            settings = settings.shareable()
        tile = self.tiles.get(box, settings)
        if tile is not None:
            return tile
        picture = self.picture(box)
        color = solid_color(picture)
        if color is not None:
            fill = DrawFill(0, rect_of(box), None, SolidBrush(color), Rop.OP_PUT, NO_MASK)
            return Tile(fill.id, fill.pack(), False)
        payload = encode(picture, choose(picture, settings), settings, dictionary)
        image = Image(next(_image_ids), ImageFlags(0), box.width, box.height, payload)
        area = Rect(0, 0, box.height, box.width)
        copy = DrawCopy(0, rect_of(box), None, image, area, Rop.OP_PUT, ScaleMode.INTERPOLATE, NO_MASK)
        tile = Tile(copy.id, copy.pack(), isinstance(payload, JpegImage))
        if len(self.views) > 1 and not isinstance(payload, GlzImage | ZlibGlzImage):
            self.tiles.put(box, settings, tile)
        return tile

    def picture(self, box: Box) -> Bitmap:
        """A piece of the copy, not copied again."""
        rows = memoryview(self._pixels)[box.top * self.stride + 4 * box.left :]
        return Bitmap(box.width, box.height, PixelFormat.BGRX32, self.stride, rows)

    @property
    def pixels(self) -> Buffer:
        """The copy."""
        return self._pixels

    @property
    def stride(self) -> int:
        """Bytes of a row of the copy."""
        return 4 * self.box.width

    def _restart(self) -> None:
        """Copy everything anew."""
        self.finder.clear()
        self.frames.clear()
        display = self.display
        self.box = display.box
        self._pixels = bytearray(4 * self.box.width * self.box.height)
        self._hints, self._pending, self._resized = [], Region(), False
        self.tiles.clear()
        if self._pixels:
            self._copied_words()[:] = self._guest_words()
        for view in self.views:
            view.backlog.restart(_whole(self.box))
            view.wake()

    def _damaged(self, box: Box) -> None:
        self._pending.add(box)
        self._wake_views()
        if self.finder.streaming is not Streaming.OFF and self._look_timer is None:
            due = max(self._due, time.monotonic() + LOOK_INTERVAL)
            self._look_timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        """A video is to be found also where no viewer can take its pictures."""
        self._look_timer = None
        self.update()

    def _videos_due(self) -> None:
        """A frame may be complete, a video may have ended."""
        if self._video_timer is not None:
            self._video_timer.cancel()
            self._video_timer = None
        self.finder.update(time.monotonic())
        if self.finder.deadline is not None:
            self._video_timer = asyncio.get_running_loop().call_at(self.finder.deadline, self._videos_due)

    def _copied(self, box: Box, dx: int, dy: int) -> None:
        if len(self._hints) < MAX_COPIES:
            self._hints.append(Copy(box, dx, dy))
        self._damaged(box)

    def _was_resized(self) -> None:
        self._resized = True
        self._wake_views()

    def _wake_views(self) -> None:
        for view in self.views:
            view.wake()

    def _wake_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._due, self._now_due)

    def _now_due(self) -> None:
        self._timer = None
        self._wake_views()

    def _compare(self) -> None:
        copied, guest = self._copied_words(), self._guest_words()
        hints, self._hints = self._hints, []
        for hint in hints:
            self._move(hint)
        boxes = self._pending.take_all()
        changed = [part for box in boxes for part in changes(copied, guest, box)]
        moved = self._find_moved(copied, guest, changed)
        if moved is not None:
            self._move(moved)
            suspects = Region((*changed, moved.box))
            changed = [part for box in suspects for part in changes(copied, guest, box)]
        now = time.monotonic()
        for box in changed:
            part = slice(box.top, box.bottom), slice(box.left, box.right)
            copied[part] = guest[part]
            self.tiles.changed(box)
            for view in self.views:
                view.backlog.damage(box)
            self._has_changed(box, now)
        self._videos_due()

    def _find_moved(self, copied: NDArray[np.uint32], guest: NDArray[np.uint32], changed: Sequence[Box]) -> Copy | None:
        """Look for moved content, less often the longer there was none."""
        if area(changed) < scroll.MIN_PIXELS:
            return None
        self._unsearched += 1
        if self._unsearched <= self._futile_searches:
            return None
        self._unsearched = 0
        moved = scroll.find(copied, guest, bounding_box(changed))
        self._futile_searches = 0 if moved is not None else min(self._futile_searches + 1, MAX_UNSEARCHED)
        return moved

    def _move(self, copy: Copy) -> None:
        """Move content, here and at the viewers."""
        words, box, source = self._copied_words(), copy.box, copy.source
        words[box.top : box.bottom, box.left : box.right] = words[
            source.top : source.bottom, source.left : source.right
        ].copy()
        self.tiles.changed(box)
        for view in self.views:
            view.backlog.copy(copy)
        self._has_changed(box, time.monotonic())

    def _has_changed(self, box: Box, now: float) -> None:
        self.finder.damage(box, now)
        self.changed(box)

    def _copied_words(self) -> NDArray[np.uint32]:
        import numpy as np

        return np.ndarray((self.box.height, self.box.width), "<u4", self._pixels)

    def _guest_words(self) -> NDArray[np.uint32]:
        import numpy as np

        display = self.display
        shape = display.height, display.width
        return np.ndarray(shape, "<u4", display.pixels, strides=(display.stride, 4))


def changes(before: NDArray[np.uint32], after: NDArray[np.uint32], box: Box) -> list[Box]:
    """Where pixels differ within a box: boxes around all of them."""
    found = [Box(*edges) for edges in changed(before, after, *box, _BAND, _GAP)]
    return list(Region(found)) if len(found) > 1 else found


def rect_of(box: Box) -> Rect:
    """A box as messages have it."""
    return Rect(box.top, box.left, box.bottom, box.right)


def _whole(box: Box) -> tuple[Box, ...]:
    return (box,) if box.width and box.height else ()
