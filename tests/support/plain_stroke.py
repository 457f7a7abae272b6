"""Strokes once more, pixel by pixel and as spec/canvas.md 11 reads: what the fast ones are held against."""

import math
from itertools import pairwise

from support import plain_canvas

BEGIN, END, CLOSE, BEZIER = 1, 2, 8, 16
START_WITH_GAP, STYLED = 4, 8


def rounded(value):
    return (value >> 4) + (1 if value & 15 > 8 else 0)


def halved(value):
    """Half of it, toward zero."""
    return value // 2 if value >= 0 else -(-value // 2)


def middle(p, q):
    return halved(p[0] + q[0]), halved(p[1] + q[1])


def flattened(p0, p1, p2, p3, depth=0):
    """The points that a curve appends, in 28.4 fixed point."""

    def minus(p, q):
        return p[0] - q[0], p[1] - q[1]

    def dot(p, q):
        return p[0] * q[0] + p[1] * q[1]

    a, b, c, d = minus(p1, p0), minus(p3, p0), minus(p2, p3), minus(p0, p3)
    a2, b2, c2, ab, cb = (dot(*pair) >> 4 for pair in ((a, a), (b, b), (c, c), (a, b), (c, d)))
    h1, h2 = (a2 * b2 - ab * ab) >> 3, (c2 * b2 - cb * cb) >> 3
    if (h1 < b2 and h2 < b2) or p0 == p1 == p2 == p3 or depth == 32:
        return [p3]
    left, centre, right = middle(p0, p1), middle(p1, p2), middle(p2, p3)
    inner_left, inner_right = middle(left, centre), middle(centre, right)
    split = middle(inner_left, inner_right)
    first = flattened(p0, left, inner_left, split, depth + 1)
    return first + flattened(split, inner_right, right, p3, depth + 1)


def polylines(path):
    """Lists of points, pixels."""
    pending = []
    for segment in path.segments:
        points = [(point.x, point.y) for point in segment.points]
        if segment.flags & BEGIN:
            yield pending
            pending = [(rounded(x), rounded(y)) for x, y in points[:1]]
            points = points[1:]
        if segment.flags & BEZIER:
            for at in range(0, len(points), 3):
                x, y = pending[-1]
                curve = flattened((x * 16, y * 16), *points[at : at + 3])
                pending += [(rounded(x), rounded(y)) for x, y in curve]
        else:
            pending += [(rounded(x), rounded(y)) for x, y in points]
        if segment.flags & END:
            if segment.flags & CLOSE:
                pending += pending[:1]
            yield pending
            pending = []
    yield pending


def sign(value):
    return (value > 0) - (value < 0)


def line(x1, y1, x2, y2):
    """The pixels of a solid line but for its last."""
    adx, ady, sx, sy = abs(x2 - x1), abs(y2 - y1), sign(x2 - x1), sign(y2 - y1)
    x, y = x1, y1
    if adx > ady:
        e = 2 * ady - adx - (sx < 0)
        for _ in range(adx):
            yield x, y
            if e >= 0:
                y += sy
                e -= 2 * adx
            e += 2 * ady
            x += sx
    else:
        e = 2 * adx - ady - (sy < 0)
        for _ in range(ady):
            yield x, y
            if e >= 0:
                x += sx
                e -= 2 * ady
            e += 2 * adx
            y += sy


def toggles(rop):
    """Whether drawing twice with some brush differs from drawing once."""
    combined = {
        (a, b): plain_canvas.combine(rop, plain_canvas.INVERS_BRUSH, plain_canvas.INVERS_DEST, a, b, 1)
        for a in (0, 1)
        for b in (0, 1)
    }
    return any(combined[a, 0] == 1 and combined[a, 1] == 0 for a in (0, 1))


def crossing(a, b, y):
    """Where an edge meets a row."""
    (ax, ay), (bx, by) = sorted((a, b), key=lambda corner: corner[1])
    return ax + (y - ay) * ((bx - ax) / (by - ay))


def polygon(corners, width, height):
    """Pixels of a surface whose points lie in a convex polygon; left and top edges count, right and bottom do not."""
    for y in range(height):
        edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
        meets = [crossing(a, b, y) for a, b in edges if min(a[1], b[1]) <= y < max(a[1], b[1])]
        if meets:
            yield from ((x, y) for x in range(width) if min(meets) <= x < max(meets))


