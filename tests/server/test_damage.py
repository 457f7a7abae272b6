import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.canvas.region import Box, intersect
from caraway.server import damage
from caraway.server.damage import MAX_BOXES, MAX_COPIES, Backlog, Copy, Region, area


@pytest.fixture(autouse=True)
def little_waste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes of this size would all become one."""
    monkeypatch.setattr(damage, "_SMALL_WASTE", 8)
    monkeypatch.setattr(damage, "CELL_WIDTH", 32)
    monkeypatch.setattr(damage, "CELL_HEIGHT", 16)


SIDE = 60
WHOLE = Box(0, 0, SIDE, SIDE)


@st.composite
def boxes(draw: st.DrawFn, side: int = SIDE) -> Box:
    left, top = draw(st.integers(0, side - 1)), draw(st.integers(0, side - 1))
    return Box(left, top, draw(st.integers(left + 1, side)), draw(st.integers(top + 1, side)))


@st.composite
def copies(draw: st.DrawFn) -> Copy:
    box = draw(boxes())
    dx = draw(st.integers(box.right - SIDE, box.left))
    return Copy(box, dx, draw(st.integers(box.bottom - SIDE, box.top)))


def pixels(region: Region) -> np.ndarray:
    found = np.zeros((SIDE, SIDE), int)
    for box in region:
        found[box.top : box.bottom, box.left : box.right] += 1
    return found


@given(st.lists(boxes()))
def test_a_region_is_disjoint_and_lacks_nothing_that_was_added(added: list[Box]) -> None:
    found = pixels(Region(added))
    assert found.max(initial=0) <= 1
    assert all(found[box.top : box.bottom, box.left : box.right].all() for box in added)


def test_a_region_has_few_boxes_however_many_are_added() -> None:
    region = Region()
    for at in range(1000):
        region.add(Box(at * 37 % 1000 * 10, at * 53 % 1000 * 10, at * 37 % 1000 * 10 + 3, at * 53 % 1000 * 10 + 3))
        assert len(region.boxes) <= MAX_BOXES


def test_boxes_far_from_each_other_are_not_merged() -> None:
    far = [Box(0, 0, 10, 10), Box(500, 500, 510, 510)]
    assert Region(far).boxes == far


def test_neighbours_become_one_box() -> None:
    assert Region([Box(0, 0, 100, 32), Box(0, 32, 100, 64)]).boxes == [Box(0, 0, 100, 64)]


@given(st.lists(boxes(), max_size=6), boxes())
def test_what_is_removed_is_gone_and_nothing_else(added: list[Box], hole: Box) -> None:
    region = Region(added)
    before = pixels(region)
    region.remove(hole)
    before[hole.top : hole.bottom, hole.left : hole.right] = 0
    assert (pixels(region) == before).all()


@given(st.lists(boxes(), max_size=6), boxes())
def test_what_lies_within_a_box(added: list[Box], box: Box) -> None:
    region = Region(added)
    inside = pixels(region)[box.top : box.bottom, box.left : box.right].sum()
    assert area(region.within(box)) == inside
    assert all(intersect(part, box) == part for part in region.within(box))


def test_cells_take_turns_however_often_the_first_ones_change() -> None:
    width, height = 3 * damage.CELL_WIDTH, 2 * damage.CELL_HEIGHT
    region = Region()
    seen = np.zeros((height, width), bool)
    for _ in range(6):
        region.add(Box(0, 0, width, height))
        for box in region.take_cell():
            seen[box.top : box.bottom, box.left : box.right] = True
    assert seen.all()


def test_all_cells_are_taken_once_and_then_none() -> None:
    region = Region([Box(10, 10, 190, 90), Box(0, 100, 20, 110)])
    whole, taken = area(region), 0
    while boxes := region.take_cell():
        taken += area(boxes)
        assert area(boxes) <= damage.CELL_WIDTH * damage.CELL_HEIGHT
    assert taken == whole
    assert not region


def move(picture: np.ndarray, copy: Copy) -> None:
    box, source = copy.box, copy.source
    picture[box.top : box.bottom, box.left : box.right] = picture[
        source.top : source.bottom, source.left : source.right
    ].copy()


@given(st.lists(st.tuples(boxes(), copies() | st.none(), st.booleans()), max_size=30))
def test_copies_then_damage_make_the_picture_whole(steps: list[tuple[Box, Copy | None, bool]]) -> None:
    picture, shown, backlog = np.zeros((SIDE, SIDE), int), np.zeros((SIDE, SIDE), int), Backlog()

    def catch_up() -> None:
        while backlog.copies:
            move(shown, backlog.copies.popleft())

    for count, (box, copy, sends) in enumerate(steps):
        if copy is not None:
            move(picture, copy)
            backlog.copy(copy)
        else:
            picture[box.top : box.bottom, box.left : box.right] = count + 1
            backlog.damage(box)
        if sends:
            catch_up()
            for part in backlog.dirty.take_cell():
                area = slice(part.top, part.bottom), slice(part.left, part.right)
                shown[area] = picture[area]
    catch_up()
    for part in backlog.dirty:
        area = slice(part.top, part.bottom), slice(part.left, part.right)
        shown[area] = picture[area]
    assert (shown == picture).all()


def test_a_viewer_that_takes_nothing_keeps_few_copies() -> None:
    backlog = Backlog()
    for _ in range(10 * MAX_COPIES):
        backlog.copy(Copy(Box(0, 0, 50, 40), 0, -10))
    assert len(backlog.copies) == MAX_COPIES
    assert backlog.dirty.covers(Box(0, 0, 50, 40))


def test_what_was_lossy_is_lossy_where_it_was_moved() -> None:
    backlog = Backlog()
    backlog.sent(Box(0, 0, 10, 10), lossy=True)
    backlog.copy(Copy(Box(0, 200, 10, 210), 0, 200))
    assert list(backlog.lossy) == [Box(0, 0, 10, 10), Box(0, 200, 10, 210)]
    backlog.sent(Box(0, 0, 10, 210), lossy=False)
    assert not backlog.lossy


def test_where_a_video_is_streamed_nothing_lacks() -> None:
    backlog = Backlog()
    backlog.restart([Box(0, 0, 1000, 800)])
    backlog.sent(Box(0, 0, 200, 200), lossy=True)
    backlog.stream([Box(100, 100, 400, 300)])
    assert backlog.dirty.within(Box(100, 100, 400, 300)) == []
    assert backlog.lossy.within(Box(100, 100, 400, 300)) == []
    backlog.dirty.clear()
    backlog.damage(Box(50, 150, 450, 200))
    assert sorted(backlog.dirty) == [Box(50, 150, 100, 200), Box(400, 150, 450, 200)]
    backlog.stream([])
    backlog.damage(Box(100, 100, 400, 300))
    assert backlog.dirty.covers(Box(100, 100, 400, 300))


@pytest.mark.parametrize("first", ["copy", "stream"])
@pytest.mark.parametrize(("box", "dy"), [(Box(0, 0, 90, 200), 50), (Box(0, 250, 200, 400), 100)])
def test_what_is_moved_from_or_into_a_video_is_sent(first: str, box: Box, dy: int) -> None:
    video = Box(80, 100, 400, 300)
    backlog = Backlog()
    if first == "copy":
        backlog.copy(Copy(box, 0, dy))
        backlog.stream([video])
    else:
        backlog.stream([video])
        backlog.copy(Copy(box, 0, dy))
    assert not backlog.copies
    rest = [part for part in backlog.dirty if part.left < 80 or part.top >= 300 or part.bottom <= 100]
    assert rest
    assert backlog.dirty.within(video) == []


def test_what_is_moved_beside_a_video_is_copied() -> None:
    backlog = Backlog()
    backlog.stream([Box(80, 100, 400, 300)])
    backlog.copy(Copy(Box(0, 50, 80, 400), 0, 50))
    assert len(backlog.copies) == 1
    assert not backlog.dirty
