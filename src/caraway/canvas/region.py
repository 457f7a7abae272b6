"""Rectangles, and the region of a drawing operation as disjoint rectangles (spec/canvas.md 1, 2)."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

from caraway.errors import ProtocolError

MAX_REGION_WORK = 1 << 19
"""Rectangles times the bands that they cross while a clip is made disjoint: about a second. Clips of guests come banded
already (one visit each, and a message holds at most 2^18); only thousands of overlapping strips need more."""


class RectLike(Protocol):
    """A half-open rectangle, as in messages."""

    @property
    def left(self) -> int: ...
    @property
    def top(self) -> int: ...
    @property
    def right(self) -> int: ...
    @property
    def bottom(self) -> int: ...


class PointLike(Protocol):
    """A point, as in messages."""

    @property
    def x(self) -> int: ...
    @property
    def y(self) -> int: ...


class Point(NamedTuple):
    """A place, pixels."""

    x: int
    y: int


class Box(NamedTuple):
    """A half-open rectangle: left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def moved(self, dx: int, dy: int) -> "Box":
        """The same rectangle, that much further right and down."""
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)


box_of = partial(tuple.__new__, Box)
"""A Box from a tuple, in half the time of `Box._make`."""


def intersect(one: RectLike, other: RectLike) -> Box | None:
    """What two rectangles share; None if nothing."""
    left, top, right, bottom = one.left, one.top, one.right, one.bottom
    if other.left > left:
        left = other.left
    if other.top > top:
        top = other.top
    if other.right < right:
        right = other.right
    if other.bottom < bottom:
        bottom = other.bottom
    return box_of((left, top, right, bottom)) if left < right and top < bottom else None


def bounding_box(boxes: Sequence[Box]) -> Box:
    """The smallest rectangle around some (at least one)."""
    if len(boxes) == 1:
        return boxes[0]
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def clipped(box: RectLike, bounds: RectLike, clip: Sequence[RectLike] | None) -> list[Box]:
    """`box` within `bounds` and within the union of `clip` (None: everywhere), as disjoint rectangles, top row first.

    Raises ProtocolError if the clip's rectangles overlap so much that this takes more than MAX_REGION_WORK.
    """
    within = intersect(box, bounds)
    if within is None:
        return []
    if clip is None:
        return [within]
    if len(clip) == 1:
        part = intersect(within, clip[0])
        return [] if part is None else [part]
    return union([part for rect in clip if (part := intersect(within, rect))])


def union(rects: Sequence[RectLike]) -> list[Box]:
    """Disjoint rectangles that cover the same pixels, top row first.

    Raises ProtocolError beyond MAX_REGION_WORK.
    """
    boxes = sorted((Box(*_sides(rect)) for rect in rects), key=lambda box: box.top)
    if len(boxes) <= 1:
        return boxes
    done: list[Box] = []
    growing: list[Box] = []
    for top, bottom, spans in _bands(boxes):
        if growing and growing[0].bottom == top and [(box.left, box.right) for box in growing] == spans:
            growing = [box._replace(bottom=bottom) for box in growing]
        else:
            done += growing
            growing = [Box(left, top, right, bottom) for left, right in spans]
    return done + growing


def _sides(rect: RectLike) -> tuple[int, int, int, int]:
    return rect.left, rect.top, rect.right, rect.bottom


def _bands(boxes: Sequence[Box]) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Cut boxes, sorted by top, at every top and bottom: (top, bottom, merged column spans) of each band."""
    edges = sorted({edge for box in boxes for edge in (box.top, box.bottom)})
    active: list[Box] = []
    following = work = 0
    for top, bottom in pairwise(edges):
        active = [box for box in active if box.bottom > top]
        while following < len(boxes) and boxes[following].top == top:
            active.append(boxes[following])
            following += 1
        active.sort()
        work += len(active)
        if work > MAX_REGION_WORK:
            raise ProtocolError(f"clip of {len(boxes)} rectangles overlaps itself too much")
        if active:
            yield top, bottom, _merged(active)


def _merged(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Column spans of boxes sorted by left."""
    spans: list[tuple[int, int]] = []
    left, right = boxes[0].left, boxes[0].right
    for box in boxes[1:]:
        if box.left > right:
            spans.append((left, right))
            left = box.left
        right = max(right, box.right)
    spans.append((left, right))
    return spans