def styled(points, style, start_with_gap, always_join, width, height):
    """Pixels of a surface that a styled polyline sets."""
    lengths = [rounded(value) % 256 for value in style]
    if not any(lengths):
        return set()
    dashes = lengths[1:] + lengths[:1] if start_with_gap else lengths
    k = 1 % len(dashes) if start_with_gap else 0
    left = dashes[k]
    pixels = set()
    ends = []
    corners = [point for number, point in enumerate(points) if number == 0 or point != points[number - 1]]
    for (ax, ay), (bx, by) in pairwise(corners):
        dx, dy = bx - ax, by - ay
        length = math.sqrt(dx * dx + dy * dy)
        ux, uy = dx / length, dy / length
        t = 0
        starts_drawn = k % 2 == 0

        def piece(start, end, ax=ax, ay=ay, ux=ux, uy=uy):
            sides = [(ax + t * ux + n * uy, ay + t * uy - n * ux) for t, n in ((start, 0.5), (end, 0.5), (end, -0.5))]
            sides.append((ax + start * ux + -0.5 * uy, ay + start * uy - -0.5 * ux))
            pixels.update(polygon(sides, width, height))

        while length - t > left:
            if k % 2 == 0:
                piece(t, t + left)
            t += left
            k = (k + 1) % len(dashes)
            left = dashes[k]
        if k % 2 == 0:
            piece(t, length)
        ends.append(((ax, ay), (bx, by), starts_drawn, k % 2 == 0))
        left = int(left - (length - t))
        if left == 0:
            k = (k + 1) % len(dashes)
            left = dashes[k]
    meetings = list(pairwise(ends))
    if ends and corners[0] == corners[-1]:
        meetings.append((ends[-1], ends[0]))
    for (a, b, _, ends_drawn), (_, c, starts_drawn, _) in meetings:
        if ends_drawn and starts_drawn:
            pixels.update(polygon(join(a, b, c, always_join), width, height))
    return pixels


def join(a, b, c, always):
    """Corners of what fills the outer corner of two pairs that meet in b."""
    dx1, dy1, dx2, dy2 = b[0] - a[0], b[1] - a[1], c[0] - b[0], c[1] - b[1]
    turn = dx1 * dy2 - dy1 * dx2
    if turn == 0 or not (always or ((dx1, dy1) > (0, 0) and (dx2, dy2) < (0, 0))):
        return [b]
    length1, length2 = math.sqrt(dx1 * dx1 + dy1 * dy1), math.sqrt(dx2 * dx2 + dy2 * dy2)
    ux, uy, vx, vy = dx1 / length1, dy1 / length1, dx2 / length2, dy2 / length2
    n = math.copysign(0.5, turn)
    incoming = (b[0] + n * uy, b[1] - n * ux)
    outgoing = (b[0] + n * vy, b[1] - n * vx)
    cosine = ux * vx + uy * vy
    if -cosine > math.cos(math.radians(11)):
        return [b, incoming, outgoing]
    tip = (b[0] + n * (uy + vy) / (1 + cosine), b[1] - n * (ux + vx) / (1 + cosine))
    return [b, incoming, tip, outgoing]


def stroke(surface, box, clip, path, attr, brush, rop):
    """Words of the surface afterwards."""
    after = plain_canvas.words(surface)
    region = set(plain_canvas.region(surface, box, clip))

    def plot(x, y):
        if (x, y) in region:
            a = plain_canvas.brush_word(brush, x, y, surface)
            ones = plain_canvas.all_ones(surface)
            invers = (plain_canvas.INVERS_BRUSH, plain_canvas.INVERS_DEST)
            after[x, y] = plain_canvas.combine(rop, *invers, a, after[x, y], ones)

    for points in polylines(path):
        if attr.flags & STYLED:
            gap = bool(attr.flags & START_WITH_GAP)
            for pixel in styled(points, attr.style, gap, toggles(rop), surface.width, surface.height):
                plot(*pixel)
        else:
            for a, b in pairwise(points):
                for pixel in line(*a, *b):
                    plot(*pixel)
    return after
