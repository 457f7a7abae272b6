"""Styled lines: which pixels the dashes of a polyline and the joins between them cover (spec/canvas.md 11)."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

from caraway.canvas.path import Polyline, rounded
from caraway.canvas.region import Box
from caraway.errors import ProtocolError
from caraway.wire.messages.draw import LineAttributes, LineFlags

MAX_DASHES = 1 << 17
"""Dashes of a stroke within its region: about a second. A line across the widest surface has 8192 of the shortest."""

REACH = 6
"""Pixels that a styled line can cover beside its points: a mitre's tip is at most 0.5 / sin(5.5 degrees) away."""

_SHARPEST = math.cos(math.radians(11))
_BATCH = 1 << 12

Corners = tuple[float, ...]
"""x and y of the four corners of a convex polygon."""


class Pattern(NamedTuple):
    """Dashes and gaps in turns: lengths in pixels, where each ends, and which of them a polyline begins with."""

    lengths: list[int]
    ends: list[int]
    start: int


def pattern(attr: LineAttributes) -> Pattern | None:
    """The pattern of a styled line; None if all lengths are 0, which draws nothing."""
    lengths = [rounded(value) & 255 for value in attr.style or ()]
    if not any(lengths):
        return None
    start = 0
    if attr.flags & LineFlags.START_WITH_GAP:
        lengths, start = lengths[1:] + lengths[:1], 1 % len(lengths)
    return Pattern(lengths, list(accumulate(lengths)), start)


@dataclass(slots=True)
class _Pair:
    """Two neighbouring points that differ: start, way, length, direction, and how it begins and ends."""

    x: int
    y: int
    dx: int
    dy: int
    starts_drawn: bool
    ends_drawn: bool = False
    length: float = field(init=False)
    ux: float = field(init=False)
    uy: float = field(init=False)

    def __post_init__(self) -> None:
        self.length = math.sqrt(self.dx * self.dx + self.dy * self.dy)
        self.ux, self.uy = self.dx / self.length, self.dy / self.length


class Dashes:
    """The dashes of one stroke.

    always_join: fill every outer corner, not only those of pairs that first go to the right and then to the left.
    """

    def __init__(self, pattern: Pattern, *, always_join: bool) -> None:
        self.pattern = pattern
        self.always_join = always_join
        self._room = MAX_DASHES

    def polygons(self, points: Polyline, area: Box) -> Iterator["array[float]"]:
        """What a polyline covers, as convex polygons of four corners (x, y) each, some at a time.

        Leaves out what lies outside the area. Raises ProtocolError after MAX_DASHES.
        """
        near = Box(area.left - REACH, area.top - REACH, area.right + REACH, area.bottom + REACH)
        batch = array("d")
        for corners in self._polygons(points, near):
            self._room -= 1
            if self._room < 0:
                raise ProtocolError(f"line of more than {MAX_DASHES} dashes")
            batch.extend(corners)
            if len(batch) >= 8 * _BATCH:
                yield batch
                batch = array("d")
        yield batch

    def _polygons(self, points: Polyline, near: Box) -> Iterator[Corners]:
        lengths = self.pattern.lengths
        k = self.pattern.start
        left = lengths[k]
        first = previous = None
        for (ax, ay), (bx, by) in pairwise(points):
            if ax == bx and ay == by:
                continue
            pair = _Pair(ax, ay, bx - ax, by - ay, starts_drawn=k % 2 == 0)
            for start, end in _visible(self.pattern, k, left, pair, near):
                yield _dash(pair, start, end)
            k, left = _end(self.pattern, k, left, pair.length)
            pair.ends_drawn = k % 2 == 0
            if left == 0:
                k = (k + 1) % len(lengths)
                left = lengths[k]
            if previous:
                yield from self._join(previous, pair, near)
            first, previous = first or pair, pair
        if first and previous and (previous.x + previous.dx, previous.y + previous.dy) == (first.x, first.y):
            yield from self._join(previous, first, near)

    def _join(self, incoming: _Pair, outgoing: _Pair, near: Box) -> Iterator[Corners]:
        """What fills the outer corner of two pairs: pointed, or cut off if it is too sharp."""
        if not (incoming.ends_drawn and outgoing.starts_drawn):
            return
        x, y = outgoing.x, outgoing.y
        turn = incoming.dx * outgoing.dy - incoming.dy * outgoing.dx
        if turn == 0 or not (near.left <= x < near.right and near.top <= y < near.bottom):
            return
        if not self.always_join and not ((incoming.dx, incoming.dy) > (0, 0) > (outgoing.dx, outgoing.dy)):
            return
        ux, uy, vx, vy = incoming.ux, incoming.uy, outgoing.ux, outgoing.uy
        n = math.copysign(0.5, turn)
        begin, end = (x + n * uy, y - n * ux), (x + n * vy, y - n * vx)
        cosine = ux * vx + uy * vy
        if -cosine > _SHARPEST:
            yield (x, y, *begin, *end, *end)
        else:
            yield (x, y, *begin, x + n * (uy + vy) / (1 + cosine), y - n * (ux + vx) / (1 + cosine), *end)


def _dash(pair: _Pair, start: float, end: float) -> Corners:
    """A rectangle of width 1 around a part of a pair."""
    x1, y1 = pair.x + start * pair.ux, pair.y + start * pair.uy
    x2, y2 = pair.x + end * pair.ux, pair.y + end * pair.uy
    across, down = 0.5 * pair.uy, 0.5 * pair.ux
    return x1 + across, y1 - down, x2 + across, y2 - down, x2 - across, y2 + down, x1 - across, y1 + down


def _visible(pattern: Pattern, k: int, left: int, pair: _Pair, near: Box) -> Iterator[tuple[float, float]]:
    """Start and end of each dash of a pair that may touch a rectangle, as distances from the pair's start."""
    lengths, ends, _ = pattern
    since, until = _within(pair, near)
    if since >= until:
        return
    t = 0
    passed = math.floor(since)
    if passed > left:
        begun = ends[k] - left
        turns, rest = divmod(begun + passed, ends[-1])
        k = bisect_left(ends, rest)
        left = lengths[k]
        t = turns * ends[-1] + ends[k] - left - begun
    while pair.length - t > left and t < until:
        if k % 2 == 0:
            yield t, t + left
        t += left
        k = (k + 1) % len(lengths)
        left = lengths[k]
    if k % 2 == 0 and t < until:
        yield t, pair.length


def _end(pattern: Pattern, k: int, left: int, length: float) -> tuple[int, int]:
    """In which dash a pair of some length ends, and how many whole units of it are left then."""
    ends = pattern.ends
    place = (ends[k] - left + math.ceil(length) - 1) % ends[-1] + 1
    k = bisect_left(ends, place)
    return k, ends[k] - place


def _within(pair: _Pair, near: Box) -> tuple[float, float]:
    """Between which distances from its start a pair lies in a rectangle, or nearly so."""
    since, until = 0.0, 1.0
    for start, way, low, high in (
        (pair.x, pair.dx, near.left, near.right),
        (pair.y, pair.dy, near.top, near.bottom),
    ):
        if way == 0:
            if not low <= start <= high:
                return 0, 0
            continue
        one, other = (low - start) / way, (high - start) / way
        since, until = max(since, min(one, other)), min(until, max(one, other))
    return since * pair.length - 1, until * pair.length + 1
