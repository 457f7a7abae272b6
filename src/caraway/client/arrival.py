"""From one picture of a display to the next: after a change of the guest's mode, and at another host.

A server creates the new surface and MARKs it before it is drawn on; the target of a migration shows a placeholder and
creates its surface several times (spec/migration.md 15, D-06). Until the guest's picture is complete the screen keeps
what it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from caraway.canvas.region import Box, intersect, union
from caraway.canvas.screen import Screen
from caraway.canvas.surface import Surface

QUIET = 0.3
"""Seconds without a drawing after which a marked picture counts as the guest's, whatever its size."""

PAINTING = 0.04
"""Seconds without a new part after which a picture on a surface of one colour counts as complete: QEMU leaves out what
has that colour."""

MAX_PIECES = 128
"""Rectangles of a picture drawn piece by piece that are put together; one of more pieces counts as complete."""

PATIENCE = 3.0
"""Seconds after which a picture is shown though it never rests: a guest may have changed its mode and play."""

PLACEHOLDER_TEXT = Box(0, 224, 640, 240)
"""Where QEMU writes that the guest has not initialised its display: the middle row of its 640x480 placeholder."""


def _is_blank(surface: Surface) -> bool:
    """Whether all pixels are the same: what a surface looks like before the guest's picture is on it."""
    pixel = surface.data[: surface.pixel_bytes]
    return surface.data == pixel * (surface.width * surface.height)


def _area(boxes: Sequence[Box]) -> int:
    return sum(box.width * box.height for box in boxes)


class Arrival:
    """Decides when a new primary surface replaces the old picture: once drawn in full and not in one colour, or rested.

    same_size: at the target of a migration only a surface of the old picture's size is taken for the guest's; another
    one has to rest. arrived: called when it has.
    """

    def __init__(self, screen: Screen, arrived: Callable[[], None], *, same_size: bool) -> None:
        self._screen = screen
        self._arrived = arrived
        self._same_size = same_size
        self._due: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self.begin(None)

    def begin(self, surface: Surface | None) -> None:
        """A new primary surface, or None: the last one is gone."""
        self._next = surface
        self._parts: list[Box] = []
        """Where the picture was drawn since the surface was last of one colour."""
        self._drawings = 0
        self._marked = self._full = self._was_blank = self._has_colours = False
        self._adopt_after(None)

    def mark(self) -> None:
        """The new surface is meaningful."""
        if self._next is None:
            return
        self._marked = True
        self._consider()

    def drawn(self, boxes: Sequence[Box]) -> None:
        """The new surface was drawn on."""
        if self._next is None:
            return
        self._drawings += 1
        if self._next.bounds in boxes:
            self._parts, self._full, self._has_colours = [], False, False
        self._has_colours = self._has_colours or not _is_blank(self._next)
        self._was_blank = self._was_blank or not self._has_colours
        before = _area(self._parts)
        if self._has_colours and not self._full:
            self._parts = union([*self._parts, *boxes])
            self._full = _area(self._parts) == _area([self._next.bounds]) or len(self._parts) > MAX_PIECES
        self._consider(is_more=_area(self._parts) > before)

    def stop(self) -> None:
        """Decide nothing more."""
        self._adopt_after(None)
        if self._patience is not None:
            self._patience.cancel()

    def _may_show(self, old: Surface, new: Surface) -> bool:
        """Whether the guest's picture may be on the new surface.

        The target of a paused VM has an empty one until the VM runs: never drawn on, or once in one colour (D-07).
        """
        if not self._marked or not self._same_size:
            return self._marked
        return self._drawings > 1 or (self._drawings == 1 and (new.data == old.data or not _is_blank(new)))

    def _consider(self, *, is_more: bool = True) -> None:
        old, new = self._screen.surface, self._next
        if old is None or new is None or not self._may_show(old, new):
            return
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._lose_patience)
        if (self._same_size and old.bounds != new.bounds) or not self._has_colours:
            self._adopt_after(QUIET)
        elif self._full:
            self._adopt()
        elif not self._was_blank:
            self._adopt_after(QUIET)
        elif is_more:
            self._adopt_after(PAINTING)

    def _lose_patience(self) -> None:
        self._patience = None
        self._adopt()

    def _adopt(self) -> None:
        old, new = self._screen.surface, self._next
        if old is not None and new is not None and self._may_show(old, new):
            self.stop()
            self._screen.mark()
            self._arrived()

    def _adopt_after(self, seconds: float | None) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._adopt)


class Settling:
    """The picture after a seamless move, until the target draws what the guest shows.

    Before its VM runs QEMU writes its placeholder's text on the surface that it has taken over.
    arrived: called when the guest's picture is shown.
    """

    def __init__(self, screen: Screen, arrived: Callable[[], None]) -> None:
        self._screen = screen
        self._arrived = arrived
        self._patience: asyncio.TimerHandle | None = None
        screen.freeze()

    def mark(self) -> None:
        """The surface is meaningful: it was before."""

    def drawn(self, boxes: Sequence[Box]) -> None:
        """The surface was drawn on."""
        if any(intersect(box, PLACEHOLDER_TEXT) != box for box in boxes):
            self._adopt()
        elif self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._adopt)

    def stop(self) -> None:
        """Decide nothing more."""
        if self._patience is not None:
            self._patience.cancel()

    def _adopt(self) -> None:
        self.stop()
        self._screen.mark()
        self._arrived()
