"""Strokes against a canvas that walks every line pixel by pixel."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caraway.canvas import dash, path, stroke
from caraway.canvas.region import Box, Point
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import LineAttributes, LineFlags, Path, PathFlags, PathSegment, Rop
from caraway.wire.messages.shapes import PointFix
from support import plain_canvas as plain
from support import plain_stroke
from support.drawing_strategies import boxes, brushes, check, clips, rops, surfaces

BEGIN, END, CLOSE, BEZIER = PathFlags
SOLID = LineAttributes(LineFlags(0), None)
EVERYWHERE = Box(-(1 << 31), -(1 << 31), (1 << 31) - 1, (1 << 31) - 1)

fixed = st.integers(-100, 280)
fix_points = st.builds(PointFix, fixed, fixed)
whole_points = st.builds(lambda x, y: PointFix(16 * x, 16 * y), st.integers(-5, 17), st.integers(-5, 17))


def line(*points, flags=BEGIN | END):
    """A path of one segment through points in pixels."""
    return Path([PathSegment(flags, [PointFix(16 * x, 16 * y) for x, y in points])])


def styled(*lengths, gap_first=False):
    """Attributes of a styled line, lengths in pixels."""
    return LineAttributes(LineFlags.STYLED | LineFlags.START_WITH_GAP * gap_first, [16 * length for length in lengths])


@st.composite
def paths(draw):
    segments = []
    for number in range(draw(st.integers(1, 3))):
        flags = PathFlags(draw(st.sampled_from([0, END, END | CLOSE])))
        if number == 0 or segments[-1].flags & END:
            flags |= BEGIN
        if draw(st.booleans()):
            count = 3 * draw(st.integers(0, 2)) + (1 if flags & BEGIN else 0)
            flags |= BEZIER
        else:
            count = draw(st.integers(1, 5))
        segments.append(PathSegment(flags, draw(st.lists(fix_points, min_size=count, max_size=count))))
    return Path(segments)


@st.composite
def styled_paths(draw):
    points = draw(st.lists(whole_points, min_size=2, max_size=5))
    return Path([PathSegment(BEGIN | END | draw(st.sampled_from([PathFlags(0), CLOSE])), points)])


attributes = st.builds(
    lambda lengths, gap: LineAttributes(LineFlags.STYLED | LineFlags.START_WITH_GAP * gap, lengths),
    st.lists(st.integers(0, 12).map(lambda length: 16 * length), min_size=1, max_size=6),
    st.booleans(),
)


@settings(max_examples=200)
@given(surfaces(), boxes() | st.just(EVERYWHERE), clips, paths(), brushes, rops)
def test_solid_lines_and_curves(surface, box, clip, path, brush, rop):
    expected = plain_stroke.stroke(surface, box, clip, path, SOLID, brush, rop)
    check(surface, expected, lambda: stroke.stroke(surface, box, clip, path, SOLID, brush, rop))


@settings(max_examples=200, deadline=None)
@given(surfaces(), boxes() | st.just(EVERYWHERE), clips, styled_paths(), attributes, brushes, rops)
def test_styled_lines(surface, box, clip, path, attr, brush, rop):
    expected = plain_stroke.stroke(surface, box, clip, path, attr, brush, rop)
    check(surface, expected, lambda: stroke.stroke(surface, box, clip, path, attr, brush, rop))


far = st.integers(-20000, 20000)


@settings(max_examples=100, deadline=None)
@given(far, far, far, far)
def test_clipping_does_not_move_a_line(x1, y1, x2, y2):
    surface = Surface(16, 12, SurfaceFormat.A8)
    expected = dict.fromkeys(plain.words(surface), 0)
    middle_x, middle_y = (x1 + x2) // 2, (y1 + y2) // 2
    x1, y1, x2, y2 = x1 - middle_x, y1 - middle_y, x2 - middle_x, y2 - middle_y
    expected |= {place: 255 for place in plain_stroke.line(x1, y1, x2, y2) if place in expected}
    stroke.stroke(surface, surface.bounds, None, line((x1, y1), (x2, y2)), SOLID, 255, Rop.OP_PUT)
    assert plain.words(surface) == expected


@settings(max_examples=50, deadline=None)
@given(far, far, far, far, attributes)
def test_clipping_does_not_move_a_dash(x1, y1, x2, y2, attr):
    surface = Surface(16, 12, SurfaceFormat.A8)
    far_path = line((x1, y1), (5, 5), (x2, y2))
    expected = plain_stroke.stroke(surface, surface.bounds, None, far_path, attr, 255, Rop.OP_PUT)
    stroke.stroke(surface, surface.bounds, None, far_path, attr, 255, Rop.OP_PUT)
    assert plain.words(surface) == expected


EDGE = (1 << 27) - 1


@pytest.mark.parametrize("attr", [SOLID, styled(255), styled(1, 1), styled(0, 3, 0, 0, 1, gap_first=True)])
def test_longest_lines_take_few_steps(attr):
    surface = Surface(8, 8, SurfaceFormat.A8)
    there_and_back = line((-EDGE, -EDGE), (EDGE, EDGE), (-EDGE, EDGE), (EDGE, -EDGE), (EDGE, 5), (-EDGE, 5))
    assert stroke.stroke(surface, EVERYWHERE, None, there_and_back, attr, 255, Rop.OP_PUT) == [surface.bounds]
    assert 0 < sum(map(bool, surface.data)) <= 32


def test_a_line_across_the_world_is_where_it_should_be():
    surface = Surface(8, 8, SurfaceFormat.A8)
    stroke.stroke(surface, EVERYWHERE, None, line((-EDGE, -EDGE), (EDGE, EDGE)), SOLID, 255, Rop.OP_PUT)
    assert [place for place, word in plain.words(surface).items() if word] == [(n, n) for n in range(8)]


def test_the_last_point_is_not_drawn():
    surface = Surface(6, 2, SurfaceFormat.XRGB32)
    damage = stroke.stroke(surface, surface.bounds, None, line((1, 0), (4, 0)), SOLID, 7, Rop.OP_PUT)
    assert [word for (_, y), word in plain.words(surface).items() if y == 0] == [0, 7, 7, 7, 0, 0]
    assert damage == [Box(1, 0, 5, 1)]


def test_crossing_lines_invert_twice_and_dashes_of_one_polyline_once():
    cross = ((0, 2), (5, 2), (2, 5), (2, 0))
    for attr, there in ((SOLID, 0), (styled(255), 255)):
        surface = Surface(6, 6, SurfaceFormat.A8)
        stroke.stroke(surface, surface.bounds, None, line(*cross), attr, 255, Rop.OP_XOR)
        assert plain.word(surface, 2, 2) == there


def test_dashes_on_an_axis():
    for attr, expected in (
        (styled(3, 2), "###..###..##"),
        (styled(3, 2, gap_first=True), "...##...##.."),
        (styled(1, 1), "#.#.#.#.#.#."),
        (styled(2, 1, 4), "##.######.##"),
        (styled(0, 2, 2), "..##..##..##"),
    ):
        surface = Surface(12, 1, SurfaceFormat.A8)
        stroke.stroke(surface, surface.bounds, None, line((0, 0), (12, 0)), attr, 255, Rop.OP_PUT)
        assert "".join("#" if word else "." for word in surface.data) == expected


def test_lengths_of_dashes_are_taken_modulo_256():
    assert dash.pattern(styled(256 + 3, 2)) == dash.pattern(styled(3, 2))
    assert dash.pattern(styled(-253, 2)) == dash.pattern(styled(3, 2))


@pytest.mark.parametrize("attr", [styled(), styled(0), styled(0, 256), LineAttributes(LineFlags.STYLED, None)])
def test_a_pattern_without_length_draws_nothing(attr):
    surface = Surface(4, 4, SurfaceFormat.A8)
    assert stroke.stroke(surface, surface.bounds, None, line((0, 0), (4, 4)), attr, 255, Rop.OP_PUT) == []
    assert not any(surface.data)


def test_sharp_corners_are_cut_and_others_are_pointed():
    for rise, pointed in ((2, True), (1, False)):
        surface = Surface(40, 24, SurfaceFormat.A8)
        corner = line((0, 12 - rise), (20, 12), (0, 12 + rise))
        stroke.stroke(surface, surface.bounds, None, corner, styled(255), 255, Rop.OP_XOR)
        expected = plain_stroke.stroke(
            Surface(40, 24, SurfaceFormat.A8), surface.bounds, None, corner, styled(255), 255, Rop.OP_XOR
        )
        assert plain.words(surface) == expected
        assert bool(plain.word(surface, 23, 12)) is pointed


def test_a_surface_of_one_bit_takes_lines():
    surface = Surface(4, 1, SurfaceFormat.A1)
    stroke.stroke(surface, surface.bounds, None, line((1, 0), (3, 0)), SOLID, 1, Rop.OP_PUT)
    assert bytes(surface.data) == bytes([0, 255, 255, 0])


def test_a_tile_from_the_surface_itself():
    surface = Surface(4, 1, SurfaceFormat.A8)
    surface.view[:] = bytes([1, 2, 3, 4])
    stroke.stroke(surface, surface.bounds, None, line((0, 0), (4, 0)), SOLID, Pattern(surface, Point(1, 0)), Rop.OP_PUT)
    assert bytes(surface.data) == bytes([4, 1, 2, 3])


def test_nothing_to_draw():
    surface = Surface(4, 4, SurfaceFormat.XRGB32)
    for nothing in (Path([]), line(), line((1, 1)), line((9, 9), (12, 9)), line((-9, 1), (-5, 1))):
        assert stroke.stroke(surface, surface.bounds, None, nothing, SOLID, 1, Rop.OP_PUT) == []
    assert not any(surface.data)


@given(*[st.tuples(fixed, fixed)] * 4)
@example((0, 0), (160, 0), (-160, 0), (0, 0))
@example((16, 16), (17, 17), (17, 17), (16, 17))
def test_curves_end_where_they_should(p0, p1, p2, p3):
    curve = Path([PathSegment(BEGIN | BEZIER | END, [PointFix(*point) for point in (p0, p1, p2, p3)])])
    (points,) = path.polylines(curve)
    assert points[-1] == tuple(map(plain_stroke.rounded, p3))
    assert [points] == [found for found in plain_stroke.polylines(curve) if found]


def test_a_path_goes_on_over_segments():
    one = [PathSegment(BEGIN, [PointFix(0, 0), PointFix(25, 24)]), PathSegment(END | CLOSE, [PointFix(0, 40)])]
    two = [PathSegment(PathFlags(0), [PointFix(16, 16)]), PathSegment(BEGIN, [PointFix(32, 32)])]
    assert list(path.polylines(Path(one + two))) == [[(0, 0), (2, 1), (0, 2), (0, 0)], [(1, 1)], [(2, 2)]]


class TestHostilePaths:
    def test_curve_that_begins_nowhere(self):
        with pytest.raises(ProtocolError, match="begins nowhere"):
            list(path.polylines(line((0, 0), (1, 1), (2, 2), flags=BEZIER)))

    def test_curve_without_an_end(self):
        with pytest.raises(ProtocolError, match="curves of 2 points"):
            list(path.polylines(line((0, 0), (1, 1), (2, 2), flags=BEGIN | BEZIER)))

    def test_too_many_points(self, monkeypatch):
        monkeypatch.setattr(path, "MAX_POINTS", 8)
        assert list(path.polylines(line(*[(0, 0)] * 8)))
        with pytest.raises(ProtocolError, match="more than 8 points"):
            list(path.polylines(line(*[(0, 0)] * 9)))

    def test_too_many_points_of_curves(self, monkeypatch):
        wide = line((0, 0), (EDGE, 0), (0, EDGE), (EDGE, EDGE), flags=BEGIN | BEZIER)
        (points,) = path.polylines(wide)
        monkeypatch.setattr(path, "MAX_POINTS", 3 + len(points))
        assert list(path.polylines(wide))
        monkeypatch.setattr(path, "MAX_POINTS", 2 + len(points))
        with pytest.raises(ProtocolError, match="points"):
            list(path.polylines(wide))

    def test_too_many_pixels(self, monkeypatch):
        surface = Surface(10, 10, SurfaceFormat.A8)
        monkeypatch.setattr(stroke, "MAX_WORK", 22)
        three = ((0, 0), (10, 0), (0, 0), (10, 0))
        stroke.stroke(surface, surface.bounds, None, line(*three[:3]), SOLID, 1, Rop.OP_PUT)
        with pytest.raises(ProtocolError, match="more than 22 pixels"):
            stroke.stroke(surface, surface.bounds, None, line(*three), SOLID, 1, Rop.OP_PUT)

    def test_too_many_points_times_rectangles(self, monkeypatch):
        surface = Surface(10, 10, SurfaceFormat.A8)
        monkeypatch.setattr(stroke, "MAX_WORK", 10)
        clip = [Box(x, 5, x + 1, 6) for x in range(0, 10, 2)]
        with pytest.raises(ProtocolError, match="more than 10 pixels"):
            stroke.stroke(surface, surface.bounds, clip, line((0, 0), (9, 9), (0, 8), (9, 7)), SOLID, 1, Rop.OP_PUT)

    def test_too_many_dashes(self, monkeypatch):
        surface = Surface(10, 10, SurfaceFormat.A8)
        monkeypatch.setattr(dash, "MAX_DASHES", 5)
        stroke.stroke(surface, surface.bounds, None, line((0, 0), (10, 0)), styled(1, 1), 1, Rop.OP_PUT)
        with pytest.raises(ProtocolError, match="more than 5 dashes"):
            stroke.stroke(surface, surface.bounds, None, line((0, 0), (10, 0)), styled(1, 0), 1, Rop.OP_PUT)

    def test_too_much_of_a_surface_behind_dashes(self, monkeypatch):
        surface = Surface(20, 20, SurfaceFormat.A8)
        monkeypatch.setattr(stroke, "MAX_WORK", 20)
        with pytest.raises(ProtocolError, match="more than 160 pixels"):
            stroke.stroke(surface, surface.bounds, None, line((0, 0), (20, 20)), styled(1, 1), 1, Rop.OP_PUT)

    def test_tile_of_another_depth(self):
        surface = Surface(4, 4, SurfaceFormat.XRGB32)
        tile = Pattern(Surface(1, 1, SurfaceFormat.RGB555), Point(0, 0))
        with pytest.raises(ProtocolError, match="16 bits"):
            stroke.stroke(surface, surface.bounds, None, line((0, 0), (4, 4)), SOLID, tile, Rop.OP_PUT)

    def test_tile_without_colours(self):
        surface = Surface(4, 4, SurfaceFormat.XRGB32)
        tile = Pattern(Bitmap(8, 1, PixelFormat.BIT1_LE, 1, b"\1"), Point(0, 0))
        with pytest.raises(ProtocolError, match="no colours"):
            stroke.stroke(surface, surface.bounds, None, line((0, 0), (4, 4)), SOLID, tile, Rop.OP_PUT)
