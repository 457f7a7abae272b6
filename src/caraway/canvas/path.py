"""Paths as polylines on whole pixels: rounding, and curves made flat (spec/canvas.md 11)."""

from collections.abc import Iterator

from caraway.errors import ProtocolError
from caraway.wire.messages.draw import Path, PathFlags

MAX_POINTS = 1 << 18
"""Points of a path, those of its curves included: about a second of flattening. A curve across the widest surface
becomes some hundred; guests draw outlines of thousands at most."""

MAX_CURVE_DEPTH = 32
"""Halvings of a curve: what takes one of 2^32 units to a single one. A curve with a cusp never becomes flat."""

_BEGIN, _END, _CLOSE, _BEZIER = map(int, (PathFlags.BEGIN, PathFlags.END, PathFlags.CLOSE, PathFlags.BEZIER))

PointFix = tuple[int, int]
"""x and y in 28.4 fixed point."""
Polyline = list[tuple[int, int]]
"""Points in pixels."""


def rounded(value: int) -> int:
    """A length or coordinate in 28.4 fixed point as whole pixels."""
    return (value >> 4) + (value & 15 > 8)


def polylines(path: Path) -> Iterator[Polyline]:
    """The polylines of a path, those without points left out.

    Raises ProtocolError for more than MAX_POINTS, a curve that begins nowhere, or one without an end.
    """
    room = MAX_POINTS
    pending: Polyline = []
    for segment in path.segments:
        flags = int(segment.flags)
        points = [(point.x, point.y) for point in segment.points]
        room -= len(points)
        if room < 0:
            raise ProtocolError(f"path of more than {MAX_POINTS} points")
        if flags & _BEGIN:
            if pending:
                yield pending
            pending, points = [(rounded(x), rounded(y)) for x, y in points[:1]], points[1:]
        if flags & _BEZIER:
            room -= _append_curves(pending, points, room)
        else:
            pending += [(rounded(x), rounded(y)) for x, y in points]
        if flags & _END:
            if flags & _CLOSE:
                pending += pending[:1]
            if pending:
                yield pending
            pending = []
    if pending:
        yield pending


def _append_curves(polyline: Polyline, points: list[PointFix], room: int) -> int:
    """Append curves of three points each. Gives the number of points appended, at most `room`."""
    if points and not polyline:
        raise ProtocolError("curve that begins nowhere")
    if len(points) % 3:
        raise ProtocolError(f"curves of {len(points)} points, not of three each")
    before = len(polyline)
    for at in range(0, len(points), 3):
        x, y = polyline[-1]
        for end in _flattened((x * 16, y * 16), *points[at : at + 3]):
            polyline.append((rounded(end[0]), rounded(end[1])))
            if len(polyline) - before > room:
                raise ProtocolError(f"path of more than {MAX_POINTS} points")
    return len(polyline) - before


def _flattened(p0: PointFix, p1: PointFix, p2: PointFix, p3: PointFix) -> Iterator[PointFix]:
    """The ends of the straight pieces that a curve is split into, in 28.4 fixed point."""
    waiting = [(p0, p1, p2, p3, 0)]
    while waiting:
        p0, p1, p2, p3, depth = waiting.pop()
        if depth == MAX_CURVE_DEPTH or p0 == p1 == p2 == p3 or _is_flat(p0, p1, p2, p3):
            yield p3
            continue
        p01, p12, p23 = _middle(p0, p1), _middle(p1, p2), _middle(p2, p3)
        p012, p123 = _middle(p01, p12), _middle(p12, p23)
        split = _middle(p012, p123)
        waiting.append((split, p123, p23, p3, depth + 1))
        waiting.append((p0, p01, p012, split, depth + 1))


def _is_flat(p0: PointFix, p1: PointFix, p2: PointFix, p3: PointFix) -> bool:
    ax, ay = p1[0] - p0[0], p1[1] - p0[1]
    bx, by = p3[0] - p0[0], p3[1] - p0[1]
    cx, cy = p2[0] - p3[0], p2[1] - p3[1]
    a2, b2, c2 = (ax * ax + ay * ay) >> 4, (bx * bx + by * by) >> 4, (cx * cx + cy * cy) >> 4
    ab, cb = (ax * bx + ay * by) >> 4, -(cx * bx + cy * by) >> 4
    return (a2 * b2 - ab * ab) >> 3 < b2 and (c2 * b2 - cb * cb) >> 3 < b2


def _middle(p: PointFix, q: PointFix) -> PointFix:
    """Halves toward zero."""
    x, y = p[0] + q[0], p[1] + q[1]
    return (x + (x < 0)) >> 1, (y + (y < 0)) >> 1
