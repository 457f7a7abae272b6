"""What one picture lacks of another: a region of boxes, and copies to be made first.

A viewer that falls behind costs its backlog and nothing more: boxes are bounded in number and merged, so a region may
say more than was damaged, never less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caraway.canvas.region import Box, bounding_box, intersect

MAX_BOXES = 32
"""Of a region. What is more is merged: the pixels between boxes cost less than many boxes."""

MAX_COPIES = 16
"""That may wait for a viewer. Further ones become damage."""

CELL_WIDTH, CELL_HEIGHT = 512, 256
"""Pixels of a cell: what is encoded at once, some milliseconds of work. All viewers of a display cut their regions by
the same grid, and so find the same pieces."""

_SMALL_WASTE = 512
"""Pixels that may be sent in vain to send one box instead of two."""


class Copy(NamedTuple):
    """What `box` shows came from (dx, dy) pixels left and above of it."""

    box: Box
    dx: int
    dy: int

    @property
    def source(self) -> Box:
        """Where it came from."""
        return self.box.moved(-self.dx, -self.dy)


def area(boxes: Iterable[Box]) -> int:
    """Pixels of disjoint boxes."""
    return sum(box.width * box.height for box in boxes)


class Region:
    """Disjoint boxes, at most about MAX_BOXES."""

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        self.boxes: list[Box] = []
        self._next_cell = (0, 0)
        for box in boxes:
            self.add(box)

    def __repr__(self) -> str:
        return f"<Region {self.boxes}>"

    def __bool__(self) -> bool:
        return bool(self.boxes)

    def __iter__(self) -> Iterator[Box]:
        return iter(self.boxes)

    def clear(self) -> None:
        """No boxes."""
        self.boxes = []

    def add(self, box: Box) -> None:
        """These pixels too."""
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        self._put(box)
        while len(self.boxes) > MAX_BOXES:
            last = self.boxes.pop()
            nearest = min(self.boxes, key=lambda other: _waste(last, other))
            self.boxes.remove(nearest)
            self._put(bounding_box((last, nearest)))

    def _put(self, box: Box) -> None:
        if any(_contains(other, box) for other in self.boxes):
            return
        rest = self.boxes
        while near := _near(box, rest):
            rest = [other for other in rest if other not in near]
            box = bounding_box((box, *near))
        self.boxes = _cut(rest, box)
        self.boxes.append(box)

    def remove(self, box: Box) -> None:
        """These pixels no more."""
        self.boxes = _cut(self.boxes, box)

    def within(self, box: Box) -> list[Box]:
        """What lies in a box."""
        return [part for other in self.boxes if (part := intersect(other, box)) is not None]

    def covers(self, box: Box) -> bool:
        """Whether one of the boxes holds all of this one."""
        return any(_contains(other, box) for other in self.boxes)

    def copy(self, copy: Copy) -> None:
        """Pixels were moved: what was lacking where they come from is lacking where they are now."""
        moved = [part.moved(copy.dx, copy.dy) for part in self.within(copy.source)]
        self.remove(copy.box)
        for part in moved:
            self.add(part)

    def take_all(self) -> list[Box]:
        """Remove everything, and give it."""
        boxes, self.boxes = self.boxes, []
        return boxes

    def take_cell(self) -> list[Box]:
        """Remove what lies in one cell of the grid, and give it. Each has its turn, however often others change."""
        cell = min(filter(None, (_first_cell(box, self._next_cell) for box in self.boxes)), default=None)
        if cell is None:
            self._next_cell = (0, 0)
            if not self.boxes:
                return []
            return self.take_cell()
        row, column = cell
        self._next_cell = row, column + 1
        left, top = column * CELL_WIDTH, row * CELL_HEIGHT
        bounds = Box(left, top, left + CELL_WIDTH, top + CELL_HEIGHT)
        taken = self.within(bounds)
        self.remove(bounds)
        return taken


class Backlog:
    """How far a viewer's picture is behind: it equals the display's once `copies` and then `dirty` have been sent."""

    def __init__(self) -> None:
        self.copies: deque[Copy] = deque()
        self.dirty = Region()
        self.lossy = Region()
        """What was sent with loss."""
        self.streamed: list[Box] = []
        """Where videos are streamed: nothing there counts as lacking."""

    def __bool__(self) -> bool:
        return bool(self.copies or self.dirty)

    def restart(self, boxes: Iterable[Box]) -> None:
        """The viewer has nothing of these."""
        self.copies.clear()
        self.dirty, self.lossy = Region(boxes), Region()

    def damage(self, box: Box) -> None:
        """These pixels have changed."""
        self.dirty.add(box)
        for streamed in self.streamed:
            self.dirty.remove(streamed)

    def copy(self, copy: Copy) -> None:
        """Pixels were moved."""
        if len(self.copies) == MAX_COPIES or self.dirty.covers(copy.source) or self._meets_stream(copy):
            self.damage(copy.box)
        elif not self.dirty.covers(copy.box):
            self.copies.append(copy)
            self.dirty.copy(copy)
            self.lossy.copy(copy)

    def stream(self, boxes: Iterable[Box]) -> None:
        """Videos are streamed here, and no longer elsewhere. What the viewer shows there is not what copies expect."""
        self.streamed = list(boxes)
        if any(map(self._meets_stream, self.copies)):
            for copy in self.copies:
                self.dirty.add(copy.box)
            self.copies.clear()
        for box in self.streamed:
            self.dirty.remove(box)
            self.lossy.remove(box)

    def _meets_stream(self, copy: Copy) -> bool:
        return any(intersect(box, copy.box) or intersect(box, copy.source) for box in self.streamed)

    def sent(self, box: Box, *, lossy: bool) -> None:
        """These pixels are on their way."""
        if lossy:
            self.lossy.add(box)
        else:
            self.lossy.remove(box)


def _contains(outer: Box, inner: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def _near(box: Box, others: Iterable[Box]) -> list[Box]:
    """Those to be sent as one with a box. Most are so far away that it need not be reckoned how much it would waste."""
    left, top, right, bottom = box
    across, down = _SMALL_WASTE // (bottom - top), _SMALL_WASTE // (right - left)
    left, top, right, bottom = left - across, top - down, right + across, bottom + down
    return [
        other
        for other in others
        if other[1] <= bottom
        and other[3] >= top
        and other[0] <= right
        and other[2] >= left
        and _waste(box, other) <= _SMALL_WASTE
    ]


def _cut(boxes: Iterable[Box], hole: Box) -> list[Box]:
    """Boxes without what lies in another one."""
    left, top, right, bottom = hole
    kept: list[Box] = []
    for box in boxes:
        if box[1] >= bottom or box[3] <= top or box[0] >= right or box[2] <= left:
            kept.append(box)
        else:
            kept += _without(box, hole)
    return kept


def _waste(one: Box, other: Box) -> int:
    """Pixels of the box around two that are in neither."""
    left, top, right, bottom = one
    left2, top2, right2, bottom2 = other
    wide, narrow = (max(right, right2) - min(left, left2)), (min(right, right2) - max(left, left2))
    high, low = (max(bottom, bottom2) - min(top, top2)), (min(bottom, bottom2) - max(top, top2))
    waste = wide * high - (right - left) * (bottom - top) - (right2 - left2) * (bottom2 - top2)
    return waste + narrow * low if narrow > 0 and low > 0 else waste


def _without(box: Box, hole: Box) -> list[Box]:
    """What is left of a box, as disjoint boxes."""
    shared = intersect(box, hole)
    if shared is None:
        return [box]
    if shared == box:
        return []
    pieces = (
        Box(box.left, box.top, box.right, shared.top),
        Box(box.left, shared.top, shared.left, shared.bottom),
        Box(shared.right, shared.top, box.right, shared.bottom),
        Box(box.left, shared.bottom, box.right, box.bottom),
    )
    return [piece for piece in pieces if piece.width > 0 and piece.height > 0]


def _first_cell(box: Box, start: tuple[int, int]) -> tuple[int, int] | None:
    """The first cell, row by row from `start` on, that has a part of a box."""
    row, column = start
    first_row, last_row = box.top // CELL_HEIGHT, (box.bottom - 1) // CELL_HEIGHT
    first, last = box.left // CELL_WIDTH, (box.right - 1) // CELL_WIDTH
    if row < first_row:
        return first_row, first
    if row <= last_row and column <= last:
        return row, max(column, first)
    return (row + 1, first) if row < last_row else None
