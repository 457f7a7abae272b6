"""What is shown."""

import pytest

from caraway.canvas.region import Box
from caraway.canvas.screen import Change, Monitor, Screen
from caraway.canvas.surface import Surface
from caraway.wire.messages.display import Head


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def changes(screen):
    seen = []
    screen.listen(seen.append)
    return seen


def head(monitor_id, x, y, width, height):
    return Head(monitor_id=monitor_id, surface_id=0, width=width, height=height, x=x, y=y, flags=0)


def test_nothing_is_shown_before_mark(screen, changes):
    primary = Surface(4, 2, 32)
    screen.begin(primary)
    screen.damage([primary.bounds])
    assert screen.surface is None
    assert not screen.live
    assert screen.monitors == []
    screen.mark()
    assert screen.surface is primary
    assert screen.live
    assert changes == [Change(1, [Box(0, 0, 4, 2)], new_picture=True)]


def test_damage_after_mark(screen, changes):
    screen.begin(Surface(4, 2, 32))
    screen.mark()
    screen.damage([Box(0, 0, 1, 1), Box(2, 0, 3, 1)])
    screen.damage([])
    assert changes[1:] == [Change(2, [Box(0, 0, 1, 1), Box(2, 0, 3, 1)])]
    assert (screen.serial, screen.generation) == (2, 1)


def test_the_last_good_picture_stays_until_the_next_mark(screen, changes):
    old, new = Surface(4, 2, 32), Surface(8, 6, 32)
    screen.begin(old)
    screen.mark()
    screen.lost()
    assert (screen.surface, screen.live) == (old, False)
    screen.begin(new)
    screen.damage([new.bounds])
    assert (screen.surface, screen.serial) == (old, 1)
    screen.mark()
    assert (screen.surface, screen.generation) == (new, 2)
    assert changes[-1] == Change(2, [Box(0, 0, 8, 6)], new_picture=True)


def test_a_new_primary_hides_the_draws_of_the_one_before(screen, changes):
    screen.begin(Surface(4, 2, 32))
    screen.mark()
    screen.begin(Surface(4, 2, 32))
    screen.damage([Box(0, 0, 1, 1)])
    assert len(changes) == 1


def test_mark_without_a_new_surface(screen, changes):
    screen.mark()
    screen.begin(Surface(1, 1, 32))
    screen.lost()
    screen.mark()
    assert screen.surface is None
    screen.begin(Surface(1, 1, 32))
    screen.mark()
    screen.mark()
    assert len(changes) == 1


def test_monitors_come_with_their_picture(screen, changes):
    screen.begin(Surface(100, 50, 32))
    screen.mark()
    assert screen.monitors == [Monitor(0, Box(0, 0, 100, 50))]
    screen.set_heads([head(0, 0, 0, 60, 50), head(3, 60, 0, 60, 60), head(4, 0, 0, 0, 0)])
    assert screen.monitors == [Monitor(0, Box(0, 0, 60, 50)), Monitor(3, Box(60, 0, 100, 50))]
    assert changes[-1] == Change(2, [Box(0, 0, 100, 50)])
    screen.set_heads([head(0, 0, 0, 60, 50), head(3, 60, 0, 60, 60)])
    assert screen.serial == 2, "nothing visible has changed"
    screen.lost()
    screen.begin(Surface(20, 10, 32))
    screen.set_heads([head(0, 0, 0, 20, 10)])
    assert len(screen.monitors) == 2
    screen.mark()
    assert screen.monitors == [Monitor(0, Box(0, 0, 20, 10))]


def test_monitors_beyond_the_picture_are_left_out(screen):
    screen.begin(Surface(10, 10, 32))
    screen.mark()
    screen.set_heads([head(0, 10, 0, 10, 10), head(1, 0xFFFFFFFF, 0, 0xFFFFFFFF, 1)])
    assert screen.monitors == [Monitor(0, Box(0, 0, 10, 10))]


def test_listening_ends(screen, changes):
    first = []
    stop = screen.listen(first.append)
    screen.begin(Surface(1, 1, 32))
    screen.mark()
    stop()
    screen.damage([Box(0, 0, 1, 1)])
    assert (len(first), len(changes)) == (1, 2)


def test_a_listener_may_stop_listening_when_called(screen, changes):
    stop = screen.listen(lambda change: stop())
    last = []
    screen.listen(last.append)
    screen.begin(Surface(1, 1, 32))
    screen.mark()
    screen.damage([Box(0, 0, 1, 1)])
    assert len(changes) == len(last) == 2


def test_frozen_picture_stays_until_mark(screen, changes):
    primary = Surface(2, 1, 32)
    screen.freeze()
    assert screen.surface is None
    screen.begin(primary)
    screen.mark()
    screen.freeze()
    primary.data[:] = b"\1" * 8
    screen.damage([primary.bounds])
    assert (bytes(screen.surface.data), screen.live, len(changes)) == (bytes(8), False, 1)
    screen.freeze()
    screen.mark()
    assert (screen.surface is primary, screen.live, len(changes)) == (True, True, 2)


def test_nothing_is_shown_of_a_surface_that_is_spoilt(screen):
    screen.begin(Surface(2, 1, 32))
    screen.mark()
    screen.spoilt()
    assert (screen.surface, screen.live) == (None, False)


def test_picture_from_before_a_surface_that_is_spoilt_stays(screen):
    before = Surface(2, 1, 32)
    screen.begin(before)
    screen.mark()
    screen.begin(Surface(2, 1, 32))
    screen.spoilt()
    screen.mark()
    assert (screen.surface is before, screen.live) == (True, False)
