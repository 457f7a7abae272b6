"""What is shown of a display: the last good picture until the new one is complete (spec/messages.md 2.2, 2.5, 2.10).

A channel's primary surface is destroyed and created at will, in mode switches and on arrival after a migration. The
screen follows it only from MARK on; until then it keeps the picture before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from caraway.canvas.region import Box, intersect
from caraway.canvas.surface import Surface
from caraway.wire.messages.display import Head


class Monitor(NamedTuple):
    """One monitor of the guest, as the part of the picture that it shows."""

    monitor_id: int
    box: Box


@dataclass(frozen=True, slots=True)
class Change:
    """One visible change.

    boxes: where the picture changed; all of it after a new picture or another arrangement of monitors.
    new_picture: the surface is another one, perhaps of another size.
    """

    serial: int
    boxes: Sequence[Box]
    new_picture: bool = False


class Screen:
    """The picture of one display.

    surface: what is shown; None before the first picture. The screen never draws on it, and it keeps its pixels after
    `lost`: the channel only lets go of it. Read it at once or copy it, the channel draws on it with its next message.
    serial: counts visible changes. generation: counts pictures (surfaces that came to be shown).
    """

    def __init__(self) -> None:
        self.surface: Surface | None = None
        self.serial = 0
        self.generation = 0
        self._heads: Sequence[Head] = ()
        self._next: Surface | None = None
        self._next_heads: Sequence[Head] | None = None
        self._live = False
        self._listeners: list[Callable[[Change], None]] = []

    @property
    def live(self) -> bool:
        """Whether the picture is the primary surface of now, not the last good one of a surface that is gone."""
        return self._live

    @property
    def monitors(self) -> list[Monitor]:
        """The guest's monitors within the picture, but for those switched off; all of it if nobody named any."""
        if self.surface is None:
            return []
        bounds = self.surface.bounds
        named = [
            Monitor(head.monitor_id, box)
            for head in self._heads
            if (box := intersect(Box(head.x, head.y, head.x + head.width, head.y + head.height), bounds))
        ]
        return named or [Monitor(0, bounds)]

    def begin(self, primary: Surface) -> None:
        """A primary surface was created: show it from the next MARK on, and keep the picture until then."""
        self._next = primary
        self._live = False

    def mark(self) -> None:
        """The contents of the primary surface are meaningful from here on: show it."""
        if self._next is None:
            return
        self.surface, self._next = self._next, None
        self._live = True
        self.generation += 1
        if self._next_heads is not None:
            self._heads, self._next_heads = self._next_heads, None
        self._changed(self.surface.bounds, new_picture=True)

    def freeze(self) -> None:
        """Keep the picture as it is until the next MARK: what the channel draws until then is not to be seen."""
        if self._live and self.surface is not None:
            self._next, self.surface = self.surface, self.surface.copy()
            self._live = False

    def damage(self, boxes: Sequence[Box]) -> None:
        """The primary surface was drawn on in these rectangles. Not visible before its MARK."""
        if self._live and boxes:
            self.serial += 1
            self._tell(Change(self.serial, boxes))

    def lost(self) -> None:
        """The primary surface was destroyed, or its channel is gone: keep the picture."""
        self._next = None
        self._live = False

    def spoilt(self) -> None:
        """The primary surface is lost with a drawing half done: what showed it has no picture any more."""
        if self._live:
            self.surface = None
        self.lost()

    def set_heads(self, heads: Sequence[Head]) -> None:
        """MONITORS_CONFIG: holds for the primary surface of now, and becomes visible with it."""
        if not self._live:
            self._next_heads = list(heads)
            return
        before = self.monitors
        self._heads = list(heads)
        if self.surface is not None and self.monitors != before:
            self._changed(self.surface.bounds)

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` at every visible change, in the middle of drawing: it should only take note.

        Returns a function that ends this.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _changed(self, bounds: Box, *, new_picture: bool = False) -> None:
        self.serial += 1
        self._tell(Change(self.serial, [bounds], new_picture))

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)
