"""Rectangles and disjoint unions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.canvas.region import Box, bounding_box, clipped, intersect, union
from caraway.errors import ProtocolError

side = st.integers(0, 12)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), side, side, st.integers(1, 8), st.integers(1, 8))


def places(rects):
    return [(x, y) for box in rects for y in range(box.top, box.bottom) for x in range(box.left, box.right)]


@given(st.lists(boxes, max_size=12))
def test_union_covers_each_place_once(rects):
    covered = places(union(rects))
    assert len(covered) == len(set(covered))
    assert set(covered) == set(places(rects))


@given(st.lists(boxes, max_size=6), boxes)
def test_clipped(clip, box):
    bounds = Box(2, 2, 11, 9)
    assert set(places(clipped(box, bounds, clip))) == set(places([box])) & set(places([bounds])) & set(places(clip))
    assert set(places(clipped(box, bounds, None))) == set(places([box])) & set(places([bounds]))


@given(boxes, boxes)
def test_intersect(one, other):
    both = intersect(one, other)
    assert set(places([both] if both else [])) == set(places([one])) & set(places([other]))


def test_rectangles_side_by_side_become_one():
    assert union([Box(0, 0, 2, 2), Box(2, 0, 4, 2), Box(0, 2, 4, 4)]) == [Box(0, 0, 4, 4)]


def test_bounding_box():
    assert bounding_box([Box(3, 1, 4, 2), Box(0, 5, 1, 9)]) == Box(0, 1, 4, 9)


def test_banded_clip_of_any_length_is_accepted():
    grid = [Box(4 * x, 4 * y, 4 * x + 2, 4 * y + 2) for y in range(100) for x in range(100)]
    assert len(union(grid)) == len(grid)


def test_clip_that_explodes_is_refused():
    columns = [Box(2 * x, 0, 2 * x + 1, 16000 - x) for x in range(3000)]
    rows = [Box(0, 4 * y, 16000, 4 * y + 1) for y in range(3000)]
    with pytest.raises(ProtocolError, match="6000 rectangles"):
        union(columns + rows)
